// The durable copy of the revocation log in PostgreSQL (contract: stores/contracts/durable-revocations.ts). Migration 0002.
import { isStorable } from '../../core/encoding.ts';
import type { DurableRevocation, DurableRevocations } from '../contracts/durable-revocations.ts';
import { revocationEntryId } from '../contracts/entry-id.ts';
import {
  guarded,
  KEPT_AFTER_MS,
  madeMs,
  type RevocationDraft,
  type RevocationEntry,
  type RevocationGuard,
  type RevocationKind,
} from '../contracts/revocations.ts';
import type { Sql } from './connection.ts';
import type { Postgres } from './pool.ts';

interface Row {
  readonly entry_id: string;
  readonly kind: RevocationKind;
  readonly issuer: string;
  readonly revoked_id: string;
  readonly reason: string;
  readonly until: Date | null;
  readonly not_before: Date | null;
  readonly revoked_at: Date;
  readonly logged_at: Date | null;
  readonly undone_at: Date | null;
}

/** Last millisecond of the year 9999: later ones have no spelling that both sides read. */
const LAST_MS = 253_402_300_799_999;
const UNDONE_KEPT_MS = 30 * 86_400_000;
const EXPIRE_COUNT = 5000;

/** The constraint of the table, which a replica that holds to the contract never meets. */
const FOREVER_KINDS: ReadonlySet<RevocationKind> = new Set(['subject', 'client', 'tenant', 'key']);

const timeOf = (ms: number) => new Date(Math.min(ms, LAST_MS));

/** {@link DurableRevocations} over PostgreSQL. */
export class PostgresRevocations implements DurableRevocations {
  readonly #postgres: Postgres;

  constructor(postgres: Postgres) {
    this.#postgres = postgres;
  }

  put(draft: RevocationDraft, nowMs: number, guard?: RevocationGuard): Promise<DurableRevocation> {
    return this.#postgres.run('revocations.put', async (sql) => {
      if (guard === undefined) return replace(sql, draft, nowMs);
      for (;;) {
        const [made] = await sql<Row[]>`${inserting(sql, draft, nowMs)} on conflict (entry_id) do nothing returning *`;
        if (made !== undefined) return revocationOf(made);
        // There is one, which nobody changes until this is over; unless it expired before it could be locked.
        const entryId = revocationEntryId(draft.kind, draft.issuer, draft.id);
        const [row] = await sql<Row[]>`select * from revocation where entry_id = ${entryId} for update`;
        if (row !== undefined) return replace(sql, guarded(draft, activeEntry(row, nowMs), guard), nowMs);
      }
    });
  }

  async undo(entryId: string, nowMs: number): Promise<DurableRevocation | undefined> {
    const [row] = await this.#postgres.run(
      'revocations.undo',
      (sql) => sql<Row[]>`
        update revocation set undone_at = greatest(${timeOf(nowMs)}, revoked_at, logged_at), unsent = true
        where entry_id = ${entryId} and undone_at is null and (until is null or until > ${timeOf(nowMs)})
        returning *`,
    );
    return row && revocationOf(row);
  }

  async settle({ entry, madeAtMs, undoneAtMs }: DurableRevocation, loggedAtMs: number): Promise<void> {
    const undone = undoneAtMs === undefined ? null : timeOf(undoneAtMs);
    await this.#postgres.run(
      'revocations.settle',
      (sql) => sql`
        update revocation set unsent = false, logged_at = ${timeOf(loggedAtMs)}
        where entry_id = ${entry.entryId} and revoked_at = ${timeOf(madeAtMs)}
          and undone_at is not distinct from ${undone}::timestamptz`,
      { durable: false },
    );
  }

  async unsent(madeBeforeMs: number, limit: number): Promise<readonly DurableRevocation[]> {
    const rows = await this.#postgres.run(
      'revocations.unsent',
      (sql) => sql<Row[]>`
        select * from revocation where unsent and coalesce(undone_at, revoked_at) <= ${timeOf(madeBeforeMs)}
        order by coalesce(undone_at, revoked_at) limit ${limit}`,
    );
    return rows.map(revocationOf);
  }

  async page(afterId: string, limit: number, nowMs: number): Promise<readonly DurableRevocation[]> {
    const rows = await this.#postgres.run(
      'revocations.page',
      (sql) => sql<Row[]>`
        select * from revocation where entry_id > ${afterId} and (until is null or until > ${timeOf(nowMs)})
        order by entry_id limit ${limit}`,
    );
    return rows.map(revocationOf);
  }

  async adopt(entries: readonly RevocationEntry[]): Promise<readonly string[]> {
    const rows = new Map(entries.filter(isRemembered).map((entry) => [entry.entryId, adoptedRow(entry)]));
    if (rows.size === 0) return [];
    // A row that waits to be sent is newer than the log; one that the log has at this time or later is this very entry.
    const given = JSON.stringify([...rows.values()]);
    const adopted = await this.#postgres.run('revocations.adopt', async (sql) => {
      await sql`
        update revocation set unsent = true
        from jsonb_to_recordset(${given}::text::jsonb) as given (entry_id text, made_at timestamptz)
        where revocation.entry_id = given.entry_id and not unsent and undone_at >= made_at`;
      return sql<{ entry_id: string }[]>`
        insert into revocation
          (entry_id, kind, issuer, revoked_id, reason, until, not_before, revoked_at, logged_at, unsent)
        select entry_id, kind, issuer, revoked_id, reason, until, not_before, revoked_at, logged_at, false
        from jsonb_to_recordset(${given}::text::jsonb) as given (entry_id text, kind text, issuer text,
          revoked_id text, reason text, until timestamptz, not_before timestamptz, revoked_at timestamptz, logged_at timestamptz,
          made_at timestamptz)
        where not exists (select 1 from revocation as held where held.entry_id = given.entry_id and held.revoked_at > made_at)
        order by entry_id
        on conflict (entry_id) do update set reason = excluded.reason, until = excluded.until,
          not_before = excluded.not_before, logged_at = excluded.logged_at, undone_at = null,
          revoked_at = greatest(excluded.revoked_at, greatest(revocation.revoked_at, revocation.undone_at)
            + interval '1 millisecond')
        where not revocation.unsent and coalesce(revocation.logged_at, revocation.revoked_at) < excluded.logged_at
          and (revocation.undone_at is null or revocation.undone_at < greatest(excluded.revoked_at, excluded.logged_at))
        returning entry_id`;
    });
    return adopted.map(({ entry_id: entryId }) => entryId);
  }

  async adoptUndo({ entryId, revokedAtMs, madeAtMs }: RevocationEntry): Promise<void> {
    const madeAt = madeAtMs === undefined ? null : timeOf(madeAtMs);
    await this.#postgres.run(
      'revocations.adopt_undo',
      (sql) => sql`
        update revocation set undone_at = greatest(revoked_at, logged_at), unsent = false
        where entry_id = ${entryId} and undone_at is null and case when ${madeAt}::timestamptz is null
          then not unsent and coalesce(logged_at, revoked_at) <= ${timeOf(revokedAtMs)}
          else revoked_at <= ${madeAt}::timestamptz end`,
    );
  }

  async expire(nowMs: number): Promise<number> {
    const gone = await this.#postgres.run(
      'revocations.expire',
      (sql) => sql`
        delete from revocation where entry_id in (
          select entry_id from revocation
          where until <= ${timeOf(nowMs - KEPT_AFTER_MS)} or (undone_at <= ${timeOf(nowMs - UNDONE_KEPT_MS)} and not unsent)
          limit ${EXPIRE_COUNT} for update skip locked)`,
    );
    return gone.count;
  }
}

