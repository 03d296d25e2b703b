// The audit log in PostgreSQL (contract: stores/contracts/audit.ts). Migration 0020.
import type { AuditActorKind } from '../../core/audit-trail.ts';
import type { AuditType } from '../../core/audit-types.ts';
import {
  type AuditFilter,
  type AuditHead,
  type AuditPlace,
  type AuditStore,
  type CheckpointFacts,
  type NewCheckpoint,
  placeKey,
  type StoredAuditKey,
  type StoredAuditRecord,
  type StoredCheckpoint,
} from '../contracts/audit.ts';
import type { Sql } from './connection.ts';
import type { Postgres } from './pool.ts';

const SLOW = { timeoutMs: 30_000 };
const LONGEST_CUT = 5000;
const CHAINS_CUT_AT_ONCE = 100;

/** {@link AuditStore} over PostgreSQL. */
export class PostgresAudit implements AuditStore {
  readonly #postgres: Postgres;

  constructor(postgres: Postgres) {
    this.#postgres = postgres;
  }

  async append(records: readonly StoredAuditRecord[]): Promise<void> {
    if (records.length === 0) return;
    // One parameter whatever the number of records, so that this stays one prepared statement. Of two batches at once either
    // index may notice first that the event is there.
    await this.#postgres.run(
      'audit.append',
      (sql) => sql`
        insert into audit_event
        select * from jsonb_populate_recordset(null::audit_event, ${sql.json(records.map(rowOf))})
        on conflict do nothing`,
    );
  }

  async find(filter: AuditFilter, after: AuditPlace | undefined, limit: number): Promise<readonly StoredAuditRecord[]> {
    const rows = await this.#postgres.read('audit.find', (sql) => {
      const { sinceMs, untilMs, type, actor, subject, client, tenant, requestId } = filter;
      return sql<EventRow[]>`
        select * from audit_event where true
        ${sinceMs === undefined ? sql`` : sql`and at >= ${new Date(sinceMs)}`}
        ${untilMs === undefined ? sql`` : sql`and at < ${new Date(untilMs)}`}
        ${type === undefined ? sql`` : sql`and type = ${type}`}
        ${actor === undefined ? sql`` : sql`and actor = ${actor}`}
        ${subject === undefined ? sql`` : sql`and subject = ${subject}`}
        ${client === undefined ? sql`` : sql`and client = ${client}`}
        ${tenant === undefined ? sql`` : sql`and tenant = ${tenant}`}
        ${requestId === undefined ? sql`` : sql`and request_id = ${requestId}`}
        ${after === undefined ? sql`` : beyond(sql, after)}
        order by at desc, writer, number desc limit ${limit}`;
    });
    return rows.map(recordOf);
  }

  async walk(
    after: { readonly writer: string; readonly number: number } | undefined,
    limit: number,
  ): Promise<readonly StoredAuditRecord[]> {
    const rows = await this.#postgres.read(
      'audit.walk',
      (sql) => sql<EventRow[]>`
        select * from audit_event
        ${after === undefined ? sql`` : sql`where (writer, number) > (${after.writer}, ${after.number})`}
        order by writer, number limit ${limit}`,
      SLOW,
    );
    return rows.map(recordOf);
  }

  async lastCheckpoint(): Promise<number> {
    const [row] = await this.#postgres.read(
      'audit.last_checkpoint',
      (sql) => sql<{ number: number | null }[]>`select max(number) as number from audit_checkpoint`,
    );
    return row?.number ?? 0;
  }

  async checkpoints(afterNumber: number, limit: number): Promise<readonly StoredCheckpoint[]> {
    const rows = await this.#postgres.read(
      'audit.checkpoints',
      (sql) => sql<CheckpointRow[]>`
        select * from audit_checkpoint where number > ${afterNumber} order by number limit ${limit}`,
      SLOW,
    );
    return rows.map(checkpointOf);
  }

  checkpoint(
    cutoffMs: number,
    decide: (facts: CheckpointFacts) => Promise<NewCheckpoint | undefined>,
  ): Promise<NewCheckpoint | undefined> {
    return this.#postgres.run(
      'audit.checkpoint',
      async (sql) => {
        // Of this schema alone: the oid of the table is the number of the lock.
        await sql`select pg_advisory_xact_lock('audit_checkpoint'::regclass::oid::bigint)`;
        const next = await decide(await factsOf(sql, new Date(cutoffMs)));
        if (next === undefined) return undefined;
        const { number, atMs, keyId, statement, signature } = next.checkpoint;
        await sql`
          insert into audit_checkpoint (number, at, key_id, statement, signature)
          values (${number}, ${new Date(atMs)}, ${keyId}, ${statement}, ${signature})`;
        await sql`delete from audit_checkpoint where number < ${next.keepFrom}`;
        for (const cut of next.cuts) {
          await sql`delete from audit_event where writer = ${cut.writer} and number <= ${cut.number}`;
        }
        return next;
      },
      SLOW,
    );
  }

  keys(): Promise<readonly StoredAuditKey[]> {
    return this.#postgres.read('audit.keys', readKeys);
  }

  addKey(key: StoredAuditKey, { onlyIfNone }: { readonly onlyIfNone: boolean }): Promise<readonly StoredAuditKey[]> {
    return this.#postgres.transact('audit.add_key', async (sql) => {
      const { keyId, publicKey, sealed, createdAtMs } = key;
      await sql`
        insert into audit_key (key_id, public_key, sealed, created_at)
        select ${keyId}, ${publicKey}, ${Buffer.from(sealed)}, ${new Date(createdAtMs)}::timestamptz
        where ${!onlyIfNone} or not exists (select from audit_key)
        on conflict do nothing`;
      return readKeys(sql);
    });
  }
}

