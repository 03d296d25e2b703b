// `doorward migrate` as a user runs it.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { exitCodes } from '../../src/cli/exit-codes.ts';
import { openTestDatabase, postgresConfig, type TestDatabase } from '../support/postgres-server.ts';
import { configFor } from '../support/sidecar.ts';
import { runHere, scratchFolder } from './processes.ts';

function configured(folder: ReturnType<typeof scratchFolder>, database: TestDatabase, more: object = {}): string {
  const file = folder.file('sidecar.yaml');
  writeFileSync(file, JSON.stringify(configFor('http://127.0.0.1:9', { ...postgresConfig(database, more) })));
  return file;
}

test('--dry-run says what would happen and changes nothing; migrate does it; --status tells when and by whom', async () => {
  await using database = await openTestDatabase({ migrated: false });
  using folder = scratchFolder();
  const config = configured(folder, database);
  const dry = await runHere(['migrate', '--dry-run', '-c', config]);
  assert.equal(dry.code, 0, dry.err);
  assert.match(dry.out, /^pending 1 foundation\npending 2 revocations/);
  const again = await runHere(['migrate', '--dry-run', '-c', config]);
  assert.equal(again.out, dry.out);
  const done = await runHere(['migrate', '-c', config]);
  assert.match(done.out, /^applied 1 foundation\n[\s\S]*\nthe schema is up to date$/);
  assert.equal((await runHere(['migrate', '-c', config])).out, 'nothing to do, the schema is up to date');
  const status = JSON.parse((await runHere(['migrate', '--status', '--json', '-c', config])).out);
  assert.deepEqual(status.pending, []);
  assert.deepEqual(Object.keys(status.applied[0]), ['number', 'name', 'release', 'applied_at']);
  assert.match(
    (await runHere(['migrate', '--status', '-c', config])).out,
    /^PostgreSQL 1\d\.[\s\S]*NUMBER[\s\S]*1 +foundation/,
  );
});

test('a schema that this release may not use has an exit code of its own', async () => {
  await using database = await openTestDatabase();
  await database.sql`update migration set oldest_release = '9.0.0' where number = 1`;
  using folder = scratchFolder();
  const ended = await runHere(['migrate', '-c', configured(folder, database)]);
  assert.equal(ended.code, exitCodes.schema_refused);
  assert.match(ended.err, /needs release 9\.0\.0 or later/);
});

test('without a server it fails with a reason, and never shows the password of the URL', async () => {
  await using database = await openTestDatabase();
  using folder = scratchFolder();
  await database.cut();
  const ended = await runHere(['migrate', '-c', configured(folder, database)]);
  assert.equal(ended.code, exitCodes.failure);
  assert.match(ended.err, /PostgreSQL/);
  assert.ok(!ended.err.includes(new URL(database.settings.url).password));
});

test('check --online names the server and what is pending; with migrate: never that is a failure', async () => {
  await using database = await openTestDatabase({ migrated: false });
  using folder = scratchFolder();
  const online = async (more: object) => {
    const ended = await runHere(['check', '--online', '--json', '-c', configured(folder, database, more)]);
    return JSON.parse(ended.out).online.find(({ what }: { what: string }) => what === 'postgres');
  };
  const start = await online({});
  assert.equal(start.ok, true);
  assert.match(start.detail, /^1\d\.\d+, migrations pending: 1, 2/);
  assert.equal((await online({ migrate: 'never' })).ok, false);
});

test('check --production refuses the embedded server', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  writeFileSync(file, JSON.stringify(configFor('http://127.0.0.1:9', { postgres: { embedded: true } })));
  const ended = await runHere(['check', '--production', '-c', file]);
  assert.equal(ended.code, exitCodes.configuration_refused);
  assert.match(ended.err, /postgres\.embedded: is for trying out/);
});
