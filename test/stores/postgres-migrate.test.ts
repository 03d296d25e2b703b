// Migrations on real PostgreSQL: in order, once, together or not at all, and refused where they cannot be right.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { migrate, schemaStatus } from '../../src/stores/postgres/migrate.ts';
import {
  compareReleases,
  type Migration,
  pendingMigrations,
  readMigration,
  readMigrations,
  SchemaRefused,
} from '../../src/stores/postgres/migrations.ts';
import { openTestDatabase, type PostgresVersion, type TestDatabase } from '../support/postgres-server.ts';
import type { StartReport } from './starting-replica.ts';

const foundation = readMigrations()[0] as Migration;
const file = (number: number, sql: string, oldest = '0.1.0') =>
  readMigration(`${String(number).padStart(4, '0')}_step.sql`, `-- oldest release: ${oldest}\n${sql}`);
const optionsFor = ({ settings }: TestDatabase, migrations?: readonly Migration[], release = '0.1.0') => ({
  settings,
  clock: systemClock,
  release,
  ...(migrations && { migrations }),
});
const numbers = (migrations: readonly { number: number }[]) => migrations.map(({ number }) => number);

for (const version of [15, 18] as const satisfies readonly PostgresVersion[]) {
  test(`PostgreSQL ${version}: every migration applies to an empty database, and none twice`, async () => {
    await using database = await openTestDatabase({ migrated: false, version });
    const known = numbers(readMigrations());
    const before = await schemaStatus(optionsFor(database));
    assert.match(before.server, new RegExp(`^${version}\\.`));
    assert.deepEqual([before.applied, numbers(before.pending)], [[], known]);
    assert.deepEqual(numbers(await migrate(optionsFor(database))), known);
    assert.deepEqual(await migrate(optionsFor(database)), []);
    const after = await schemaStatus(optionsFor(database));
    assert.deepEqual([numbers(after.applied), after.pending], [known, []]);
  });
}

/** A process of its own that starts as a replica does whenever it is told. */
async function startingReplica() {
  const child = fork(new URL('starting-replica.ts', import.meta.url), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const next = async () => {
    const [message] = await once(child, 'message');
    return message as StartReport;
  };
  await next();
  return {
    start: async (settings: TestDatabase['settings']) => {
      const report = next();
      child.send(settings);
      return report;
    },
    [Symbol.asyncDispose]: async () => {
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

test('two processes start together on an empty database, a hundred times: one schema, no error', {
  timeout: 300_000,
}, async () => {
  await using database = await openTestDatabase({ migrated: false });
  await using a = await startingReplica();
  await using b = await startingReplica();
  const known = numbers(readMigrations());
  let both = 0;
  for (let round = 0; round < 100; round += 1) {
    const settings = { ...database.settings, schema: `round_${round}`, connections: 2, timeoutMs: 30_000 };
    const reports = await Promise.all([a.start(settings), b.start(settings)]);
    const applied = reports.flatMap((report) => report.applied).sort((x, y) => x - y);
    assert.deepEqual(applied, known, `round ${round}`);
    for (const { ready, problems, found } of reports) {
      assert.deepEqual([ready, problems, found], [true, [], known.length], `round ${round}`);
    }
    if (reports.every((report) => report.applied.length > 0)) both += 1;
  }
  const [row] = await database.sql`select count(*) as schemas from pg_namespace where nspname like 'round\\_%'`;
  assert.equal(row?.schemas, 100);
  // They did meet: often enough each of the two applied a part.
  assert.ok(both > 0, 'the processes never started at the same time');
});

test('a migration that fails leaves those before it and nothing of its own; mended, it goes on', async () => {
  await using database = await openTestDatabase({ migrated: false });
  const good = file(2, 'create table good (id integer)');
  const broken = file(3, 'create table half (id integer); select 1 / 0;');
  await assert.rejects(migrate(optionsFor(database, [foundation, good, broken])), /PostgreSQL refused: 22012/);
  const tables = await database.sql`select tablename from pg_tables where schemaname = 'doorward' order by 1`;
  assert.deepEqual(
    tables.map(({ tablename }) => tablename),
    ['good', 'migration'],
  );
  const mended = file(3, 'create table half (id integer)');
  assert.deepEqual(numbers(await migrate(optionsFor(database, [foundation, good, mended]))), [3]);
});

test('an applied file that has changed is refused, by looking and by migrating', async () => {
  await using database = await openTestDatabase({ migrated: false });
  await migrate(optionsFor(database, [foundation, file(2, 'select 1')]));
  const changed = optionsFor(database, [foundation, file(2, 'select 2')]);
  const refusal = {
    name: 'SchemaRefused',
    message: 'migration 2 (step) was applied by release 0.1.0 with another text',
  };
  await assert.rejects(schemaStatus(changed), refusal);
  await assert.rejects(migrate(changed), refusal);
});

test('an older program runs on a newer schema within its range, and is refused beyond it', async () => {
  await using database = await openTestDatabase({ migrated: false });
  const newer = [foundation, file(2, 'select 1', '0.2.0'), file(3, 'select 1', '0.1.0')];
  await migrate(optionsFor(database, newer, '0.3.0'));
  assert.deepEqual((await schemaStatus(optionsFor(database, [foundation], '0.2.0'))).pending, []);
  await assert.rejects(migrate(optionsFor(database, [foundation], '0.1.9')), {
    name: 'SchemaRefused',
    message: 'the schema needs release 0.2.0 or later, and this is 0.1.9',
  });
});

test('a migration that was left out between applied ones is still applied: numbers are an order, not a count', async () => {
  await using database = await openTestDatabase({ migrated: false });
  await migrate(optionsFor(database, [foundation, file(30, 'select 1')]));
  assert.deepEqual(
    numbers(await migrate(optionsFor(database, [foundation, file(20, 'select 1'), file(30, 'select 1')]))),
    [20],
  );
});

test('a user without rights is told which, and that waiting does not help', async () => {
  await using database = await openTestDatabase({ migrated: false });
  await database.sql`do $$ begin create role visitor login password 'p'; exception when duplicate_object then end $$`;
  const url = new URL(database.settings.url);
  url.username = 'visitor';
  url.password = 'p';
  const settings = { ...database.settings, url: url.href };
  await assert.rejects(migrate(optionsFor({ ...database, settings })), {
    name: 'SchemaRefused',
    message: /may not do it: permission denied for database/,
  });
});

test('releases are ordered by their numbers; a pre-release counts as its release', () => {
  assert.ok(compareReleases('0.10.0', '0.9.9') > 0);
  assert.ok(compareReleases('1.0.0', '0.99.99') > 0);
  assert.equal(compareReleases('0.2.0-rc.1', '0.2.0'), 0);
});

test('files out of form, and two of one number, are mistakes of the programmer', () => {
  assert.throws(() => readMigration('1_x.sql', '-- oldest release: 0.1.0\n'), TypeError);
  assert.throws(() => readMigration('0001_x.sql', 'select 1'), TypeError);
  assert.throws(
    () =>
      pendingMigrations(
        [],
        [{ ...foundation, release: '9.0.0', oldestRelease: '9.0.0', appliedAt: new Date(0) }],
        '0.1.0',
      ),
    SchemaRefused,
  );
});
