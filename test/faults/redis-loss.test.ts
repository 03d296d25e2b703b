// Redis loses what it has, in every way in which it can, under two real replicas and a steady stream of requests: no revoked
// token passes, nothing is answered with an error, and everything is as before without a restart.
import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { draft } from '../conformance/revocations.ts';
import { eventually } from '../rows/eventually.ts';
import { startRedis } from '../support/redis-server.ts';
import { startRelay } from '../support/relay.ts';
import { KEYS, openWorld, RECOVERS_MS, type World } from './steady-revocations.ts';

const dumpOf = async (redis: Redis) => `${((await redis.config('GET', 'dir')) as string[])[1]}/dump.rdb`;

/** Revokes through both, until both are told that all have it. */
async function revokeOn(world: World): Promise<void> {
  for (const replica of [world.a, world.b]) {
    await eventually(async () => (await world.revoke(replica)) === 'all', RECOVERS_MS);
  }
}

test('attack 90: Redis is flushed; the replicas put back together what they know', async () => {
  await using world = await openWorld();
  for (let n = 0; n < 3; n += 1) {
    await world.settle();
    await world.admin.flushall();
    await revokeOn(world);
  }
  await world.recovered();
});

test('attack 90: Redis is flushed right after an answer `all`; what PostgreSQL remembers is never let through', async () => {
  await using world = await openWorld({ postgres: true });
  for (let n = 0; n < 6; n += 1) {
    await world.revoke(n % 2 === 0 ? world.a : world.b);
    await world.admin.flushall();
  }
  await revokeOn(world);
  await world.recovered();
});

test('attack 90: Redis is killed and restarts empty, twice, with revocations pending in between', async () => {
  await using world = await openWorld();
  for (const replica of [world.a, world.b]) {
    await world.settle();
    await world.server.stop('SIGKILL');
    await eventually(async () => (await world.revoke(replica)) === 'pending', RECOVERS_MS);
    await world.restarted();
    await revokeOn(world);
  }
  await world.recovered();
});

test('attack 90: Redis restarts from an older dump', async () => {
  await using world = await openWorld();
  await world.admin.save();
  const dump = await dumpOf(world.admin);
  copyFileSync(dump, `${dump}.old`);
  await revokeOn(world);
  await world.settle();
  await world.server.stop('SIGKILL');
  copyFileSync(`${dump}.old`, dump);
  await world.restarted();
  await revokeOn(world);
  await world.recovered();
});

test('attack 90: a failover to a replica that lacks the end, and has other entries under the same numbers', async () => {
  await using master = await startRedis('--repl-diskless-sync-delay', '0');
  await using standby = await startRedis();
  const target = { host: '127.0.0.1', port: master.port };
  await using relay = await startRelay(target);
  await using world = await openWorld({ redisUrl: `redis://127.0.0.1:${relay.port}/0` });
  const there = new Redis(standby.url);
  await there.replicaof('127.0.0.1', master.port);
  const mastered = new Redis(master.url);
  await eventually(async () => (await there.get(KEYS.head)) === (await mastered.get(KEYS.head)), RECOVERS_MS);
  // The link breaks; the master goes on alone.
  await there.replicaof('127.0.0.1', 1);
  await revokeOn(world);
  await world.settle();
  const lost = await mastered.get(KEYS.head);
  await there.replicaof('NO', 'ONE');
  await using other = openRedis({ url: standby.url, prefix: 'doorward', timeoutMs: 2000 });
  assert.equal(await other.ready(5000), true);
  while ((await there.get(KEYS.head)) !== lost) {
    const made = await other.revocations.append({ ...draft('elsewhere'), issuer: 'https://id.test/', untilMs: 4e12 });
    if (made.seq > 100) throw new Error('the numbers never met');
  }
  target.port = standby.port;
  await master.stop('SIGKILL');
  const others = async (replica: World['a']) => (await replica.listed()).ids.length;
  await eventually(
    async () => (await others(world.a)) === (await others(world.b)) && (await others(world.a)) > 8,
    RECOVERS_MS,
  );
  await revokeOn(world);
  const all = world.a.refused.size;
  for (const replica of [world.a, world.b]) {
    await eventually(async () => (await others(replica)) === all + 1, RECOVERS_MS);
  }
  assert.equal(await there.hlen(KEYS.entries), all + 2, 'what was lost, what came instead, and the mark');
  await world.stop();
  there.disconnect();
  mastered.disconnect();
});

test('attack 90: Redis evicts the whole log under memory pressure', async () => {
  await using world = await openWorld();
  await world.settle();
  await world.admin.config('SET', 'maxmemory-policy', 'allkeys-random');
  const [, used] = /used_memory:(\d+)/.exec(await world.admin.info('memory')) ?? [];
  await world.admin.config('SET', 'maxmemory', String(Number(used) + 2_000_000));
  for (let n = 0; (await world.admin.exists(KEYS.entries)) === 1 || n < 20; n += 1) {
    await world.admin.set(`junk${n}`, 'x'.repeat(200_000));
  }
  await world.admin.config('SET', 'maxmemory-policy', 'noeviction');
  await world.admin.config('SET', 'maxmemory', '0');
  await revokeOn(world);
  await world.recovered();
});

