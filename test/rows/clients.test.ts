// Rows of the reference systems about client records: tiers that hold, records that last, and that count on every replica at
// once. One control plane with PostgreSQL, data planes without, one Redis between them.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { noticeName } from '../../src/clients/notices.ts';
import { admin, operatorKnown } from '../attacks/world.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar, type TestSidecar, testIssuer, tokenFor } from '../support/sidecar.ts';
import { eventually } from './eventually.ts';

function publishingPair() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return {
    public_key: { value: publicKey.export({ type: 'spki', format: 'pem' }).toString() },
    signing_key: { value: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() },
  };
}

const limits = {
  per_client: { key: 'client', tiers: { free: '100/1h', paid: '1000/1h', premium: '10000/1h' }, default_tier: 'free' },
};

async function fleet() {
  const stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis());
  const database = stack.use(await openTestDatabase());
  const upstream = stack.use(await recordingUpstream());
  const { public_key, signing_key } = publishingPair();
  const shared = { redis: { url: { value: redis.url }, timeout: '1s' }, limits, defaults: { limits: ['per_client'] } };
  const start = (more: object) => startSidecar(upstream.url, { ...shared, ...more });
  return {
    redis,
    database,
    start,
    controlPlane: () => start({ ...postgresConfig(database, { timeout: '5s' }), control_plane: { signing_key } }),
    /** Believes what the control plane published. */
    dataPlane: (more: object = {}) => start({ control_plane: { public_key }, ...more }),
    /** Knows the revocation log alone. */
    logOnly: () => start({}),
    signed: {
      ...postgresConfig(database, { timeout: '5s' }),
      control_plane: { signing_key: publishingPair().signing_key },
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function ask({ proxyUrl }: TestSidecar, client: string): Promise<{ status: number; left: number }> {
  const response = await fetch(proxyUrl, { headers: { authorization: `Bearer ${tokenFor({ client_id: client })}` } });
  await response.body?.cancel();
  const left = /r=(\d+)/.exec(response.headers.get('ratelimit') ?? '')?.[1];
  return { status: response.status, left: Number(left) };
}

const quotaOf = async (sidecar: TestSidecar, client: string): Promise<number> => {
  const response = await fetch(sidecar.proxyUrl, {
    headers: { authorization: `Bearer ${tokenFor({ client_id: client })}` },
  });
  await response.body?.cancel();
  return Number(/q=(\d+)/.exec(response.headers.get('ratelimit-policy') ?? '')?.[1]);
};

async function put(sidecar: Parameters<typeof admin>[0], client: string, body: object): Promise<void> {
  const path = `/v1/clients/${client}?issuer=${encodeURIComponent(testIssuer)}`;
  const answer = await admin(sidecar, 'PUT', path, body);
  assert.deepEqual([answer.status, answer.body.applied], [200, 'all'], JSON.stringify(answer.body));
}

test('H2: a client disabled through one replica is refused by the others from the next request on, and enabled again', async () => {
  await using it = await fleet();
  await using control = await it.controlPlane();
  await using reads = await it.dataPlane();
  await using logOnly = await it.logOnly();
  for (let round = 0; round < 3; round += 1) {
    for (const disabled of [true, false]) {
      await put(control, 'partner', { disabled });
      const statuses = [control, reads, logOnly].map(async (sidecar) => (await ask(sidecar, 'partner')).status);
      // The document that enables comes by a notice, soon after the log; what refuses comes with the very next request.
      if (disabled) assert.deepEqual(await Promise.all(statuses), [401, 401, 401]);
      else await eventually(async () => (await ask(reads, 'partner')).status === 200, 5000);
    }
  }
  assert.equal((await ask(logOnly, 'partner')).status, 200);
  assert.equal((await ask(control, 'partner')).status, 200);
});

test('H3: the 101st request of a free client is 429, and another tier counts at once, without a restart', async () => {
  await using it = await fleet();
  await using control = await it.controlPlane();
  await using reads = await it.dataPlane();
  await put(control, 'partner', { tier: 'free' });
  for (let at = 0; at < 100; at += 1)
    assert.equal((await ask(at % 2 ? control : reads, 'partner')).status, 200, `${at}`);
  assert.equal((await ask(reads, 'partner')).status, 429);
  assert.equal((await ask(control, 'partner')).status, 429);
  await put(control, 'partner', { tier: 'premium' });
  assert.deepEqual(await ask(control, 'partner'), { status: 200, left: 10_000 - 101 });
  await eventually(async () => (await ask(reads, 'partner')).status === 200, 5000);
  assert.equal(await quotaOf(reads, 'partner'), 10_000);
});

test('H3: two control planes tell each other', async () => {
  await using it = await fleet();
  await using first = await it.controlPlane();
  await operatorKnown(first);
  await using second = await it.controlPlane();
  for (const [tier, quota] of [
    ['paid', 1000],
    ['premium', 10_000],
    ['free', 100],
  ] as const) {
    await put(first, 'partner', { tier });
    await eventually(async () => (await quotaOf(second, 'partner')) === quota, 5000);
  }
  await put({ ...second, adminUrl: second.adminUrl, adminTokenFile: first.adminTokenFile }, 'partner', {
    disabled: true,
  });
  assert.equal((await ask(first, 'partner')).status, 401);
});

test("H3: a client's own limits win over its tier", async () => {
  await using it = await fleet();
  await using control = await it.controlPlane();
  await put(control, 'partner', { tier: 'premium', limits: { per_client: '2/1h' } });
  const statuses = [];
  for (let at = 0; at < 3; at += 1) statuses.push((await ask(control, 'partner')).status);
  assert.deepEqual(statuses, [200, 200, 429]);
});

test('H1: records outlive restarts of both planes', async () => {
  await using it = await fleet();
  {
    await using control = await it.controlPlane();
    await put(control, 'partner', { tier: 'paid' });
  }
  await using reads = await it.dataPlane();
  assert.equal(await quotaOf(reads, 'partner'), 1000, 'from Redis, with no control plane up');
  await using control = await it.controlPlane();
  assert.equal(await quotaOf(control, 'partner'), 1000, 'from PostgreSQL');
});

test('attack 90: after a flush of Redis every record is published again', async () => {
  await using it = await fleet();
  await using control = await it.controlPlane();
  for (let at = 0; at < 5; at += 1) await put(control, `partner-${at}`, { tier: 'paid' });
  const redis = new Redis(it.redis.url);
  await redis.flushall();
  await eventually(async () => (await redis.keys('*publ*')).length > 0, 10_000);
  redis.disconnect();
  await using reads = await it.dataPlane();
  await eventually(async () => (await quotaOf(reads, 'partner-4')) === 1000, 10_000);
});

test('Redis may deny, never grant: a record that the publishing key did not sign gives nobody a tier', async () => {
  await using it = await fleet();
  // Another control plane, whose key the data plane does not trust.
  await using other = await it.start(it.signed);
  await put(other, 'partner', { tier: 'premium' });
  await using reads = await it.dataPlane();
  assert.equal(await quotaOf(reads, 'partner'), 100);
  assert.ok(reads.logged().some(({ problem }) => problem === 'signature'));
});

test('Redis may deny, never grant: an older record put back is not believed', async () => {
  await using it = await fleet();
  await using control = await it.controlPlane();
  await using reads = await it.dataPlane();
  await put(control, 'partner', { tier: 'premium' });
  await eventually(async () => (await quotaOf(reads, 'partner')) === 10_000, 5000);
  const redis = new Redis(it.redis.url);
  const key = (await redis.keys('*publ*client*'))[0] as string;
  const name = noticeName({ issuer: testIssuer, clientId: 'partner' });
  const old = (await redis.hget(key, name)) as string;
  await put(control, 'partner', { tier: 'free' });
  await eventually(async () => (await quotaOf(reads, 'partner')) === 100, 5000);
  await redis.hset(key, name, old);
  // What has everything read again.
  await redis.client('KILL', 'TYPE', 'pubsub');
  await eventually(async () => reads.logged().some(({ problem }) => problem === 'replayed'), 10_000);
  redis.disconnect();
  assert.equal(await quotaOf(reads, 'partner'), 100);
});

const PLANTED = [
  ['nobody signed', () => 'no document at all', 'signature'],
  ['was signed for an earlier change', (old: string) => old.slice(old.indexOf(' ') + 1), 'replayed'],
] as const;

for (const [what, plant, problem] of PLANTED) {
  test(`attack 90: a huge number in Redis before what ${what} holds back no later record: it is replaced, and said`, async () => {
    await using it = await fleet();
    await using control = await it.controlPlane();
    await using reads = await it.dataPlane();
    await put(control, 'partner', { tier: 'premium' });
    await eventually(async () => (await quotaOf(reads, 'partner')) === 10_000, 10_000);
    const redis = new Redis(it.redis.url);
    const key = (await redis.keys('*publ*client*'))[0] as string;
    const name = noticeName({ issuer: testIssuer, clientId: 'partner' });
    const old = (await redis.hget(key, name)) as string;
    await redis.hset(key, name, `${Number.MAX_SAFE_INTEGER} ${plant(old)}`);
    await put(control, 'partner', { tier: 'free' });
    await eventually(async () => (await quotaOf(reads, 'partner')) === 100, 10_000);
    assert.match(String(await redis.hget(key, name)), /^2 /);
    redis.disconnect();
    const line = control.logged().find(({ event }) => event === 'publication_replaced');
    assert.deepEqual([line?.kind, line?.problem], ['client', problem]);
    const metrics = await (await fetch(`${control.observeUrl}/metrics`)).text();
    assert.match(metrics, new RegExp(`doorward_publications_refused_total\\{kind="client",why="${problem}"\\} 1`));
  });
}

test('a replica without a publishing key to trust goes by its file alone', async () => {
  await using it = await fleet();
  await using control = await it.controlPlane();
  await put(control, 'partner', { tier: 'premium' });
  await using fileOnly = await it.start({ clients: { partner: { id: 'partner', issuer: 'test', tier: 'paid' } } });
  assert.equal(await quotaOf(fileOnly, 'partner'), 1000);
  await using both = await it.dataPlane({ clients: { partner: { id: 'partner', issuer: 'test', tier: 'paid' } } });
  assert.equal(await quotaOf(both, 'partner'), 10_000, 'what the control plane says wins');
});

test('a single replica with memory and PostgreSQL needs neither Redis nor publishing keys', async () => {
  await using database = await openTestDatabase();
  await using upstream = await recordingUpstream();
  const config = { ...postgresConfig(database, { timeout: '5s' }), limits, defaults: { limits: ['per_client'] } };
  await using only = await startSidecar(upstream.url, config);
  await put(only, 'partner', { tier: 'paid' });
  assert.equal(await quotaOf(only, 'partner'), 1000);
  await put(only, 'partner', { disabled: true });
  assert.equal((await ask(only, 'partner')).status, 401);
  const path = `/v1/clients/partner?issuer=${encodeURIComponent(testIssuer)}`;
  assert.equal((await admin(only, 'DELETE', path)).status, 204);
  assert.equal((await ask(only, 'partner')).status, 200, 'a removed record of a foreign client says nothing');
});

test('with Redis away a change is in force here, said to be pending, and sent when Redis is back', async () => {
  await using it = await fleet();
  await using control = await it.controlPlane();
  await using reads = await it.dataPlane();
  await put(control, 'partner', { tier: 'paid' });
  await eventually(async () => (await quotaOf(reads, 'partner')) === 1000, 5000);
  const blocker = new Redis(it.redis.url);
  await blocker.client('PAUSE', 4000, 'ALL');
  const path = `/v1/clients/partner?issuer=${encodeURIComponent(testIssuer)}`;
  const answer = await admin(control, 'PUT', path, { disabled: true, tier: 'premium' });
  assert.deepEqual([answer.status, answer.body.applied], [200, 'pending']);
  blocker.disconnect();
  await eventually(async () => (await ask(reads, 'partner')).status === 401, 20_000);
  await eventually(async () => (await ask(control, 'partner')).status === 401, 5000);
});
