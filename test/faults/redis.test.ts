// What the Redis stores do when Redis breaks: every fault is made with a real server.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { Redis } from 'ioredis';
import { systemClock } from '../../src/core/clock.ts';
import { randomId } from '../../src/core/ids.ts';
import { RevocationFollower } from '../../src/revocation/follower.ts';
import { RevocationIndex } from '../../src/revocation/index.ts';
import { openRedis, type RedisBackend } from '../../src/stores/redis/backend.ts';
import { keyspace } from '../../src/stores/redis/keyspace.ts';
import { charge, hit } from '../conformance/checks.ts';
import { draft, wholeLog } from '../conformance/revocations.ts';
import { until } from '../revocation/until.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar } from '../support/sidecar.ts';

const unavailable = { name: 'SidecarError', kind: 'store_unavailable' };
/** What a limit becomes when Redis refuses to write it, with the code that Redis gave. */
const uncounted = (states: unknown, code: string) =>
  assert.match((states as Error).message, new RegExp(`^a limit could not be counted: -?${code}\\b`));

async function open(url: string, timeoutMs = 1000) {
  const prefix = `t.${randomId()}`;
  const backend = openRedis({ url, prefix, timeoutMs });
  assert.equal(await backend.ready(5000), true);
  return { backend, prefix, names: keyspace(prefix), [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose]() };
}

function follow({ revocations }: RedisBackend) {
  const index = new RevocationIndex();
  const settings = { onStoreDown: 'known', knownForMs: 60_000, waitMs: 5000, clock: systemClock } as const;
  const follower = new RevocationFollower({ log: revocations, index, ...settings });
  const ids = () => [...index.entries()].map(({ id }) => id).sort();
  return { follower, ids, [Symbol.asyncDispose]: () => follower[Symbol.asyncDispose]() };
}

async function raw(url: string) {
  const redis = new Redis(url);
  return Object.assign(redis, { [Symbol.dispose]: () => redis.disconnect() });
}

test('attack 110: NOSCRIPT loads the script again, without a false deny and without charging twice', async () => {
  await using server = await startRedis();
  await using a = await open(server.url);
  using admin = await raw(server.url);
  const limit = charge(5, 60_000);
  const now = Date.UTC(2030, 0, 1);
  assert.equal((await hit(a.backend.checks, [limit], now))[0], 4);
  await admin.script('FLUSH');
  assert.equal((await hit(a.backend.checks, [limit], now))[0], 3);
});

test('a turn is one call: one read of the head, and a read and a write for each counter', async () => {
  await using server = await startRedis();
  await using a = await open(server.url);
  using admin = await raw(server.url);
  const limits = [charge(5, 60_000), charge(5, 60_000)];
  await a.backend.checks.check([limits]);
  const turn = async (requests: readonly (typeof limits)[]) => {
    await admin.config('RESETSTAT');
    await a.backend.checks.check(requests);
    const info = await admin.info('commandstats');
    const names = ['evalsha', 'get', 'setrange', 'psetex', 'time'];
    return names.map((name) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(info)?.[1] ?? 0));
  };
  assert.deepEqual(await turn([[]]), [1, 1, 0, 0, 1], 'a route without limits');
  assert.deepEqual(await turn([limits]), [1, 3, 2, 0, 1]);
  assert.deepEqual(
    await turn(Array.from({ length: 100 }, () => [charge(5, 60_000), charge(5, 60_000)])),
    [1, 201, 0, 200, 1],
  );
  assert.deepEqual(
    await turn(Array.from({ length: 3 }, () => limits)),
    [1, 3, 2, 0, 1],
    'a counter is read and written once',
  );
});

test('a wrong-typed or malformed counter spoils its own request only', async () => {
  await using server = await startRedis();
  await using a = await open(server.url);
  using admin = await raw(server.url);
  const [good, wrong, odd, log] = [
    charge(5, 60_000),
    charge(5, 60_000),
    charge(5, 60_000),
    charge(5, 60_000, { algorithm: 'log' }),
  ];
  await admin.lpush(a.names.counters(wrong)[0] as string, 'x');
  await admin.set(a.names.counters(odd)[0] as string, 'not a counter');
  await admin.set(a.names.counters(log)[0] as string, 'x');
  await a.backend.revocations.rebuild([], undefined);
  const { head, results } = await a.backend.checks.check([[good], [good, wrong], [odd], [log], [good]]);
  assert.ok(head);
  const shown = results.map((states) => (states instanceof Error ? 'error' : states[0]));
  assert.deepEqual(shown, [4, 'error', 'error', 'error', 3], 'and the spoiled request charged nothing');
});

