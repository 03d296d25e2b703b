// A Redis that answers and takes no writes: full, read-only, or without the replicas it needs. Each limit goes its own way, and
// revocations are answered before limits are.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { admin } from '../attacks/world.ts';
import { eventually } from '../rows/eventually.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const SOON_MS = 20_000;
const MODES = ['local', 'deny', 'allow'] as const;

const limits = Object.fromEntries(MODES.map((mode) => [mode, { key: 'subject', rate: '3/1h', on_store_down: mode }]));
const routes = Object.fromEntries(MODES.map((mode) => [mode, { match: { prefix: `/${mode}` }, limits: [mode] }]));

for (const [how, fail, mend] of [
  [
    'full',
    (redis: Redis) => redis.config('SET', 'maxmemory', '1'),
    (redis: Redis) => redis.config('SET', 'maxmemory', '0'),
  ],
  ['read-only', (redis: Redis) => redis.replicaof('127.0.0.1', 1), (redis: Redis) => redis.replicaof('NO', 'ONE')],
  [
    'without the replicas it needs',
    (redis: Redis) => redis.config('SET', 'min-replicas-to-write', '1'),
    (redis: Redis) => redis.config('SET', 'min-replicas-to-write', '0'),
  ],
] as const) {
  test(`attack 104: a Redis that is ${how}: each limit by its on_store_down, revoked tokens refused before that, and back`, async () => {
    await using server = await startRedis();
    await using upstream = await recordingUpstream();
    const redis = { url: { value: server.url }, timeout: '5s' };
    await using sidecar = await startSidecar(upstream.url, { redis, limits, routes });
    const client = new Redis(server.url);
    await using _client = { [Symbol.asyncDispose]: async () => client.disconnect() };
    const ask = async (path: string, sub: string) => {
      const headers = { authorization: `Bearer ${tokenFor({ sub })}` };
      const answer = await fetch(`${sidecar.proxyUrl}/${path}`, { headers, signal: AbortSignal.timeout(SOON_MS) });
      await answer.body?.cancel();
      return answer.status;
    };
    const fourTimes = async (path: string, sub: string) => {
      const statuses = [];
      for (let n = 0; n < 4; n += 1) statuses.push(await ask(path, sub));
      return statuses;
    };
    const revoked = { kind: 'subject', id: 'mallory', issuer: 'test', reason: 'test' };
    assert.equal((await admin(sidecar, 'POST', '/v1/revocations', revoked)).body.applied, 'all');
    for (const mode of MODES) assert.deepEqual(await fourTimes(mode, 'before'), [200, 200, 200, 429], mode);

    await fail(client);
    assert.deepEqual(await fourTimes('local', 'alice'), [200, 200, 200, 429]);
    assert.deepEqual(await fourTimes('deny', 'alice'), [503, 503, 503, 503]);
    assert.deepEqual(await fourTimes('allow', 'alice'), [200, 200, 200, 200]);
    upstream.clear();
    for (const mode of MODES) assert.equal(await ask(mode, 'mallory'), 401, mode);
    assert.equal(upstream.seen.length, 0);

    await mend(client);
    await eventually(async () => (await ask('deny', `again${Math.random()}`)) === 200, SOON_MS);
    assert.equal(await ask('deny', 'before'), 429, 'what was counted before counts on');
  });
}
