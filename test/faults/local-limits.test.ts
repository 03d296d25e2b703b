// With Redis away each replica counts its share of a limit, `limit / replicas` by the last count of heartbeats: so many replicas
// as there are together let through what one limit allows. A worker process is a replica.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, several } from '../app/several.ts';
import { openOAuthWorld } from '../identity/world.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';

const limited = {
  limits: { each: { key: 'client', rate: '10/1h', on_store_down: 'local' } },
  defaults: { limits: ['each'] },
};

interface Ready {
  readonly status: string;
  readonly components: { readonly store: { readonly status: string; readonly detail: { readonly replicas: number } } };
}

const readiness = async ({ observeUrl }: TestSidecar) => (await (await fetch(`${observeUrl}/readyz`)).json()) as Ready;

const ask = async ({ proxyUrl }: TestSidecar, client: string) => {
  const answer = await fetch(proxyUrl, { headers: { authorization: `Bearer ${tokenFor({ client_id: client })}` } });
  await answer.body?.cancel();
  return answer.status;
};

/** Waits until both count two replicas. */
async function countBoth(...both: readonly [TestSidecar, TestSidecar]): Promise<void> {
  const replicas = async () =>
    Promise.all(both.map(async (at) => (await readiness(at)).components.store.detail.replicas));
  await eventually(async () => String(await replicas()) === '2,2', 'each counts both', replicas);
}

/** Ends Redis and waits until each knows. */
async function end(redis: RedisServer, ...replicas: readonly TestSidecar[]): Promise<void> {
  await redis.stop();
  for (const at of replicas)
    await eventually(async () => (await readiness(at)).components.store.status === 'down', 'Redis is known to be away');
}

const allowed = (statuses: readonly number[]) => statuses.filter((status) => status === 200).length;

test('attack 104: two replicas without their Redis let through half of a limit each, and all of it before', async () => {
  await using redis = await startRedis();
  await using upstream = await recordingUpstream();
  const config = { redis: { url: { value: redis.url }, timeout: '5s' }, ...limited };
  await using a = await startSidecar(upstream.url, config);
  await using b = await startSidecar(upstream.url, config);
  await countBoth(a, b);
  const both = Array.from({ length: 12 }, () => [a, b]).flat();
  assert.equal(allowed(await Promise.all(both.map((at) => ask(at, 'before')))), 10);
  await end(redis, a, b);
  for (const at of [a, b]) {
    const statuses = await Promise.all(Array.from({ length: 12 }, () => ask(at, 'after')));
    assert.deepEqual([allowed(statuses), statuses.filter((status) => status === 429).length], [5, 7]);
  }
  // The count is frozen while nobody can be counted.
  await countBoth(a, b);
});

test('attack 104: the OAuth endpoints of one of two replicas without Redis let through half of their limits', async () => {
  await using redis = await startRedis();
  const stores = { redis: { url: { value: redis.url }, timeout: '5s' } };
  const few = { ...limited.limits.each, key: 'ip' };
  await using world = await openOAuthWorld({ ...stores, limits: { few }, oauth: { limits: { documents: 'few' } } });
  await countBoth(world.sidecar, await world.replica());
  await end(redis, world.sidecar);
  const document = `${world.issuer}/.well-known/openid-configuration`;
  const statuses = await Promise.all(Array.from({ length: 12 }, async () => (await fetch(document)).status));
  assert.deepEqual([allowed(statuses), statuses.filter((status) => status === 429).length], [5, 7]);
});

test('attack 104: two worker processes whose Redis goes right after their start let through one limit together', async () => {
  await using it = await several(limited);
  const ready = async () => (await it.ready()).json;
  await it.redis.stop();
  await eventually(async () => String((await ready()).status) === 'degraded', 'Redis is known to be away', ready);
  const statuses = await it.statuses(80, tokenFor({ client_id: 'after' }));
  assert.deepEqual([allowed(statuses), statuses.filter((status) => status === 429).length], [10, 70]);
});