test('attack 102: every key has an expiry of at most two windows', async () => {
  await using server = await startRedis();
  await using a = await open(server.url);
  using admin = await raw(server.url);
  const both = [charge(5, 10_000), charge(5, 10_000, { algorithm: 'log' })];
  for (let n = 0; n < 3; n += 1) await a.backend.checks.check([both, [charge(1, 5000)]]);
  const keys = await admin.keys(`${a.prefix}:*:{*`);
  assert.equal(keys.length, 5);
  for (const key of keys) {
    const ttl = await admin.pttl(key);
    assert.ok(ttl > 0 && ttl <= 20_000, `${key}: ${ttl}`);
  }
});

test('attack 104: with Redis gone every call fails within the timeout, and works again when it is back', async () => {
  await using server = await startRedis();
  await using a = await open(server.url, 200);
  const limit = charge(5, 60_000);
  await hit(a.backend.checks, [limit], Date.UTC(2030, 0, 1));
  await server.stop();
  const began = performance.now();
  await assert.rejects(async () => a.backend.checks.check([[limit]]), unavailable);
  await assert.rejects(a.backend.revocations.append(draft('x')), unavailable);
  await assert.rejects(a.backend.revocations.head(), unavailable);
  await assert.rejects(a.backend.revocations.snapshot(), unavailable);
  assert.ok(performance.now() - began < 10_000);
  assert.equal(a.backend.health().up, false);
  await server.start();
  await until(async () =>
    Promise.resolve(a.backend.checks.check([[limit]])).then(
      () => true,
      () => false,
    ),
  );
  assert.equal(a.backend.health().up, true);
});

test('attack 104: a Redis that stalls costs the timeout, never more', async () => {
  await using server = await startRedis();
  await using a = await open(server.url, 60);
  using admin = await raw(server.url);
  await a.backend.checks.check([[charge(5, 60_000)]]);
  await admin.call('CLIENT', 'PAUSE', '8000', 'ALL');
  for (let n = 0; n < 3; n += 1) {
    const began = performance.now();
    await assert.rejects(async () => a.backend.checks.check([[charge(5, 60_000)]]), unavailable);
    assert.ok(performance.now() - began < 5000);
  }
  assert.equal(a.backend.health().up, false);
  await until(async () =>
    Promise.resolve(a.backend.checks.check([[]])).then(
      () => true,
      () => false,
    ),
  );
});

test('the time by which the log forgets is that of the server', async () => {
  await using server = await startRedis();
  await using a = await open(server.url);
  assert.ok(Math.abs((await a.backend.revocations.timeMs()) - Date.now()) < 60_000);
  await server.stop();
  await assert.rejects(a.backend.revocations.timeMs(), unavailable);
});

test('a full Redis still answers the head, and limits are errors', async () => {
  await using server = await startRedis();
  await using a = await open(server.url);
  using admin = await raw(server.url);
  const { head } = await a.backend.revocations.rebuild([], undefined);
  const limit = charge(5, 60_000);
  const log = charge(5, 60_000, { algorithm: 'log' });
  await a.backend.checks.check([[limit]]);
  await admin.config('SET', 'maxmemory', '1');
  const reply = await a.backend.checks.check([[limit], [], [log], [charge(5, 60_000)]]);
  assert.deepEqual(reply.head, head);
  assert.deepEqual(
    reply.results.map((states) => (states instanceof Error ? 'error' : states)),
    ['error', [], 'error', 'error'],
  );
  for (const at of [0, 2, 3]) uncounted(reply.results[at], 'OOM');
  await assert.rejects(a.backend.revocations.append(draft('x')), unavailable);
  await using replica = follow(a.backend);
  await replica.follower.start();
  assert.equal(replica.follower.loadedOnce, true, 'a replica can start from a full Redis');
  assert.equal((await replica.follower.revoke(draft('late'))).applied, 'pending');
  await admin.config('SET', 'maxmemory', '0');
  await until(async () => replica.follower.pending().length === 0);
  assert.equal((await wholeLog(a.backend.revocations))?.entries.length, 1);
});

for (const [why, code, setting, value] of [
  ['that misses its replicas', 'NOREPLICAS', 'min-replicas-to-write', '1'],
  ['whose disk is broken', 'MISCONF', 'save', '3600 1'],
] as const) {
  test(`a Redis ${why} (${code}) still answers the head, and limits are errors`, async () => {
    await using server = await startRedis();
    await using a = await open(server.url);
    using admin = await raw(server.url);
    const { head } = await a.backend.revocations.rebuild([], undefined);
    await admin.config('SET', setting, value);
    if (setting === 'save') {
      await admin.config('SET', 'stop-writes-on-bgsave-error', 'yes');
      await admin.config('SET', 'rdbcompression', 'yes');
      await breakSaving(admin);
    }
    const { head: seen, results } = await a.backend.checks.check([[charge(5, 60_000)]]);
    assert.deepEqual(seen, head);
    uncounted(results[0], code);
    await assert.rejects(a.backend.revocations.append(draft('x')), { ...unavailable, code });
  });
}

