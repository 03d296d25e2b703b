// Signing keys in PostgreSQL (contract: stores/contracts/signing-keys.ts). Migration 0011.
import type {
  SigningKeyAlgorithm,
  SigningKeyChange,
  SigningKeyRecord,
  SigningKeyState,
  SigningKeyStore,
  SigningKeysState,
} from '../contracts/signing-keys.ts';
import type { Sql } from './connection.ts';
import type { Postgres } from './pool.ts';

interface Row {
  readonly issuer: string;
  readonly kid: string;
  readonly algorithm: SigningKeyAlgorithm;
  readonly public_jwk: Record<string, unknown>;
  readonly state: SigningKeyState;
  readonly created_at: Date;
  readonly activate_at: Date;
  readonly retire_at: Date | null;
  readonly ended_at: Date | null;
}

const recordOf = (row: Row): SigningKeyRecord => ({
  issuer: row.issuer,
  kid: row.kid,
  algorithm: row.algorithm,
  publicJwk: row.public_jwk,
  state: row.state,
  createdAtMs: row.created_at.getTime(),
  activateAtMs: row.activate_at.getTime(),
  retireAtMs: row.retire_at?.getTime(),
  endedAtMs: row.ended_at?.getTime(),
});

/** {@link SigningKeyStore} over PostgreSQL. */
export class PostgresSigningKeys implements SigningKeyStore {
  readonly #postgres: Postgres;

  constructor(postgres: Postgres) {
    this.#postgres = postgres;
  }

  read(issuer: string): Promise<SigningKeysState> {
    return this.#postgres.transact('signing_keys.read', (sql) => stateOf(sql, issuer));
  }

  async sealedPrivate(issuer: string, kid: string): Promise<Buffer | undefined> {
    const [row] = await this.#postgres.run(
      'signing_keys.private',
      (sql) => sql<{ private_key: Buffer | null }[]>`
        select private_key from signing_key where issuer = ${issuer} and kid = ${kid}`,
    );
    return row?.private_key ?? undefined;
  }

  change(
    issuer: string,
    nowMs: number,
    decide: (keys: readonly SigningKeyRecord[]) => readonly SigningKeyChange[],
  ): Promise<SigningKeysState> {
    return this.#postgres.transact('signing_keys.change', async (sql) => {
      // One after the other per issuer: replicas run the same schedule at the same time, and need not collide for it.
      await sql`select pg_advisory_xact_lock(hashtextextended(${`signing_key ${issuer}`}, 0))`;
      const before = await stateOf(sql, issuer);
      const changes = decide(before.keys);
      if (changes.length === 0) return before;
      for (const change of changes) await apply(sql, issuer, change);
      await sql`
        insert into signing_key_revision as mine (issuer, revision) values (${issuer}, ${Math.ceil(nowMs)})
        on conflict (issuer) do update set revision = greatest(mine.revision + 1, excluded.revision)`;
      return stateOf(sql, issuer);
    });
  }
}

async function stateOf(sql: Sql, issuer: string): Promise<SigningKeysState> {
  const [found] = await sql<{ revision: number }[]>`
    select revision from signing_key_revision where issuer = ${issuer}`;
  const rows = await sql<Row[]>`
    select issuer, kid, algorithm, public_jwk, state, created_at, activate_at, retire_at, ended_at
    from signing_key where issuer = ${issuer} order by created_at, kid`;
  return { revision: found?.revision ?? 0, keys: rows.map(recordOf) };
}

const at = (ms: number) => new Date(ms);

async function apply(sql: Sql, issuer: string, change: SigningKeyChange): Promise<void> {
  const { count } = await statement(sql, issuer, change);
  if (count === 0) throw new TypeError(`${change.type} does not fit the state of the signing key`);
}

function statement(sql: Sql, issuer: string, change: SigningKeyChange) {
  const kid = change.type === 'create' ? change.key.kid : change.kid;
  switch (change.type) {
    case 'create': {
      const { algorithm, publicJwk, sealedPrivate, state, createdAtMs, activateAtMs } = change.key;
      return sql`
        insert into signing_key (issuer, kid, algorithm, public_jwk, private_key, state, created_at, activate_at)
        values (${issuer}, ${kid}, ${algorithm}, ${sql.json(publicJwk as Record<string, string>)}, ${sealedPrivate},
          ${state}, ${at(createdAtMs)}, ${at(activateAtMs)})`;
    }
    case 'activate':
      return sql`
        update signing_key set state = 'active', activate_at = ${at(change.activateAtMs)}
        where issuer = ${issuer} and kid = ${kid} and state = 'pending'`;
    case 'begin_retiring':
      return sql`
        update signing_key set state = 'retiring', retire_at = ${at(change.retireAtMs)}
        where issuer = ${issuer} and kid = ${kid} and state = 'active'`;
    case 'retire':
      return sql`
        update signing_key set state = 'retired', private_key = null, ended_at = ${at(change.endedAtMs)}
        where issuer = ${issuer} and kid = ${kid} and state in ('pending', 'retiring')`;
    case 'ban':
      return sql`
        update signing_key set state = 'banned', private_key = null, ended_at = ${at(change.endedAtMs)}
        where issuer = ${issuer} and kid = ${kid} and state <> 'banned'`;
    case 'forget':
      return sql`delete from signing_key where issuer = ${issuer} and kid = ${kid} and state = 'retired'`;
  }
}
