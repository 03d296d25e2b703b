// One replica at a time removes what has expired. The lock is a transaction's, so that it ends with its connection whatever
// dies, and works behind a pooler; the work itself runs in short transactions of its own beside it.
import type { Postgres } from './pool.ts';

/** Longest that the lock is held; the work is to end sooner. */
const HELD_MS = 60_000;

/** Runs `work` while no other replica does; `busy`, at once, while one does. Rejects with `store_unavailable`. */
export function cleanupTurn<T>(postgres: Postgres, work: () => Promise<T>): Promise<T | 'busy'> {
  return postgres.run(
    'cleanup.turn',
    async (sql) => {
      const [row] = await sql<{ mine: boolean }[]>`
        select pg_try_advisory_xact_lock('idempotency_key'::regclass::oid::bigint) as mine`;
      return row?.mine ? work() : 'busy';
    },
    { timeoutMs: HELD_MS },
  );
}
