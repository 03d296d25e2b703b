// A process that starts PostgreSQL as a replica does, once for every schema it is told over IPC, and answers what came of it.
import { systemClock } from '../../src/core/clock.ts';
import { openPostgres } from '../../src/stores/postgres/backend.ts';
import type { PostgresSettings } from '../../src/stores/postgres/connection.ts';

/** What one start came to. */
export interface StartReport {
  readonly schema: string;
  /** Numbers of the migrations that this process applied. */
  readonly applied: readonly number[];
  readonly ready: boolean;
  /** Every state but `up` that the replica saw; there should be none. */
  readonly problems: readonly string[];
  /** Migrations in the table when the replica was ready. */
  readonly found: number;
}

async function start(settings: PostgresSettings): Promise<StartReport> {
  const applied: number[] = [];
  const problems: string[] = [];
  await using backend = openPostgres({
    ...{ settings, clock: systemClock, release: '0.1.0', migrate: 'start' },
    onMigrated: (migrations) => applied.push(...migrations.map(({ number }) => number)),
    onState: (state) => state.status !== 'up' && problems.push(`${state.status}: ${state.problem}`),
  });
  const ready = await backend.ready(30_000);
  const [row] = await backend.pool.run(
    'test.count',
    (sql) => sql<{ found: number }[]>`
    select count(*) as found from migration`,
  );
  return { schema: settings.schema, applied, ready, problems, found: row?.found ?? 0 };
}

process.on('message', (settings: PostgresSettings) => {
  start(settings).then(
    (report) => process.send?.(report),
    (error) =>
      process.send?.({ schema: settings.schema, applied: [], ready: false, problems: [String(error)], found: 0 }),
  );
});
process.send?.('ready');