test('attack 90: a replica that starts while Redis has lost the log accepts nothing before the others have put it back', async () => {
  await using world = await openWorld();
  await world.settle();
  await world.admin.del(KEYS.entries, KEYS.expiry);
  await using third = await world.another();
  for (const [id, token] of world.a.refused) assert.equal(await third.ask(token, '/revoked'), 401, id);
  await revokeOn(world);
  await world.recovered();
});

test('Redis is full: known revocations refuse, new ones are pending, listed, and sent when there is room', async () => {
  await using world = await openWorld();
  await world.admin.config('SET', 'maxmemory', '1');
  assert.deepEqual([await world.revoke(world.a), await world.revoke(world.b)], ['pending', 'pending']);
  for (const replica of [world.a, world.b]) assert.equal((await replica.listed()).pending, 1);
  const { asked } = world;
  const before = asked.good;
  await eventually(() => asked.good > before + 20, RECOVERS_MS);
  await world.admin.config('SET', 'maxmemory', '0');
  await world.recovered();
});

test('Redis turns read-only under us, and back', async () => {
  await using world = await openWorld();
  await world.admin.replicaof('127.0.0.1', 1);
  await eventually(async () => (await world.revoke(world.a)) === 'pending', RECOVERS_MS);
  assert.equal(await world.revoke(world.b), 'pending');
  await world.admin.replicaof('NO', 'ONE');
  await world.recovered();
});

test('Redis lacks replicas (min-replicas-to-write): revoking is pending until it has them', async () => {
  await using world = await openWorld({ redisArgs: ['--repl-diskless-sync-delay', '0'] });
  await world.admin.config('SET', 'min-replicas-to-write', '1');
  assert.equal(await world.revoke(world.a), 'pending');
  await using standby = await startRedis('--replicaof', `127.0.0.1 ${world.server.port}`);
  assert.ok(standby.port);
  await world.recovered();
});

test('attack 90: one key of the log is deleted: head, entries, expiry, stream, and all pairs of them', async () => {
  await using world = await openWorld();
  const keys = Object.values(KEYS);
  for (const gone of [...keys.map((key) => [key]), [KEYS.entries, KEYS.expiry], [KEYS.head, KEYS.log]]) {
    await world.admin.del(...gone);
    await revokeOn(world);
    await world.settle();
  }
  await world.recovered();
});

test('attack 90: the head is overwritten: lower, higher, of another epoch, garbage, of another type, beyond all counting', async () => {
  await using world = await openWorld();
  const head = async () => (await world.admin.get(KEYS.head)) ?? '';
  const epoch = async () => (await head()).split(':')[0];
  const overwritten = [
    async () => world.admin.set(KEYS.head, `${await epoch()}:1`),
    async () => world.admin.set(KEYS.head, `${await epoch()}:5000`),
    async () => world.admin.set(KEYS.head, `somebody:${(await head()).split(':')[1]}`),
    async () => world.admin.set(KEYS.head, 'garbage'),
    async () => world.admin.multi().del(KEYS.head).lpush(KEYS.head, 'x').exec(),
    async () => world.admin.set(KEYS.head, `${await epoch()}:99999999999999`),
    async () => world.admin.set(KEYS.head, `${await epoch()}:999999999999999`),
    async () => world.admin.set(KEYS.head, `${await epoch()}:9007199254740993`),
    async () => world.admin.set(KEYS.head, `!someone:1:${await epoch()}:7`),
  ];
  for (const overwrite of overwritten) {
    await overwrite();
    await revokeOn(world);
    await world.settle();
  }
  const [, seq] = (await head()).split(':');
  assert.ok(Number(seq) < 1e6, `the numbers are ordinary again: ${seq}`);
  await world.recovered();
});

test('attack 91: with the notices cut a revocation holds on the other replica from its next request on', async () => {
  await using world = await openWorld();
  for (let n = 0; n < 5; n += 1) {
    await world.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    assert.equal(await world.revoke(n % 2 === 0 ? world.a : world.b), 'all');
  }
  await world.recovered();
});

test('attack 92: a revocation far beyond 2038 survives the loss of Redis to the millisecond', async () => {
  await using world = await openWorld();
  const until = '9999-12-31T23:59:59.999Z';
  await world.revoke(world.a, until);
  await world.settle();
  await world.admin.flushall();
  await revokeOn(world);
  for (const replica of [world.a, world.b]) {
    const { items } = (await replica.call('GET', '/v1/revocations')).json;
    const shown = items.map((item: { until: string }) => item.until);
    assert.ok(shown.includes(until), `${shown}`);
  }
  assert.equal(
    await world.admin.zscore(KEYS.expiry, (await world.admin.zrange(KEYS.expiry, 0, 0))[0] as string),
    '253402300799999',
  );
  await world.recovered();
});

test('on_store_down: deny answers 503 while Redis is away, and nothing else', async () => {
  await using world = await openWorld({ onStoreDown: 'deny' });
  world.goodStatuses = [200, 503];
  await world.server.stop('SIGKILL');
  await eventually(() => world.asked.unavailable > 3, RECOVERS_MS);
  await world.restarted();
  await revokeOn(world);
  // Until it has read everything anew, a replica that denies goes on to deny.
  await world.ready();
  world.goodStatuses = [200];
  await world.recovered();
});
