// Authorization codes and token families in PostgreSQL (contract: stores/contracts/grants.ts). Migration 0040. Single use
// rests on one conditional UPDATE each: whoever finds the row changed has lost, whatever the isolation.
import { SidecarError } from '../../core/errors.ts';
import type {
  CodeRecord,
  EndedGrants,
  FamilyEnd,
  FamilyPlace,
  FamilyRecord,
  GrantFilter,
  GrantHolder,
  Grants,
  NewCode,
  NewFamily,
  Rotation,
  TenantGrants,
} from '../contracts/grants.ts';
import type { SealedColumn } from '../contracts/sealer.ts';
import type { Sql } from './connection.ts';
import type { Postgres } from './pool.ts';

/** The columns that re-sealing has to know. */
export const grantSealedColumns: readonly SealedColumn[] = [
  { table: 'authorization_code', idColumns: ['code_digest'], column: 'sealed' },
  { table: 'token_family', idColumns: ['family_id'], column: 'sealed' },
];

interface HolderRow {
  readonly issuer: string;
  readonly client: string;
  readonly subject: string;
  readonly session: string | null;
  readonly tenant: string | null;
  readonly scopes: string[];
  readonly audience: string[];
}

interface CodeRow extends HolderRow {
  readonly code_digest: string;
  readonly redirect_uri: string;
  readonly code_challenge: string;
  readonly created_at: Date;
  readonly expires_at: Date;
  readonly redeemed_at: Date | null;
  readonly family_id: string | null;
  readonly sealed: Buffer;
}

interface FamilyRow extends HolderRow {
  readonly family_id: string;
  readonly created_at: Date;
  readonly expires_at: Date;
  readonly idle_until: Date;
  readonly refreshable: boolean;
  readonly counter: number;
  readonly rotated_at: Date | null;
  readonly ended_at: Date | null;
  readonly end_reason: FamilyEnd | null;
  readonly sealed: Buffer;
}

const EXPIRE_COUNT = 5000;
/** Spent codes outlive their ten minutes, so that a late second use still ends what came of the first. */
const SPENT_CODE_KEPT_MS = 86_400_000;

/** {@link Grants} over PostgreSQL. */
export class PostgresGrants implements Grants, TenantGrants {
  readonly #postgres: Postgres;
  readonly #tenant: string | undefined;

  /** `tenant`: the only one there is to this object. */
  constructor(postgres: Postgres, tenant?: string) {
    this.#postgres = postgres;
    this.#tenant = tenant;
  }

  within(tenant: string): TenantGrants {
    return new PostgresGrants(this.#postgres, tenant);
  }

  async putCode(code: NewCode): Promise<void> {
    if (this.#tenant !== undefined && code.tenant !== this.#tenant) {
      throw new SidecarError('forbidden', 'tenant_exceeded', 'a code of another tenant');
    }
    await this.#postgres.run(
      'grants.put_code',
      (sql) => sql`
        insert into authorization_code ${sql({
          ...holderColumns(code),
          code_digest: code.codeDigest,
          redirect_uri: code.redirectUri,
          code_challenge: code.codeChallenge,
          created_at: new Date(code.createdAtMs),
          expires_at: new Date(code.expiresAtMs),
          sealed: code.sealed,
        })}`,
    );
  }