/** A folder in place of the dump file makes every save fail, also for root. */
async function breakSaving(admin: Redis): Promise<void> {
  const [, dir] = (await admin.config('GET', 'dir')) as [string, string];
  mkdirSync(`${dir}/dump.rdb/x`, { recursive: true });
  await admin.bgsave();
  await until(async () => /rdb_last_bgsave_status:err/.test(await admin.info('persistence')));
}

test('a Redis demoted to a replica still answers the head, limits are errors, and health says so', async () => {
  await using server = await startRedis();
  await using a = await open(server.url);
  using admin = await raw(server.url);
  const { head } = await a.backend.revocations.rebuild([], undefined);
  await admin.replicaof('127.0.0.1', 1);
  const { head: seen, results } = await a.backend.checks.check([[charge(5, 60_000)]]);
  assert.deepEqual(seen, head);
  uncounted(results[0], 'READONLY');
  await a.backend.refresh();
  assert.deepEqual(a.backend.health().warnings, ['redis_role']);
});

test('an eviction policy other than noeviction, and little memory left, are warnings', async () => {
  await using server = await startRedis();
  await using a = await open(server.url);
  using admin = await raw(server.url);
  await a.backend.refresh();
  assert.deepEqual(a.backend.health(), { up: true, warnings: [] });
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru');
  await a.backend.refresh();
  assert.deepEqual(a.backend.health().warnings, ['redis_eviction_policy']);
  await admin.config('SET', 'maxmemory-policy', 'noeviction');
  await admin.set('filler', 'x'.repeat(4_000_000));
  const [, used] = /used_memory:(\d+)/.exec(await admin.info('memory')) ?? [];
  await admin.config('SET', 'maxmemory', String(Math.round(Number(used) * 1.1)));
  await a.backend.refresh();
  assert.deepEqual(a.backend.health().warnings, ['redis_memory']);
});

test('replicas are counted by heartbeat, and the count freezes when Redis goes', async () => {
  await using server = await startRedis();
  const settings = { url: server.url, prefix: 't', timeoutMs: 1000 };
  await using a = openRedis(settings);
  const b = openRedis(settings);
  await Promise.all([a.ready(5000), b.ready(5000)]);
  await b.refresh();
  await a.refresh();
  assert.equal(a.replicas(), 2);
  await server.stop();
  await a.refresh();
  assert.equal(a.replicas(), 2);
  await server.start();
  await b[Symbol.asyncDispose]();
  await until(async () => a.refresh().then(() => a.replicas() === 1));
});

test('attack 90: two replicas survive FLUSHALL and a restart of Redis with every revocation', async () => {
  await using server = await startRedis();
  const settings = { url: server.url, prefix: 't', timeoutMs: 1000 };
  await using backendA = openRedis(settings);
  await using backendB = openRedis(settings);
  await Promise.all([backendA.ready(5000), backendB.ready(5000)]);
  await using a = follow(backendA);
  await using b = follow(backendB);
  await a.follower.start();
  await b.follower.start();
  assert.equal((await a.follower.revoke(draft('one'))).applied, 'all');
  const batch = async (replica: typeof a, backend: RedisBackend) =>
    replica.follower.observe((await backend.checks.check([[]])).head);
  assert.equal(await batch(b, backendB), 'current');
  assert.deepEqual(b.ids(), ['one'], "refused from the other replica's next batch on");
  using admin = await raw(server.url);
  const { head: before } = await backendA.checks.check([[]]);
  await admin.flushall();
  assert.deepEqual(await Promise.all([batch(a, backendA), batch(b, backendB)]), ['current', 'current']);
  const { head: flushed } = await backendA.checks.check([[]]);
  assert.ok(flushed && flushed.epoch !== before?.epoch);
  assert.deepEqual(a.follower.head?.epoch, b.follower.head?.epoch, 'one epoch');
  await server.stop();
  assert.equal((await b.follower.revoke(draft('two'))).applied, 'pending');
  await server.start();
  await until(async () => a.ids().length === 2 && b.follower.pending().length === 0);
  assert.deepEqual((await wholeLog(backendA.revocations))?.entries.map(({ id }) => id).sort(), ['one', 'two']);
});

