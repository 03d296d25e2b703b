// Revocations with PostgreSQL behind them: nothing acknowledged is lost, whatever breaks or is killed in between.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { Agent, request } from 'undici';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';
import { scratchFolder, start } from '../cli/processes.ts';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, postgresConfig, type TestDatabase } from '../support/postgres-server.ts';
import { type RecordingUpstream, recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startRelay } from '../support/relay.ts';
import { configFor, startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';

/** A parsed answer, for tests to look into. */
type Loose = ReturnType<typeof JSON.parse>;

const ISSUER = 'https://id.test/';
const SOON = 10_000;

function config(database: TestDatabase, redisUrl?: string): Record<string, unknown> {
  const redis = redisUrl === undefined ? {} : { redis: { url: { value: redisUrl }, timeout: '500ms' } };
  return { ...postgresConfig(database), ...redis };
}

async function world() {
  const opened = new AsyncDisposableStack();
  const database = opened.use(await openTestDatabase());
  const upstream: RecordingUpstream = opened.use(await recordingUpstream());
  // It keeps what it has when it is stopped, as a real one does; `redis` also reads it beside us.
  const server = opened.use(await startRedis('--appendonly', 'yes'));
  return {
    database,
    server,
    sidecar: (redisUrl: string | undefined = server.url) => startSidecar(upstream.url, config(database, redisUrl)),
    inMemory: () => startSidecar(upstream.url, config(database)),
    upstream,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** Over the socket: only the first replica's own token gets into the table of operators that all share. */
async function call(sidecar: TestSidecar, method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) {
  const agent = new Agent({ connect: { socketPath: sidecar.socketPath } });
  const json =
    body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await request(`http://localhost${path}`, { method, dispatcher: agent, ...json });
  const text = await answer.body.text();
  await agent.close();
  return { status: answer.statusCode, json: (text === '' ? {} : JSON.parse(text)) as Loose };
}

const revoke = (sidecar: TestSidecar, id: string, reason = 'leaked') =>
  call(sidecar, 'POST', '/v1/revocations', { kind: 'subject', issuer: ISSUER, id, until: 'forever', reason });
const listed = async (sidecar: TestSidecar) =>
  (await call(sidecar, 'GET', '/v1/revocations')).json.items
    .map((item: { revoked_id: string }) => item.revoked_id)
    .sort();
/** What the log says of revocations. */
const about = (sidecar: TestSidecar) =>
  sidecar.logged().filter(({ event }) => String(event).startsWith('revocations_'));
const asks = async (sidecar: TestSidecar, subject: string) =>
  (await fetch(`${sidecar.proxyUrl}/x`, { headers: { authorization: `Bearer ${tokenFor({ sub: subject })}` } })).status;

test('L6: revoked durably and on every replica at once; the row says when, why and what', async () => {
  await using all = await world();
  await using a = await all.sidecar();
  await using b = await all.sidecar();
  assert.equal(await asks(b, 'alice'), 200);
  const answer = await revoke(a, 'alice');
  assert.deepEqual([answer.status, answer.json.applied], [201, 'all']);
  assert.equal(await asks(b, 'alice'), 401);
  await eventually(async () => {
    const rows = await all.database
      .sql`select revoked_id, reason, unsent, revoked_at is not null as at from revocation`;
    return (
      JSON.stringify(rows) === JSON.stringify([{ revoked_id: 'alice', reason: 'leaked', unsent: false, at: true }])
    );
  }, SOON);
});

test('two replicas revoke one subject, and the earlier call reaches the log last: the later one stays in force', async () => {
  await using all = await world();
  await using relay = await startRelay({ port: all.server.port, host: '127.0.0.1' });
  await using a = await all.sidecar(`redis://127.0.0.1:${relay.port}`);
  await using b = await all.sidecar();
  const reason = async () => (await all.database.sql`select reason from revocation`)[0]?.reason;
  relay.stall('up');
  const [untilMs, why] = [new Date(Date.now() + 3_600_000).toISOString(), 'for an hour'];
  const earlier = call(a, 'POST', '/v1/revocations', {
    ...{ kind: 'subject', issuer: ISSUER, id: 'alice', until: untilMs, reason: why },
  });
  await eventually(async () => (await reason()) === why, SOON);
  assert.equal((await revoke(b, 'alice', 'for ever')).json.applied, 'all');
  relay.heal();
  assert.equal((await earlier).status, 201);
  // Whatever the first replica still had to say.
  await eventually(async () => (await all.database.sql`select 1 from revocation where unsent`).length === 0, SOON);
  const waiting = async () => {
    const { components } = (await (await fetch(`${a.observeUrl}/readyz`)).json()) as Loose;
    return components.revocations.detail.pending;
  };
  await eventually(async () => (await waiting()) === 0, SOON);
  for (const replica of [a, b]) {
    const { items } = (await call(replica, 'GET', '/v1/revocations')).json;
    assert.deepEqual(
      items.map((item: Loose) => [item.until, item.reason]),
      [['forever', 'for ever']],
    );
  }
  assert.equal(await reason(), 'for ever');
});

test('an undo that waits for Redis takes back nothing that was revoked after it', async () => {
  await using all = await world();
  await using relay = await startRelay({ port: all.server.port, host: '127.0.0.1' });
  await using a = await all.sidecar(`redis://127.0.0.1:${relay.port}`);
  await using b = await all.sidecar();
  const { id } = (await revoke(b, 'alice', 'first')).json;
  const rows = () => all.database.sql`select reason, unsent, undone_at from revocation`;
  await eventually(async () => (await rows())[0]?.unsent === false, SOON);
  await eventually(async () => (await asks(a, 'alice')) === 401, SOON);
  relay.stall('up');
  const undo = call(a, 'DELETE', `/v1/revocations/${id}`);
  await eventually(async () => (await rows())[0]?.undone_at !== null, SOON);
  assert.equal((await revoke(b, 'alice', 'again')).json.applied, 'all');
  relay.heal();
  assert.equal((await undo).status, 204);
  await eventually(async () => (await rows())[0]?.unsent === false, SOON);
  await eventually(async () => (await asks(a, 'alice')) === 401, SOON);
  assert.equal(await asks(b, 'alice'), 401);
  for (const replica of [a, b]) assert.deepEqual(await listed(replica), ['alice']);
  assert.partialDeepStrictEqual(await rows(), [{ reason: 'again', undone_at: null }]);
});

test('L7: a second revocation replaces the reason, in the list and in PostgreSQL', async () => {
  await using all = await world();
  await using sidecar = await all.sidecar();
  await revoke(sidecar, 'alice');
  await revoke(sidecar, 'alice', 'again');
  const { items } = (await call(sidecar, 'GET', '/v1/revocations')).json;
  assert.deepEqual(
    items.map((item: Record<string, unknown>) => [item.revoked_id, item.reason]),
    [['alice', 'again']],
  );
  assert.equal(typeof items[0].revoked_at, 'string');
  const rows = await all.database.sql`select reason from revocation`;
  assert.deepEqual(
    rows.map(({ reason }) => reason),
    ['again'],
  );
});

test('with PostgreSQL away revoking is 503, and nothing has happened', async () => {
  await using all = await world();
  await using sidecar = await all.sidecar();
  await all.database.cut();
  assert.equal((await revoke(sidecar, 'alice')).status, 503);
  assert.equal(await asks(sidecar, 'alice'), 200);
  assert.deepEqual(await listed(sidecar), []);
  await all.database.mend();
  await eventually(async () => (await revoke(sidecar, 'alice')).status === 201, SOON);
  assert.equal(await asks(sidecar, 'alice'), 401);
});

test('with Redis away a revocation is pending and in force; kill -9, and another process sends it', async () => {
  await using all = await world();
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  writeFileSync(
    file,
    JSON.stringify(configFor(all.upstream.url, { ...config(all.database, all.server.url), log: { level: 'info' } })),
  );
  {
    await using doomed = start(['run', '--config', file], { cwd: folder.path });
    await doomed.until(/"listening"/);
    const like = { socketPath: join(folder.path, '.doorward', 'admin.sock') } as TestSidecar;
    await all.server.stop('SIGTERM');
    await eventually(async () => (await revoke(like, 'alice')).json.applied === 'pending', SOON);
    doomed.signal('SIGKILL');
    await doomed.ended;
  }
  await all.server.start();
  await using other = await all.sidecar();
  await eventually(async () => (await asks(other, 'alice')) === 401, SOON);
  assert.deepEqual(await listed(other), ['alice']);
  using redis = Object.assign(new Redis(all.server.url), { [Symbol.dispose]: () => redis.disconnect() });
  await eventually(
    async () => (await redis.hexists('doorward:v1:{rev}:entries', revocationEntryId('subject', ISSUER, 'alice'))) === 1,
    SOON,
  );
  await eventually(async () => (await all.database.sql`select 1 from revocation where unsent`).length === 0, SOON);
});

test('a replica that lives sends what a killed one left, without anything else happening', async () => {
  await using all = await world();
  await using sidecar = await all.sidecar();
  // What a replica leaves that is killed between the two stores.
  await all.database.sql`insert into revocation (entry_id, kind, issuer, revoked_id, reason, revoked_at)
    values ('x', 'subject', ${ISSUER}, 'mallory', 'left', '2020-01-01')`;
  await eventually(async () => (await asks(sidecar, 'mallory')) === 401, SOON);
});

test('a Redis that was flushed while nobody ran gets everything back from PostgreSQL', async () => {
  await using all = await world();
  {
    await using sidecar = await all.sidecar();
    for (const subject of ['alice', 'bob']) assert.equal((await revoke(sidecar, subject)).status, 201);
    const undone = await revoke(sidecar, 'carol');
    assert.equal((await call(sidecar, 'DELETE', `/v1/revocations/${undone.json.id}`)).status, 204);
  }
  using redis = Object.assign(new Redis(all.server.url), { [Symbol.dispose]: () => redis.disconnect() });
  await redis.flushall();
  await using sidecar = await all.sidecar();
  assert.deepEqual(await listed(sidecar), ['alice', 'bob']);
  const fields = ['alice', 'bob'].map((id) => revocationEntryId('subject', ISSUER, id));
  assert.deepEqual((await redis.hkeys('doorward:v1:{rev}:entries')).sort(), [...fields, 'whole'].sort());
  assert.deepEqual([await asks(sidecar, 'alice'), await asks(sidecar, 'carol')], [401, 200]);
  assert.partialDeepStrictEqual(about(sidecar), [
    { event: 'revocations_rebuilt', level: 'info', entries: 2, added: 2 },
  ]);
});

test('what a replica without PostgreSQL revoked survives the loss of Redis too, and what it took back stays back', async () => {
  await using at = await world();
  {
    await using controlPlane = await at.sidecar();
    await using application = await startSidecar(at.upstream.url, { redis: { url: { value: at.server.url } } });
    await revoke(application, 'eve');
    const undone = (await revoke(application, 'adam')).json.id;
    await call(application, 'DELETE', `/v1/revocations/${undone}`);
    assert.equal(await asks(controlPlane, 'eve'), 401);
    const remembered = () => at.database.sql`select revoked_id from doorward.revocation where undone_at is null`;
    await eventually(async () => (await remembered()).map((row) => row.revoked_id).join() === 'eve', SOON);
  }
  const redis = new Redis(at.server.url);
  await redis.flushall();
  redis.disconnect();
  await using next = await at.sidecar();
  assert.deepEqual(await listed(next), ['eve']);
});

test('undone while Redis is away: over here at once, and everywhere once Redis is back with the old entry', async () => {
  await using all = await world();
  await using a = await all.sidecar();
  await using b = await all.sidecar();
  const { id } = (await revoke(a, 'alice')).json;
  await eventually(async () => (await all.database.sql`select 1 from revocation where not unsent`).length === 1, SOON);
  await all.server.stop('SIGTERM');
  await eventually(async () => (await call(a, 'DELETE', `/v1/revocations/${id}`)).status === 204, SOON);
  assert.equal(await asks(a, 'alice'), 200);
  assert.equal(await asks(b, 'alice'), 401, 'has not heard of it');
  await all.server.start();
  await eventually(async () => (await asks(b, 'alice')) === 200, SOON);
  await eventually(async () => (await all.database.sql`select 1 from revocation where unsent`).length === 0, SOON);
  assert.equal(await asks(a, 'alice'), 200);
  assert.deepEqual([await listed(a), await listed(b)], [[], []]);
});

test('memory and PostgreSQL: a restart keeps every revocation', async () => {
  await using all = await world();
  {
    await using sidecar = await all.inMemory();
    assert.equal((await revoke(sidecar, 'alice')).json.applied, 'all');
  }
  await using sidecar = await all.inMemory();
  assert.equal(await asks(sidecar, 'alice'), 401);
  assert.deepEqual(await listed(sidecar), ['alice']);
});

test('started with Redis away, PostgreSQL fills the index: the replica is ready, and known revocations refuse', async () => {
  await using all = await world();
  {
    await using sidecar = await all.sidecar();
    await revoke(sidecar, 'alice');
  }
  await all.server.stop('SIGTERM');
  await using sidecar = await all.sidecar();
  await eventually(async () => (await fetch(`${sidecar.observeUrl}/readyz`)).status === 200, SOON);
  assert.deepEqual([await asks(sidecar, 'alice'), await asks(sidecar, 'bob')], [401, 200]);
  assert.partialDeepStrictEqual(about(sidecar), [{ event: 'revocations_from_postgres', level: 'warn', entries: 1 }]);
});

test('PostgreSQL that comes after the start brings what it remembers', async () => {
  await using all = await world();
  {
    await using sidecar = await all.inMemory();
    await revoke(sidecar, 'alice');
  }
  await all.database.cut();
  await using sidecar = await all.inMemory();
  assert.equal(await asks(sidecar, 'alice'), 200, 'nobody here can know');
  await all.database.mend();
  await eventually(async () => (await asks(sidecar, 'alice')) === 401, SOON);
});