  async findCode(codeDigest: string): Promise<CodeRecord | undefined> {
    const [row] = await this.#postgres.read(
      'grants.find_code',
      (sql) => sql<CodeRow[]>`select * from authorization_code where code_digest = ${codeDigest}`,
    );
    return row && codeOf(row);
  }

  async redeemCode(codeDigest: string, family: NewFamily, nowMs: number): Promise<boolean> {
    const row = familyColumns(family);
    const begun = await this.#postgres.run(
      'grants.redeem_code',
      (sql) => sql`
        with spent as (
          update authorization_code set redeemed_at = ${new Date(nowMs)}, family_id = ${family.familyId}
          where code_digest = ${codeDigest} and redeemed_at is null and expires_at > ${new Date(nowMs)}
          returning code_digest
        )
        insert into token_family (
          issuer, client, subject, session, tenant, scopes, audience,
          family_id, created_at, expires_at, idle_until, refreshable, sealed
        )
        select ${row.issuer}, ${row.client}, ${row.subject}, ${row.session}, ${row.tenant},
          ${row.scopes}::text[], ${row.audience}::text[],
          ${row.family_id}, ${row.created_at}::timestamptz, ${row.expires_at}::timestamptz,
          ${row.idle_until}::timestamptz, ${row.refreshable}::boolean, ${row.sealed}::bytea
        from spent`,
    );
    return begun.count === 1;
  }

  async find(familyId: string): Promise<FamilyRecord | undefined> {
    const [row] = await this.#postgres.read(
      'grants.find',
      (sql) => sql<FamilyRow[]>`select * from token_family where family_id = ${familyId} ${own(sql, this.#tenant)}`,
    );
    return row && familyOf(row);
  }

  rotate(
    familyId: string,
    counter: number,
    { nowMs, graceMs, idleUntilMs }: { nowMs: number; graceMs: number; idleUntilMs: number },
  ): Promise<Rotation> {
    const now = new Date(nowMs);
    return this.#postgres.run('grants.rotate', async (sql): Promise<Rotation> => {
      const [rotated] = await sql<FamilyRow[]>`
        update token_family set counter = counter + 1, rotated_at = ${now},
          idle_until = least(expires_at, ${new Date(idleUntilMs)}::timestamptz)
        where family_id = ${familyId} and counter = ${counter} and refreshable
          and ended_at is null and idle_until > ${now}
        returning *`;
      if (rotated !== undefined) return { outcome: 'rotated', family: familyOf(rotated) };
      const [row] = await sql<FamilyRow[]>`select * from token_family where family_id = ${familyId} for update`;
      if (row === undefined || row.ended_at !== null || row.idle_until <= now) return { outcome: 'dead' };
      const family = familyOf(row);
      if (family.counter === counter + 1 && Math.abs(nowMs - (family.rotatedAtMs ?? 0)) < graceMs) {
        return { outcome: 'repeated', family };
      }
      const ended = await endRow(sql, familyId, 'reuse', now, undefined);
      return ended === undefined ? { outcome: 'dead' } : { outcome: 'reused', family: ended };
    });
  }

  end(familyId: string, reason: FamilyEnd, nowMs: number): Promise<FamilyRecord | undefined> {
    return this.#postgres.run('grants.end', (sql) => endRow(sql, familyId, reason, new Date(nowMs), this.#tenant));
  }

  async owned(familyIds: readonly string[]): Promise<readonly string[]> {
    const rows = await this.#postgres.read(
      'grants.owned',
      (sql) => sql<{ family_id: string }[]>`
        select family_id from token_family where family_id = any(${[...familyIds]}::text[]) ${own(sql, this.#tenant)}`,
    );
    return rows.map(({ family_id: familyId }) => familyId);
  }

  endAll(filter: GrantFilter, reason: FamilyEnd, nowMs: number): Promise<EndedGrants> {
    requireNamed(filter);
    const now = new Date(nowMs);
    return this.#postgres.run('grants.end_all', async (sql) => {
      // Codes first: one that is being redeemed is waited for, and the family that came of it is then seen below.
      const codes = await deleteCodes(sql, filter, undefined);
      const families = await sql`
        update token_family set ended_at = ${now}, end_reason = ${reason}
        where ended_at is null and idle_until > ${now} ${matching(sql, filter)} ${matchingFamily(sql, filter)}`;
      return { families: families.count, codes };
    });
  }

  async dropCodes(filter: GrantFilter): Promise<number> {
    requireNamed(filter);
    return this.#postgres.run('grants.drop_codes', (sql) => deleteCodes(sql, filter, this.#tenant));
  }

  async page(
    filter: Partial<GrantFilter>,
    after: FamilyPlace | undefined,
    limit: number,
    nowMs: number,
  ): Promise<readonly FamilyRecord[]> {
    const rows = await this.#postgres.read(
      'grants.page',
      (sql) => sql<FamilyRow[]>`
        select * from token_family
        where ended_at is null and idle_until > ${new Date(nowMs)} ${own(sql, this.#tenant)}
        ${matching(sql, filter)} ${matchingFamily(sql, filter)}
        ${after === undefined ? sql`` : sql`and (created_at, family_id) < (${new Date(after.createdAtMs)}, ${after.familyId})`}
        order by created_at desc, family_id desc limit ${limit}`,
    );
    return rows.map(familyOf);
  }

  expire(nowMs: number): Promise<number> {
    const now = new Date(nowMs);
    return this.#postgres.run('grants.expire', async (sql) => {
      const codes = await sql`
        delete from authorization_code where code_digest in (
          select code_digest from authorization_code
          where expires_at <= ${now} and (redeemed_at is null or expires_at <= ${new Date(nowMs - SPENT_CODE_KEPT_MS)})
          limit ${EXPIRE_COUNT} for update skip locked)`;
      const families = await sql`
        delete from token_family where family_id in (
          select family_id from token_family where idle_until <= ${now} limit ${EXPIRE_COUNT} for update skip locked)`;
      return codes.count + families.count;
    });
  }
}