test('L6: a revocation reaches another replica by notice, without traffic, and limit resets do too', async () => {
  await using server = await startRedis();
  const settings = { url: server.url, prefix: 't', timeoutMs: 1000 };
  await using backendA = openRedis(settings);
  await using backendB = openRedis(settings);
  await Promise.all([backendA.ready(5000), backendB.ready(5000)]);
  await using a = follow(backendA);
  await using b = follow(backendB);
  await a.follower.start();
  await b.follower.start();
  const noticed = Promise.withResolvers<string>();
  await using _ = await backendB.revocations.watch((notice) => {
    if (notice.type === 'limit_reset') noticed.resolve(notice.key);
  });
  await a.follower.revoke(draft('one'));
  await until(async () => b.ids().length === 1, 500);
  const limit = charge(5, 60_000);
  await backendA.checks.reset(limit);
  assert.equal(await noticed.promise, limit.key);
});

test('L12: a user with exactly the documented ACL can do everything, and nothing outside its prefix', async () => {
  await using server = await startRedis();
  using admin = await raw(server.url);
  const source = readFileSync(new URL('../../src/stores/redis/backend.ts', import.meta.url), 'utf8');
  const [, words = ''] = /ACL SETUSER doorward (on [^.]*?)\nimport/s.exec(source) ?? [];
  const rules = words.replaceAll('//', ' ').replace('PASSWORD', 's3cret').split(/\s+/).filter(Boolean);
  await admin.call('ACL', 'SETUSER', 'doorward', ...rules);
  const settings = {
    url: server.url.replace('redis://', 'redis://doorward:s3cret@'),
    prefix: 'doorward',
    timeoutMs: 1000,
  };
  await using backend = openRedis(settings);
  assert.equal(await backend.ready(5000), true);
  await using replica = follow(backend);
  await replica.follower.start();
  const { entry, applied } = await replica.follower.revoke(draft('one', { untilMs: 1 }));
  assert.equal(applied, 'all');
  assert.equal(await replica.follower.undo(entry.entryId), true);
  await replica.follower.revoke(draft('two', { untilMs: 1 }));
  assert.equal(await backend.revocations.sweep(), 1);
  const both = [charge(5, 1000), charge(5, 1000, { algorithm: 'log' })];
  for (const at of [0, 10, 5000]) assert.equal((await hit(backend.checks, both, Date.UTC(2030, 0, 1) + at)).length, 4);
  assert.equal(await backend.checks.reset(both[0] as (typeof both)[0]), true);
  backend.decisions.keep({ request_id: 'r' });
  await until(async () => (await backend.decisions.find({}, 1)).length === 1);
  await backend.refresh();
  assert.deepEqual(backend.health(), { up: true, warnings: [] });
  assert.deepEqual(backend.serverFacts()?.role, 'master');
  await admin.call('ACL', 'LOG', 'RESET');
  await using stranger = openRedis({ ...settings, prefix: 'elsewhere' });
  await stranger.ready(5000);
  const { head, results } = await stranger.checks
    .check([[charge(5, 1000)]])
    .catch(() => ({ head: undefined, results: [] }));
  assert.equal(head, undefined);
  assert.ok(results.every((states) => states instanceof Error));
});

test('a wrong password never shows in an error', async () => {
  await using server = await startRedis();
  using admin = await raw(server.url);
  await admin.config('SET', 'requirepass', 'right');
  await using backend = openRedis({ url: server.url.replace('://', '://:wr0ng-s3cret@'), prefix: 't', timeoutMs: 300 });
  assert.equal(await backend.ready(300), false);
  const error = await Promise.resolve(backend.checks.check([[]])).catch((thrown: unknown) => thrown);
  assert.doesNotMatch(inspect(error, { depth: 10, showHidden: true }), /wr0ng-s3cret/);
});

test('with Redis away explain shows the share of each limit that this replica counts by itself, and charges nothing', async () => {
  await using server = await startRedis();
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    redis: { url: { value: server.url } },
    limits: {
      mine: { key: 'ip', rate: '10/1m', on_store_down: 'local' },
      open: { key: 'ip', rate: '10/1m', on_store_down: 'allow' },
    },
    defaults: { limits: ['mine', 'open'] },
    routes: { all: { match: { prefix: '/' }, auth: 'none' } },
  });
  await server.stop();
  const token = readFileSync(sidecar.adminTokenFile, 'utf8').trim();
  const explain = async () => {
    const answer = await fetch(`${sidecar.adminUrl}/v1/explain`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ method: 'GET', url: '/', peer: '198.51.100.7' }),
    });
    return ((await answer.json()) as { limits: { limit: string; remaining: number; local_share?: number }[] }).limits;
  };
  for (const _again of [1, 2]) {
    assert.deepEqual(
      (await explain()).map(({ limit, remaining, local_share }) => ({ limit, remaining, local_share })),
      [{ limit: 'mine', remaining: 10, local_share: 10 }],
    );
  }
});
