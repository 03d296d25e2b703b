// WebAuthn credentials in PostgreSQL (contract: stores/contracts/credentials.ts). Migration 0041. Public key and AAGUID are
// sealed one by one and bound to tenant, user and credential: a field moved to another row or column does not open.
import { isCanonicalBase64url } from '../../core/encoding.ts';
import { SidecarError } from '../../core/errors.ts';
import type {
  CredentialList,
  CredentialOwner,
  CredentialStore,
  NewWebauthnCredential,
  SignCountAdvance,
  WebauthnCredential,
} from '../contracts/credentials.ts';
import type { SealedColumn, SealedPlace, Sealer } from '../contracts/sealer.ts';
import type { Sql } from './connection.ts';
import type { Postgres } from './pool.ts';

const sealed = (column: string): SealedColumn => ({
  table: 'webauthn_credential',
  idColumns: ['user_id', 'credential_id'],
  column,
  tenantColumn: 'tenant',
});

/** The columns that re-sealing has to know. */
export const credentialSealedColumns: readonly SealedColumn[] = [sealed('public_key'), sealed('aaguid')];

interface Row {
  readonly tenant: string | null;
  readonly user_id: string;
  readonly credential_id: string;
  readonly public_key: Buffer;
  readonly public_key_data_key: string;
  readonly aaguid: Buffer | null;
  readonly sign_count: number;
  readonly transports: string[];
  readonly created_at: Date;
  readonly last_used_at: Date | null;
}

const placeOf = (owner: CredentialOwner, credentialId: string, column: 'public_key' | 'aaguid'): SealedPlace => ({
  table: 'webauthn_credential',
  row: [owner.userId, credentialId],
  column,
  tenant: owner.tenant,
});

/** {@link CredentialStore} over PostgreSQL. */
export class PostgresCredentials implements CredentialStore {
  readonly #postgres: Postgres;
  readonly #sealer: Sealer;

  constructor(postgres: Postgres, sealer: Sealer) {
    this.#postgres = postgres;
    this.#sealer = sealer;
  }

  async create(credential: NewWebauthnCredential): Promise<boolean> {
    requireBounds(credential);
    const { credentialId, aaguid } = credential;
    const place = (column: 'public_key' | 'aaguid') => placeOf(credential, credentialId, column);
    const row = {
      tenant: credential.tenant ?? null,
      user_id: credential.userId,
      credential_id: credentialId,
      public_key: await this.#sealer.seal(place('public_key'), credential.publicKey),
      aaguid: aaguid === undefined ? null : await this.#sealer.seal(place('aaguid'), aaguid),
      sign_count: credential.signCount,
      transports: [...credential.transports],
      created_at: new Date(credential.createdAtMs),
    };
    const created = await this.#postgres.run(
      'credentials.create',
      (sql) => sql`insert into webauthn_credential ${sql(row)} on conflict do nothing`,
    );
    return created.count > 0;
  }

  async get(credentialId: string): Promise<WebauthnCredential | undefined> {
    if (!isCredentialId(credentialId)) return undefined;
    const [row] = await this.#postgres.run(
      'credentials.get',
      (sql) => sql<Row[]>`select * from webauthn_credential where credential_id = ${credentialId}`,
    );
    return row && this.#open(row);
  }

  async list(owner: CredentialOwner): Promise<CredentialList> {
    requireOwner(owner);
    const rows = await this.#postgres.run(
      'credentials.list',
      (sql) => sql<Row[]>`
        select * from webauthn_credential where ${owned(sql, owner)} order by created_at, credential_id`,
    );
    const opened = await Promise.all(rows.map((row) => this.#open(row).catch((error) => unreadable(row, error))));
    return {
      credentials: opened.filter((item) => 'publicKey' in item),
      unreadable: opened.filter((item) => !('publicKey' in item)),
    };
  }

  async count(owner: CredentialOwner): Promise<number> {
    requireOwner(owner);
    const [row] = await this.#postgres.run(
      'credentials.count',
      (sql) => sql<{ total: number }[]>`select count(*) as total from webauthn_credential where ${owned(sql, owner)}`,
    );
    return row?.total ?? 0;
  }

  async remove(owner: CredentialOwner, credentialId: string): Promise<boolean> {
    requireOwner(owner);
    if (!isCredentialId(credentialId)) return false;
    const removed = await this.#postgres.run(
      'credentials.remove',
      (sql) => sql`delete from webauthn_credential where ${owned(sql, owner)} and credential_id = ${credentialId}`,
    );
    return removed.count > 0;
  }

  async advance(credentialId: string, signCount: number, nowMs: number): Promise<SignCountAdvance | undefined> {
    requireSignCount(signCount);
    if (!isCredentialId(credentialId)) return undefined;
    return this.#postgres.run('credentials.advance', async (sql) => {
      // The lock: assertions that race are compared one after the other, each with what the one before left.
      const [row] = await sql<{ sign_count: number }[]>`
        select sign_count from webauthn_credential where credential_id = ${credentialId} for update`;
      if (row === undefined) return undefined;
      const previous = row.sign_count;
      if (signCount <= previous && !(signCount === 0 && previous === 0)) return { outcome: 'regressed', previous };
      await sql`
        update webauthn_credential
        set sign_count = ${signCount}, last_used_at = greatest(last_used_at, ${new Date(nowMs)}::timestamptz)
        where credential_id = ${credentialId}`;
      return { outcome: 'advanced', previous };
    });
  }

  async #open(row: Row): Promise<WebauthnCredential> {
    const owner = { tenant: row.tenant ?? undefined, userId: row.user_id };
    const field = (column: 'public_key' | 'aaguid', bytes: Buffer) =>
      this.#sealer.unseal(placeOf(owner, row.credential_id, column), bytes);
    return {
      ...owner,
      ...plainOf(row),
      publicKey: await field('public_key', row.public_key),
      aaguid: row.aaguid === null ? undefined : await field('aaguid', row.aaguid),
      signCount: row.sign_count,
      transports: row.transports,
    };
  }
}