interface EventRow {
  readonly writer: string;
  readonly number: number;
  readonly id: string;
  readonly type: AuditType;
  readonly at: Date;
  readonly actor_kind: AuditActorKind;
  readonly actor: string | null;
  readonly address: string | null;
  readonly request_id: string | null;
  readonly subject: string | null;
  readonly client: string | null;
  readonly tenant: string | null;
  readonly outcome: 'success' | 'failure';
  readonly reason: string | null;
  readonly checkpoint: number;
  readonly details_digest: string | null;
  readonly sealed: Buffer | null;
  readonly previous: string;
  readonly hash: string;
}

interface CheckpointRow {
  readonly number: number;
  readonly at: Date;
  readonly key_id: string;
  readonly statement: string;
  readonly signature: string;
}

/** As `jsonb_populate_recordset` reads it. */
function rowOf(record: StoredAuditRecord) {
  const { writer, number, id, type, atMs, actorKind, outcome, checkpoint, previous, hash, sealed } = record;
  return {
    ...{ writer, number, id, type, outcome, checkpoint, previous, hash },
    at: new Date(atMs).toISOString(),
    actor_kind: actorKind,
    actor: record.actor ?? null,
    address: record.address ?? null,
    request_id: record.requestId ?? null,
    subject: record.subject ?? null,
    client: record.client ?? null,
    tenant: record.tenant ?? null,
    reason: record.reason ?? null,
    details_digest: record.detailsDigest ?? null,
    sealed: sealed === undefined ? null : `\\x${Buffer.from(sealed).toString('hex')}`,
  };
}

function recordOf(row: EventRow): StoredAuditRecord {
  const { writer, number, id, type, outcome, checkpoint, previous, hash } = row;
  return {
    ...{ writer, number, id, type, outcome, checkpoint, previous, hash },
    atMs: row.at.getTime(),
    actorKind: row.actor_kind,
    actor: row.actor ?? undefined,
    address: row.address ?? undefined,
    requestId: row.request_id ?? undefined,
    subject: row.subject ?? undefined,
    client: row.client ?? undefined,
    tenant: row.tenant ?? undefined,
    reason: row.reason ?? undefined,
    detailsDigest: row.details_digest ?? undefined,
    sealed: row.sealed ?? undefined,
  };
}

const checkpointOf = ({ number, at, key_id, statement, signature }: CheckpointRow): StoredCheckpoint => ({
  ...{ number, statement, signature },
  atMs: at.getTime(),
  keyId: key_id,
});

/** Rows behind a place, in the order of `find`: newest first, within one moment by writer, newest first. */
function beyond(sql: Sql, { atMs, writer, number }: AuditPlace) {
  const at = new Date(atMs);
  return sql`and at <= ${at} and (at < ${at} or writer > ${writer} or (writer = ${writer} and number < ${number}))`;
}

async function readKeys(sql: Sql): Promise<readonly StoredAuditKey[]> {
  const rows = await sql<{ key_id: string; public_key: string; sealed: Buffer; created_at: Date }[]>`
    select * from audit_key order by created_at, key_id`;
  return rows.map(({ key_id, public_key, sealed, created_at }) => ({
    keyId: key_id,
    publicKey: public_key,
    sealed,
    createdAtMs: created_at.getTime(),
  }));
}

async function factsOf(sql: Sql, cutoff: Date): Promise<CheckpointFacts> {
  const [last] = await sql<CheckpointRow[]>`select * from audit_checkpoint order by number desc limit 1`;
  const ends = await headsOf(sql);
  return {
    last: last && checkpointOf(last),
    heads: ends.map(({ writer, number, hash }) => ({ writer, number, hash })),
    namedCheckpoint: Math.max(0, ...ends.map(({ checkpoint }) => checkpoint)),
    expired: await expiredOf(sql, cutoff),
    hashesOf: async (places) => {
      const writers = places.map(({ writer }) => writer);
      const numbers = places.map(({ number }) => number);
      const rows = await sql<AuditHead[]>`
        select e.writer, e.number, e.hash from audit_event e
        join unnest(${writers}::text[], ${numbers}::bigint[]) as place (writer, number) using (writer, number)`;
      return new Map(rows.map((row) => [placeKey(row), row.hash]));
    },
  };
}

/** One row per chain without reading the chains: from each writer to the next by the primary key. */
function headsOf(sql: Sql) {
  return sql<(AuditHead & { readonly checkpoint: number })[]>`
    with recursive chain as (
      (select writer from audit_event order by writer limit 1)
      union all
      select (select e.writer from audit_event e where e.writer > chain.writer order by e.writer limit 1)
      from chain where chain.writer is not null
    )
    select chain.writer, head.number, head.hash, head.checkpoint
    from chain cross join lateral (
      select number, hash, checkpoint from audit_event e where e.writer = chain.writer order by number desc limit 1
    ) head
    where chain.writer is not null order by chain.writer`;
}

async function expiredOf(sql: Sql, cutoff: Date): Promise<AuditHead[]> {
  const writers = await sql<{ writer: string }[]>`
    select distinct writer from audit_event where at < ${cutoff} limit ${CHAINS_CUT_AT_ONCE}`;
  const cuts: AuditHead[] = [];
  for (const { writer } of writers) {
    // A clock that was set back can leave younger rows before older ones: only the leading rows go.
    const [cut] = await sql<AuditHead[]>`
      with oldest as (
        select number, hash, at from audit_event where writer = ${writer} order by number limit ${LONGEST_CUT}
      )
      select ${writer} as writer, number, hash from oldest
      where number < coalesce((select min(number) from oldest where at >= ${cutoff}), ${Number.MAX_SAFE_INTEGER})
      order by number desc limit 1`;
    if (cut !== undefined) cuts.push(cut);
  }
  return cuts;
}
