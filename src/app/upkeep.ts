// Removes what has expired from PostgreSQL, every ten minutes, one replica at a time, in bounded batches that nobody waits
// for. The audit log and keys are not here: their end is proved by checkpoints and kept by their own schedules.
import type { Removed, UpkeepDesk } from '../admin/dependencies.ts';
import type { AuditTrail } from '../core/audit-trail.ts';
import { steadyWall } from '../core/clock.ts';
import { SidecarError } from '../core/errors.ts';
import { cleanupTurn } from '../stores/postgres/cleanup.ts';
import type { Postgres } from '../stores/postgres/pool.ts';
import { countRecords, readStatistics } from '../stores/postgres/statistics.ts';
import type { ControlPlaneParts } from './control-plane-parts.ts';

/** What an aggregate offers: deletes some of what has expired, and answers how much; 0 when nothing is left. */
export interface Expiring {
  expire(nowMs: number): Promise<number>;
}

/** The desk with its background loop. */
export interface Upkeep extends Disposable {
  readonly desk: UpkeepDesk;
}

const EVERY_MS = 10 * 60_000;
const COUNT_MS = 60_000;
/** How long one turn may take; what is left then waits for the next. The lock is held for longer. */
const TURN_MS = 30_000;

/** Opens it. `aggregates` by what they keep: names of the metric's label, of the log line and of the answer. */
export function openUpkeep(
  { clock, log, metrics }: Pick<ControlPlaneParts, 'clock' | 'log' | 'metrics'>,
  postgres: Postgres,
  audit: AuditTrail,
  aggregates: Readonly<Record<string, Expiring>>,
): Upkeep {
  const forgetByMs = steadyWall(clock);
  const turn = async (): Promise<Removed> => {
    const untilMs = clock.monotonicMs() + TURN_MS;
    const removed: Record<string, number> = {};
    for (const [what, aggregate] of Object.entries(aggregates)) {
      removed[what] = 0;
      let batch = 1;
      while (batch > 0 && clock.monotonicMs() < untilMs) {
        batch = await aggregate.expire(forgetByMs());
        removed[what] += batch;
        metrics.cleanup.labels(what).inc(batch);
      }
    }
    return removed;
  };
  const cleanUp = async () => {
    const removed = await cleanupTurn(postgres, turn);
    if (removed !== 'busy') log.info({ removed }, 'cleanup_done');
    return removed;
  };
  const inBackground = async () => {
    const removed = await cleanUp();
    if (removed === 'busy' || Object.values(removed).every((count) => count === 0)) return;
    await audit.record({ type: 'cleanup.done', actor: { kind: 'system' }, details: { removed } });
  };
  const count = async () => {
    for (const [what, records] of Object.entries(await countRecords(postgres)))
      metrics.records.labels(what).set(records);
  };
  const quietly = (work: () => Promise<void>) => () => {
    work().catch((error) => {
      const away = error instanceof SidecarError && error.kind === 'store_unavailable';
      if (!away) log.error({ err: error }, 'upkeep_failed');
    });
  };
  const timers = [setInterval(quietly(inBackground), EVERY_MS).unref(), setInterval(quietly(count), COUNT_MS).unref()];
  quietly(count)();
  return {
    desk: { cleanUp, statistics: () => readStatistics(postgres) },
    [Symbol.dispose]: () => {
      for (const timer of timers) clearInterval(timer);
    },
  };
}