const plainOf = (row: Row) => ({
  credentialId: row.credential_id,
  createdAtMs: row.created_at.getTime(),
  lastUsedAtMs: row.last_used_at?.getTime(),
  dataKeyId: row.public_key_data_key,
});

/** What a list says of a row that does not open; a store that is away is no property of the row, and is thrown. */
function unreadable(row: Row, error: unknown) {
  if (error instanceof SidecarError && error.reason === 'sealed_unreadable') return plainOf(row);
  throw error;
}

function owned(sql: Sql, { tenant, userId }: CredentialOwner) {
  return sql`user_id = ${userId} and ${tenant === undefined ? sql`tenant is null` : sql`tenant = ${tenant}`}`;
}

const MOST_ID_CHARACTERS = Math.ceil((1023 * 4) / 3);

function requireBounds(credential: NewWebauthnCredential): void {
  const { credentialId, publicKey, aaguid, transports } = credential;
  requireOwner(credential);
  if (!isCredentialId(credentialId)) throw new TypeError('a credential id has 1 to 1023 bytes');
  if (publicKey.length === 0) throw new TypeError('a credential has a public key');
  if (aaguid !== undefined && aaguid.length !== 16) throw new TypeError('an AAGUID has 16 bytes');
  if (transports.length > 16 || transports.some((name) => name.length > 64)) throw new TypeError('too many transports');
  if (!transports.every(isStorable)) throw new TypeError('a transport is text');
  requireSignCount(credential.signCount);
}

function requireOwner({ tenant, userId }: CredentialOwner): void {
  if (userId === '' || Buffer.byteLength(userId) > 512) throw new TypeError('a user id has 1 to 512 bytes');
  if (!isStorable(userId)) throw new TypeError('a user id is text');
  if (tenant !== undefined && (tenant === '' || !isStorable(tenant))) throw new TypeError('a tenant has a name');
}

/** PostgreSQL knows no NUL, and lone surrogates would all become one character, and two users one. */
const isStorable = (text: string) => text.isWellFormed() && !text.includes('\0');

const isCredentialId = (text: string) =>
  isCanonicalBase64url(text) && text.length >= 2 && text.length <= MOST_ID_CHARACTERS;

function requireSignCount(signCount: number): void {
  if (Number.isInteger(signCount) && signCount >= 0 && signCount <= 0xffff_ffff) return;
  throw new TypeError('a sign count is an unsigned 32-bit number');
}