/** The statement that makes a row, up to what happens where there is one. */
function inserting(sql: Sql, { kind, issuer, id, untilMs, notBeforeMs, reason }: RevocationDraft, nowMs: number) {
  const entryId = revocationEntryId(kind, issuer, id);
  const until = untilMs === 'forever' ? null : timeOf(untilMs);
  const notBefore = notBeforeMs === undefined ? null : timeOf(notBeforeMs);
  return sql`
    insert into revocation (entry_id, kind, issuer, revoked_id, reason, until, not_before, revoked_at)
    values (${entryId}, ${kind}, ${issuer}, ${id}, ${reason}, ${until}, ${notBefore}, ${timeOf(nowMs)})`;
}

/** Takes the place of whatever stands there. */
async function replace(sql: Sql, draft: RevocationDraft, nowMs: number): Promise<DurableRevocation> {
  const [row] = await sql<Row[]>`
    ${inserting(sql, draft, nowMs)}
    on conflict (entry_id) do update set reason = excluded.reason, until = excluded.until,
      not_before = excluded.not_before,
      revoked_at = greatest(excluded.revoked_at, greatest(revocation.revoked_at, revocation.logged_at,
        revocation.undone_at) + interval '1 millisecond'),
      logged_at = null, undone_at = null, unsent = true
    returning *`;
  return revocationOf(row as Row);
}

function activeEntry(row: Row, nowMs: number): RevocationEntry | undefined {
  const isActive = row.undone_at === null && (row.until === null || row.until.getTime() > nowMs);
  return isActive ? revocationOf(row).entry : undefined;
}

/** Whoever writes to the shared log must not keep others from being remembered: text of ours cannot hold all that JSON can. */
const isRemembered = ({ kind, issuer, id, reason, untilMs }: RevocationEntry) =>
  [issuer, id, reason].every(isStorable) && (untilMs !== 'forever' || FOREVER_KINDS.has(kind));

function adoptedRow(entry: RevocationEntry) {
  const { entryId, kind, issuer, id, untilMs, notBeforeMs, reason, revokedAtMs } = entry;
  return {
    ...{ entry_id: entryId, kind, issuer, revoked_id: id, reason },
    ...{ revoked_at: timeOf(madeMs(entry)), logged_at: timeOf(revokedAtMs) },
    made_at: entry.madeAtMs === undefined ? null : timeOf(entry.madeAtMs),
    until: untilMs === 'forever' ? null : timeOf(untilMs),
    not_before: notBeforeMs === undefined ? null : timeOf(notBeforeMs),
  };
}

function revocationOf(row: Row): DurableRevocation {
  const { entry_id: entryId, kind, issuer, revoked_id: id, reason, revoked_at: made, logged_at: logged } = row;
  const untilMs = row.until === null ? ('forever' as const) : row.until.getTime();
  const bounds = row.not_before === null ? { untilMs } : { untilMs, notBeforeMs: row.not_before.getTime() };
  const revokedAtMs = (logged ?? made).getTime();
  return {
    entry: { kind, issuer, id, ...bounds, reason, entryId, seq: 0, revokedAtMs },
    madeAtMs: made.getTime(),
    undoneAtMs: row.undone_at?.getTime(),
  };
}
