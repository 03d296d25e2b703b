// Real Sentinels, real failovers, two real sidecars under traffic.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { systemClock } from '../../src/core/clock.ts';
import { RevocationFollower } from '../../src/revocation/follower.ts';
import { RevocationIndex } from '../../src/revocation/index.ts';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { charge } from '../conformance/checks.ts';
import { draft } from '../conformance/revocations.ts';
import { until } from '../revocation/until.ts';
import { ask, masterName, startSentinels } from '../support/redis-sentinel.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { startRelay } from '../support/relay.ts';
import { startFleets } from './fleet.ts';

const deployment = await startSentinels();
after(() => deployment[Symbol.asyncDispose]());

const nodes = deployment.nodes.map(({ host, port }) => `${host}:${port}`);
const redis = { sentinel: { name: masterName, nodes }, timeout: '250ms' };
const open = (timeoutMs = 1000) =>
  openRedis({ sentinel: { name: masterName, nodes: deployment.nodes }, prefix: `t.${Math.random()}`, timeoutMs });

/** Makes the deployment whole for the next test; the Sentinels would do the same after some eight seconds. */
async function followers(): Promise<void> {
  // Sentinels that have just changed a server's role end its connections, the one of this question among them.
  const isWhole = async () => {
    const master = await deployment.master();
    for (const server of deployment.servers.filter((one) => one !== master))
      await ask(server, (redis) => redis.call('REPLICAOF', '127.0.0.1', String(master.port)));
    const info = await ask(master, (redis) => redis.info('replication'));
    return info.includes('min_slaves_good_slaves:2');
  };
  await until(() => isWhole().catch(() => false), 20_000);
}

for (const [how, fail] of [
  ['kill -9 of the master', async (master: RedisServer) => void (await master.stop('SIGKILL'))],
  ['SENTINEL FAILOVER', () => deployment.failover()],
  ['a master that stalls (SIGSTOP)', async (master: RedisServer) => master.signal('SIGSTOP')],
] as const) {
  test(`K13: ${how} under load: no revoked token passes, no 500, and revoking counts everywhere again`, async () => {
    await using fleets = await startFleets(redis);
    const old = await deployment.master();
    await fleets.endure(async () => {
      await fail(old);
      await deployment.replaced(old);
    });
    old.signal('SIGCONT');
    await old.start();
    await fleets.judge();
    await followers();
  });
}

test('all three Sentinels killed under load: everything goes on and is served, and a failover after their restart works', async (t) => {
  // ioredis printed a stack for each try to reach a Sentinel that is away, between the lines of the log.
  const printed = t.mock.method(console, 'error', () => undefined).mock;
  // Nobody may be refused here, by a busy machine neither.
  await using fleets = await startFleets({ ...redis, timeout: '3s' });
  const { master, sentinels } = deployment;
  const old = await master();
  await fleets.serve(async () => {
    for (const sentinel of sentinels) await sentinel.stop('SIGKILL');
  });
  assert.equal(printed.callCount(), 0, String(printed.calls[0]?.arguments[1]));
  for (const sentinel of sentinels) await sentinel.start();
  await deployment.ready();
  assert.equal(await master(), old, 'nobody was replaced meanwhile');
  await fleets.endure(() => deployment.failover());
  assert.notEqual(await master(), old);
  await fleets.judge();
  await followers();
});

test('Sentinels that stall while their connections are made anew leave no error that nobody hears', async () => {
  await using ending = new AsyncDisposableStack();
  const relays = await Promise.all(deployment.nodes.map(async (node) => ending.use(await startRelay(node))));
  const through = relays.map(({ port }) => ({ host: '127.0.0.1', port }));
  await using backend = openRedis({ sentinel: { name: masterName, nodes: through }, prefix: 't', timeoutMs: 1000 });
  assert.equal(await backend.ready(10_000), true);
  const subscribers = (redis: Redis) => redis.call('CLIENT', 'LIST', 'TYPE', 'pubsub');
  for (const sentinel of deployment.sentinels)
    await until(async () => String(await ask(sentinel, subscribers)).includes('cmd=subscribe'));
  for (const relay of relays) {
    relay.stall();
    relay.reset();
  }
  // Longer than a Sentinel has for its answer. Whatever nobody hears is an uncaught exception, and fails the test.
  await sleep(3000);
});

test('attack 110: a limit keeps its count over a failover and a master without its script: no false deny, nothing charged twice', async () => {
  await using backend = open();
  assert.equal(await backend.ready(10_000), true);
  const LIMIT = 40;
  const limit = charge(LIMIT, 600_000);
  let [passed, lost] = [0, 0];
  /** One charge, asked for until it is answered; each try that was not may have charged once, on either master. */
  const hit = async () => {
    for (;;) {
      const { results } = await Promise.resolve(backend.checks.check([[limit]])).catch(() => ({ results: [] }));
      const [states] = results;
      if (states !== undefined && !(states instanceof Error)) return states[0] as number;
      lost += 1;
      await sleep(20);
    }
  };
  const pass = async () => {
    const left = await hit();
    passed += 1;
    assert.ok(left >= LIMIT - passed - lost && left <= LIMIT - passed, `${left} left after ${passed}, ${lost} lost`);
  };
  for (let n = 0; n < 10; n += 1) await pass();
  const old = await deployment.master();
  // Replication is asynchronous: what it has not brought over would be lost, and explained.
  assert.equal(await ask(old, (redis) => redis.wait(2, 10_000)), 2);
  await deployment.failover();
  for (let n = 0; n < 10; n += 1) await pass();
  const now = await deployment.master();
  assert.notEqual(now, old);
  const beforeFlush = lost;
  await until(async () => backend.health().up, 20_000);
  for (let n = 0; n < 5; n += 1) {
    await ask(now, (redis) => redis.script('FLUSH'));
    await pass();
  }
  assert.equal(lost, beforeFlush, 'NOSCRIPT is nothing that anybody sees');
  let left = 0;
  while (passed < LIMIT) {
    left = await hit();
    if (left === -1) break;
    passed += 1;
  }
  assert.ok(passed + lost >= LIMIT, `refused after ${passed}, and ${lost} lost`);
  assert.equal(await hit(), -1, 'and the limit holds');
  await followers();
});

