// PostgreSQL away, back, or not usable: the data plane never notices, the control plane says so and recovers by itself.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, postgresConfig, startPostgres, type TestDatabase } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, type TestSidecar } from '../support/sidecar.ts';

const open = { routes: { all: { match: { prefix: '/' }, auth: 'none' } } };
const configured = (database: TestDatabase, more: object = {}) => ({ ...open, ...postgresConfig(database, more) });

async function component(sidecar: TestSidecar): Promise<{ ready: number; status: string; state?: string }> {
  const answer = await fetch(`${sidecar.observeUrl}/readyz`);
  const body = (await answer.json()) as {
    components: Record<string, { status: string; detail: { state?: string } }>;
  };
  const { status, detail } = body.components.postgres ?? { status: 'none', detail: {} };
  return { ready: answer.status, status, ...(detail.state !== undefined && { state: detail.state }) };
}

const becomes = (sidecar: TestSidecar, status: string, withinMs = 10_000) =>
  eventually(async () => (await component(sidecar)).status === status, withinMs);

test('started with PostgreSQL away the data plane serves; when it is there the schema is made', async () => {
  await using server = await startPostgres();
  await using database = await openTestDatabase({ server, migrated: false });
  await using upstream = await recordingUpstream();
  await server.stop();
  await using sidecar = await startSidecar(upstream.url, configured(database));
  assert.equal((await fetch(`${sidecar.proxyUrl}/x`)).status, 200);
  assert.deepEqual(await component(sidecar), { ready: 200, status: 'down', state: 'away' });
  const metrics = await (await fetch(`${sidecar.observeUrl}/metrics`)).text();
  assert.match(metrics, /doorward_store_up\{store="postgres"\} 0/);
  await server.start();
  await becomes(sidecar, 'up');
  const [row] = await database.sql`select min(number) as first from migration`;
  assert.equal(row?.first, 1);
  assert.ok(sidecar.logged().some(({ event }) => event === 'schema_migrated'));
});

test('L25: pool size and store state are metrics; a server that goes away and comes back is seen without traffic', async () => {
  await using server = await startPostgres();
  await using database = await openTestDatabase({ server });
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, configured(database));
  assert.deepEqual(await component(sidecar), { ready: 200, status: 'up' });
  const metrics = await (await fetch(`${sidecar.observeUrl}/metrics`)).text();
  assert.match(metrics, /doorward_store_up\{store="postgres"\} 1/);
  assert.match(metrics, /doorward_postgres_pool_size\{state="open"\} \d/);
  await server.stop('SIGKILL');
  await becomes(sidecar, 'down');
  assert.equal((await fetch(`${sidecar.proxyUrl}/x`)).status, 200);
  await server.start();
  await becomes(sidecar, 'up');
});

test('migrate: never says what is pending, the replica is ready and degraded, and a migration by hand ends that', async () => {
  await using database = await openTestDatabase({ migrated: false });
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, configured(database, { migrate: 'never' }));
  assert.deepEqual(await component(sidecar), { ready: 200, status: 'degraded', state: 'schema' });
  const [line] = sidecar.logged().filter(({ event }) => event === 'schema_refused');
  assert.match(String(line?.problem), /migrations are pending, run `doorward migrate`: 1 \(foundation\)/);
  await database.migrate();
  await becomes(sidecar, 'up');
});

test('a schema of a newer release that refuses ours: the data plane serves, the reason is logged', async () => {
  await using database = await openTestDatabase();
  await database.sql`insert into migration (number, name, checksum, release, oldest_release, applied_at)
    values (9000, 'later', 'x', '9.1.0', '9.0.0', '2030-01-01')`;
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, configured(database));
  assert.equal((await fetch(`${sidecar.proxyUrl}/x`)).status, 200);
  assert.equal((await component(sidecar)).state, 'schema');
  const [line] = sidecar.logged().filter(({ event }) => event === 'schema_refused');
  assert.match(String(line?.problem), /^the schema needs release 9\.0\.0 or later, and this is \d/);
});
