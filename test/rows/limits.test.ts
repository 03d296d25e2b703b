// Rows of the reference systems about limits: layers, tiers, and a Retry-After that can be believed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { admin } from '../attacks/world.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';
import { roomInWindow } from './eventually.ts';

const MINUTE = 60_000;

interface Seen {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readonly<Record<string, unknown>>;
}

function caller(url: string) {
  return async (path: string, token?: string): Promise<Seen> => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(`${url}${path}`, { method: 'POST', headers });
    return { status: response.status, headers: response.headers, body: (await response.json()) as Seen['body'] };
  };
}

async function times(count: number, ask: () => Promise<Seen>): Promise<readonly Seen[]> {
  const seen: Seen[] = [];
  for (let at = 0; at < count; at += 1) seen.push(await ask());
  return seen;
}

const statuses = (seen: readonly Seen[]) => seen.map(({ status }) => status);

test('C21: layered limits by address and path: global, login, TOTP, set-up and session creation each trip with 429', async () => {
  await using upstream = await recordingUpstream();
  const layered = { key: ['ip', 'route'], algorithm: 'log' };
  const open = (path: string, ...limits: string[]) => ({
    match: { path },
    auth: 'none',
    limits: ['global', ...limits],
  });
  await using sidecar = await startSidecar(upstream.url, {
    limits: {
      global: { key: ['ip', 'route'], rate: '100/1m' },
      auth: { ...layered, rate: '5/15m' },
      totp: { ...layered, rate: '10/5m' },
      setup: { ...layered, rate: '3/1h' },
      sessions: { ...layered, rate: '10/1m' },
    },
    routes: {
      login: open('/login', 'auth'),
      totp: open('/totp', 'totp'),
      setup: open('/setup', 'setup'),
      sessions: open('/sessions', 'sessions'),
      rest: { match: { prefix: '/' }, auth: 'none', limits: ['global'] },
    },
  });
  const post = caller(sidecar.proxyUrl);
  await roomInWindow(MINUTE, 10_000);
  for (const [path, name, quota] of [
    ['/login', 'auth', 5],
    ['/totp', 'totp', 10],
    ['/setup', 'setup', 3],
    ['/sessions', 'sessions', 10],
  ] as const) {
    upstream.clear();
    assert.deepEqual(statuses(await times(quota, () => post(path))), Array(quota).fill(200), path);
    const { status, body, headers } = await post(path);
    assert.deepEqual([status, body['violated-policies']], [429, [name]], path);
    assert.ok(Number(headers.get('retry-after')) >= 1, path);
    assert.equal(upstream.seen.length, quota, path);
  }
  upstream.clear();
  const many = await Promise.all(Array.from({ length: 130 }, () => post('/anything')));
  assert.equal(many.filter(({ status }) => status === 200).length, 100);
  assert.equal(many.filter(({ status }) => status === 429).length, 30);
  assert.equal(upstream.seen.length, 100);
  assert.deepEqual((await post('/else')).body['violated-policies'], ['global']);
});

for (const algorithm of ['sliding', 'log'] as const) {
  test(`W12: N+1 from one address is 429, and after Retry-After, not before half of it, a request passes (${algorithm})`, async () => {
    await using upstream = await recordingUpstream();
    await using sidecar = await startSidecar(upstream.url, {
      limits: { per_ip: { key: 'ip', rate: '3/2s', algorithm } },
      routes: { all: { match: { prefix: '/' }, auth: 'none', limits: ['per_ip'] } },
    });
    const post = caller(sidecar.proxyUrl);
    await roomInWindow(2000, 1900);
    assert.deepEqual(statuses(await times(3, () => post('/'))), [200, 200, 200]);
    const refused = await post('/');
    const retryAfter = Number(refused.headers.get('retry-after'));
    assert.equal(refused.status, 429);
    assert.ok(Number.isInteger(retryAfter) && retryAfter >= 1 && retryAfter <= 3, String(retryAfter));
    await delay(500);
    assert.equal((await post('/')).status, 429);
    await delay(retryAfter * 1000 - 500);
    assert.equal((await post('/')).status, 200);
  });
}

const tiers = {
  limits: {
    per_client: {
      key: 'client',
      tiers: { free: '100/1h', paid: '1000/1h', premium: '10000/1h' },
      default_tier: 'free',
    },
  },
  clients: {
    paid_app: { id: 'paid-app', issuer: 'test', tier: 'paid' },
    premium_app: { id: 'premium-app', issuer: 'test', tier: 'premium' },
  },
  defaults: { limits: ['per_client'] },
};

test('H3: free, paid and premium clients have 100, 1,000 and 10,000 an hour, each told what remains; the 101st free one is 429', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, tiers);
  const post = caller(sidecar.proxyUrl);
  // A tier in the token is the client's word for itself and counts for nothing.
  const tokenOf = (client: string) => tokenFor({ client_id: client, tier: 'premium' });
  const free = tokenOf('unknown-app');
  await roomInWindow(60 * MINUTE, 30_000);
  const hundred = await Promise.all(Array.from({ length: 100 }, () => post('/', free)));
  assert.deepEqual(statuses(hundred), Array(100).fill(200));
  const over = await post('/', free);
  assert.deepEqual(
    [over.status, over.body.code, over.body['violated-policies']],
    [429, 'rate_limited', ['per_client']],
  );
  for (const [client, quota] of [
    ['paid-app', 1000],
    ['premium-app', 10_000],
  ] as const) {
    const token = tokenOf(client);
    const answers = await Promise.all(Array.from({ length: 101 }, () => post('/', token)));
    assert.deepEqual(statuses(answers), Array(101).fill(200), client);
    const next = await post('/', token);
    assert.equal(next.headers.get('ratelimit-policy'), `"per_client";q=${quota};w=3600`);
    assert.match(next.headers.get('ratelimit') ?? '', new RegExp(`^"per_client";r=${quota - 102};t=`));
  }
  const look = async (client: string) => {
    const { body } = await admin(sidecar, 'GET', `/v1/limits/per_client/${encodeURIComponent(`test/${client}`)}`);
    return [body.allowed, (body.rates as { remaining: number }[]).map(({ remaining }) => remaining)];
  };
  assert.deepEqual(await look('unknown-app'), [false, [0]]);
  assert.deepEqual(await look('paid-app'), [true, [898]]);
});

test('H3: the window of a tier slides: what was used late in one window still counts in the next', async () => {
  await using upstream = await recordingUpstream();
  const per_client = { key: 'client', tiers: { free: '20/2s' }, default_tier: 'free' };
  await using sidecar = await startSidecar(upstream.url, {
    limits: { per_client },
    defaults: { limits: ['per_client'] },
  });
  const post = caller(sidecar.proxyUrl);
  const token = tokenFor();
  await roomInWindow(2000, 1700);
  const used = await Promise.all(Array.from({ length: 20 }, () => post('/', token)));
  assert.equal(used.filter(({ status }) => status === 200).length, 20);
  // Early in the next window a fixed one would let all of 20 pass again.
  await roomInWindow(2000, 2001);
  const passed = statuses(await Promise.all(Array.from({ length: 20 }, () => post('/', token)))).filter(
    (status) => status === 200,
  );
  const elapsed = (Date.now() % 2000) / 2000;
  assert.ok(passed.length <= Math.ceil(20 * elapsed) + 1, `${passed.length} passed ${elapsed} into the window`);
});