const holderColumns = (holder: GrantHolder) => ({
  issuer: holder.issuer,
  client: holder.client,
  subject: holder.subject,
  session: holder.session ?? null,
  tenant: holder.tenant ?? null,
  scopes: [...holder.scopes],
  audience: [...holder.audience],
});

const familyColumns = (family: NewFamily) => ({
  ...holderColumns(family),
  family_id: family.familyId,
  created_at: new Date(family.createdAtMs),
  expires_at: new Date(family.expiresAtMs),
  idle_until: new Date(Math.min(family.idleUntilMs, family.expiresAtMs)),
  refreshable: family.refreshable,
  sealed: family.sealed,
});

/** The condition that fences a tenant in. */
const own = (sql: Sql, tenant: string | undefined) => (tenant === undefined ? sql`` : sql`and tenant = ${tenant}`);

async function endRow(
  sql: Sql,
  familyId: string,
  reason: FamilyEnd,
  now: Date,
  tenant: string | undefined,
): Promise<FamilyRecord | undefined> {
  const [row] = await sql<FamilyRow[]>`
    update token_family set ended_at = ${now}, end_reason = ${reason}
    where family_id = ${familyId} and ended_at is null and idle_until > ${now} ${own(sql, tenant)} returning *`;
  return row && familyOf(row);
}

/** What only narrows names nobody. */
function requireNamed({ subject, client, session, tenant, family }: GrantFilter): void {
  if ([subject, client, session, tenant, family].every((value) => value === undefined)) {
    throw new TypeError('everything is meant by this');
  }
}

async function deleteCodes(sql: Sql, filter: GrantFilter, tenant: string | undefined): Promise<number> {
  const codes = await sql`
    delete from authorization_code
    where redeemed_at is null and ${filter.family === undefined} ${own(sql, tenant)} ${matching(sql, filter)}`;
  return codes.count;
}

function matching(sql: Sql, filter: Partial<GrantFilter>) {
  const { begunBeforeMs, exceptSession } = filter;
  const equal = (['issuer', 'subject', 'client', 'session', 'tenant'] as const).flatMap((name) => {
    const value = filter[name];
    return value === undefined ? [] : [sql`and ${sql(name)} = ${value}`];
  });
  const before = begunBeforeMs === undefined ? sql`` : sql`and created_at < ${new Date(begunBeforeMs)}`;
  const except = exceptSession === undefined ? sql`` : sql`and session is distinct from ${exceptSession}`;
  return equal.reduce((all, one) => sql`${all} ${one}`, sql`${before} ${except}`);
}

function matchingFamily(sql: Sql, { family, exceptFamily }: Partial<GrantFilter>) {
  const only = family === undefined ? sql`` : sql`and family_id = ${family}`;
  return exceptFamily === undefined ? only : sql`${only} and family_id <> ${exceptFamily}`;
}

const holderOf = (row: HolderRow): GrantHolder => ({
  issuer: row.issuer,
  client: row.client,
  subject: row.subject,
  session: row.session ?? undefined,
  tenant: row.tenant ?? undefined,
  scopes: row.scopes,
  audience: row.audience,
});

const codeOf = (row: CodeRow): CodeRecord => ({
  ...holderOf(row),
  codeDigest: row.code_digest,
  redirectUri: row.redirect_uri,
  codeChallenge: row.code_challenge,
  createdAtMs: row.created_at.getTime(),
  expiresAtMs: row.expires_at.getTime(),
  redeemedAtMs: row.redeemed_at?.getTime(),
  familyId: row.family_id ?? undefined,
  sealed: row.sealed,
});

const familyOf = (row: FamilyRow): FamilyRecord => ({
  ...holderOf(row),
  familyId: row.family_id,
  createdAtMs: row.created_at.getTime(),
  expiresAtMs: row.expires_at.getTime(),
  idleUntilMs: row.idle_until.getTime(),
  refreshable: row.refreshable,
  counter: row.counter,
  rotatedAtMs: row.rotated_at?.getTime(),
  endedAtMs: row.ended_at?.getTime(),
  endReason: row.end_reason ?? undefined,
  sealed: row.sealed,
});