for (const [which, count] of [
  ['no replica has', 2],
  ['one of two replicas has not', 1],
] as const) {
  test(`a revocation that ${which} confirmed is pending, and sent when they are back`, async () => {
    await using backend = open();
    assert.equal(await backend.ready(10_000), true);
    const index = new RevocationIndex();
    const settings = { onStoreDown: 'known', knownForMs: 60_000, waitMs: 5000, clock: systemClock } as const;
    await using follower = new RevocationFollower({ log: backend.revocations, index, ...settings });
    await follower.start();
    await until(async () => (await follower.revoke(draft('first'))).applied === 'all');
    const master = await deployment.master();
    const replicas = deployment.servers.filter((server) => server !== master).slice(0, count);
    for (const replica of replicas) replica.signal('SIGSTOP');
    try {
      assert.equal((await follower.revoke(draft('second'))).applied, 'pending');
    } finally {
      for (const replica of replicas) replica.signal('SIGCONT');
    }
    await until(async () => follower.pending().length === 0, 30_000);
    await followers();
  });
}

test('a master whose replicas left a moment ago is not believed by the very next batch, without any limit in it', async () => {
  await using backend = open();
  assert.equal(await backend.ready(10_000), true);
  await backend.revocations.rebuild([], undefined);
  assert.notEqual((await backend.checks.check([[]])).head, undefined);
  const master = await deployment.master();
  const replicas = deployment.servers.filter((server) => server !== master);
  for (const replica of replicas) await ask(replica, (redis) => redis.call('REPLICAOF', 'NO', 'ONE'));
  await until(async () => (await ask(master, (redis) => redis.info('replication'))).includes('connected_slaves:0'));
  await assert.rejects(async () => backend.checks.check([[]]), { kind: 'store_unavailable' });
  for (const replica of replicas)
    await ask(replica, (redis) => redis.call('REPLICAOF', '127.0.0.1', String(master.port)));
  await until(async () => backend.health().up, 20_000);
  await followers();
});

test('a master that has lost its replicas is left: it may have been replaced, and must not answer for the log', async () => {
  await using backend = open();
  assert.equal(await backend.ready(10_000), true);
  await backend.revocations.rebuild([], undefined);
  const master = await deployment.master();
  const others = [...deployment.servers.filter((server) => server !== master), ...deployment.sentinels];
  for (const other of others) if (!deployment.sentinels.includes(other)) other.signal('SIGSTOP');
  try {
    await until(async () => !backend.health().up, 20_000);
    await assert.rejects(async () => backend.checks.check([[charge(5, 60_000)]]), { kind: 'store_unavailable' });
    await assert.rejects(backend.revocations.head(), { kind: 'store_unavailable' });
  } finally {
    for (const other of others) other.signal('SIGCONT');
  }
  await until(async () => backend.health().up, 20_000);
  assert.notEqual(await backend.revocations.head(), undefined);
});

test('a server that needs no replicas to write is a warning where Sentinels are', async () => {
  await using backend = open();
  assert.equal(await backend.ready(10_000), true);
  await backend.refresh();
  assert.deepEqual(backend.health().warnings, []);
  const master = await deployment.master();
  await ask(master, (redis) => redis.config('SET', 'min-replicas-to-write', '0'));
  await backend.refresh();
  assert.deepEqual(backend.health().warnings, ['redis_min_replicas']);
  await ask(master, (redis) => redis.config('SET', 'min-replicas-to-write', '1'));
});

test('L12: the documented ACL at the Sentinels is enough to find the master and to hear of another', async () => {
  const docs = readFileSync(new URL('../../docs/redis.md', import.meta.url), 'utf8');
  const [, words = ''] = /At the Sentinels: `([^`]+)`/.exec(docs) ?? [];
  const rules = ['reset', 'on', '>s3cret', '-@all', ...words.split(' ')];
  for (const sentinel of deployment.sentinels)
    await ask(sentinel, (redis) => redis.call('ACL', 'SETUSER', 'doorward', ...rules));
  const login = { name: masterName, nodes: deployment.nodes, user: 'doorward', password: 's3cret' };
  await using backend = openRedis({ sentinel: login, prefix: 't', timeoutMs: 1000 });
  assert.equal(await backend.ready(10_000), true);
  const [, old] = await Promise.all([backend.refresh(), deployment.master()]);
  const before = backend.serverFacts()?.runId;
  await deployment.failover();
  await until(async () => {
    await backend.refresh();
    return backend.health().up && backend.serverFacts()?.runId !== before;
  }, 20_000);
  assert.notEqual(await deployment.master(), old);
  await followers();
});
