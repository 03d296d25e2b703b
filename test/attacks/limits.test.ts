// Attacks 96 to 112: limits over one replica in memory, and over two on one real Redis.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { ConfigError } from '../../src/config/problem.ts';
import { systemClock } from '../../src/core/clock.ts';
import { segment } from '../support/minting.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { configFor, startSidecar, tokenFor } from '../support/sidecar.ts';
import { ask, assertProblem, assertRefused, bearer, head, type World, world } from './world.ts';

/** One limit on every route; a limit by client cannot stand on a public one. */
const limited = (limit: { readonly key: unknown; readonly [name: string]: unknown }, more: object = {}) => ({
  limits: { one: limit },
  defaults: { limits: ['one'] },
  ...(limit.key === 'ip' ? {} : { routes: { admin: { match: { prefix: '/admin' } } } }),
  ...more,
});
const behindProxy = { proxy: { trusted_proxies: ['127.0.0.1'], bad_tokens: '1000000/1m' } };
const from = (address: string) => head('GET /public', [`X-Forwarded-For: ${address}`]);
const as = (claims: object, path = '/admin') => head(`GET ${path}`, [bearer(tokenFor({ ...claims }))]);

async function statuses(port: number, requests: readonly string[]): Promise<number[]> {
  const found: number[] = [];
  for (const bytes of requests) found.push((await ask(port, bytes)).status);
  return found;
}

/** Many requests at once over kept connections; how many got each status. */
async function storm(ports: readonly number[], each: number, token: string): Promise<Record<number, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: 50 });
  const counts: Record<number, number> = {};
  const one = async (port: number) => {
    const sent = httpRequest({
      port,
      host: '127.0.0.1',
      path: '/admin',
      agent,
      headers: { authorization: `Bearer ${token}` },
    }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.resume();
    await once(response, 'end');
    const status = response.statusCode as number;
    counts[status] = (counts[status] ?? 0) + 1;
  };
  await Promise.all(ports.flatMap((port) => Array.from({ length: each }, () => one(port))));
  agent.destroy();
  return counts;
}

test('attack 96: a burst on either side of a window border does not pass twice', async () => {
  await using at = await world(limited({ key: 'ip', rate: '100/2s' }));
  const windowMs = 2000;
  const into = (ms: number) =>
    new Promise((resolve) => setTimeout(resolve, (windowMs + ms - (Date.now() % windowMs)) % windowMs));
  const burst = async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => ask(at.port, head('GET /public'))));
    return answers.filter(({ status }) => status === 200).length;
  };
  await into(1300);
  const borderMs = Math.ceil(Date.now() / windowMs) * windowMs;
  assert.equal(await burst(), 100);
  await into(50);
  const second = await burst();
  // As much of the window as has gone by is all that the first burst leaves free, however slow the machine.
  const sinceMs = Date.now() - borderMs;
  const free = Math.ceil((100 * sinceMs) / windowMs);
  assert.ok(second <= free, `${second} passed within ${sinceMs} ms of the border, ${free} were free`);
});

for (const algorithm of ['sliding', 'log']) {
  test(`attack 97: 1,000 parallel requests over two replicas at limit 100 pass exactly 100 (${algorithm})`, async () => {
    await using redis = await startRedis();
    const config = limited(
      { key: 'client', rate: '100/1h', algorithm },
      { redis: { url: { value: redis.url }, timeout: '10s' } },
    );
    await using a = await world(config);
    await using b = await startSidecar(a.upstream.url, config);
    const counts = await storm([a.port, b.port], 500, tokenFor());
    assert.deepEqual(counts, { 200: 100, 429: 900 });
    assert.equal(a.upstream.seen.length, 100);
  });
}

test('attack 97: 50 parallel requests at one below the limit over five replicas admit exactly one', async () => {
  await using redis = await startRedis();
  const config = limited({ key: 'client', rate: '10/1h' }, { redis: { url: { value: redis.url }, timeout: '10s' } });
  await using first = await world(config);
  await using others = new AsyncDisposableStack();
  const ports = [first.port];
  for (let n = 0; n < 4; n += 1) ports.push(others.use(await startSidecar(first.upstream.url, config)).port);
  const token = tokenFor();
  const before = Array.from({ length: 9 }, () => head('GET /admin', [bearer(token)]));
  assert.deepEqual(await statuses(first.port, before), Array(9).fill(200));
  assert.deepEqual(await storm(ports, 10, token), { 200: 1, 429: 49 });
  assert.equal(first.upstream.seen.length, 10);
});

test('attack 97: 1,000 parallel requests in memory pass exactly the limit', async () => {
  await using at = await world(limited({ key: 'client', rate: '100/1h' }));
  assert.deepEqual(await storm([at.port], 1000, tokenFor()), { 200: 100, 429: 900 });
});

test('attack 98: rotating X-Forwarded-For from an untrusted peer stays in one bucket', async () => {
  await using at = await world(limited({ key: 'ip', rate: '3/1h' }));
  const rotated = Array.from({ length: 5 }, (_, n) =>
    head('GET /public', [`X-Forwarded-For: 9.9.9.${n}`, `X-Real-IP: 8.8.8.${n}`]),
  );
  assert.deepEqual(await statuses(at.port, rotated), [200, 200, 200, 429, 429]);
  const ignored = at.sidecar.logged().filter(({ event }) => event === 'forwarded_fields_ignored');
  const hint = 'add 127.0.0.1 (or its network) to proxy.trusted_proxies if it is your proxy';
  assert.deepEqual(
    ignored.map(({ level, peer, hint: said }) => [level, peer, said]),
    [['warn', '127.0.0.1', hint]],
    'said once',
  );
});

test('attack 99: one /64 is one bucket, a mapped address is its IPv4, and two addresses never share', async () => {
  await using at = await world(limited({ key: 'ip', rate: '2/1h' }, behindProxy));
  const inside = ['2001:db8:0:1::1', '2001:db8:0:1:ffff::2', '[2001:0DB8:0:1::3]:80'];
  assert.deepEqual(await statuses(at.port, inside.map(from)), [200, 200, 429]);
  assert.deepEqual(await statuses(at.port, [from('2001:db8:0:2::1')]), [200]);
  assert.deepEqual(await statuses(at.port, ['1.2.3.4', '::ffff:1.2.3.4', '::ffff:102:304'].map(from)), [200, 200, 429]);
  assert.deepEqual(await statuses(at.port, ['1.2.3.5', '1.2.3.40'].map(from)), [200, 200]);
});

test('attack 100: a forged token that names a victim does not use up the quota of the victim', async () => {
  await using at = await world(limited({ key: 'client', rate: '2/1h' }));
  const forged = (alg: string) =>
    `${segment({ alg, typ: 'at+jwt' })}.${segment({ iss: 'https://id.test/', aud: 'api', client_id: 'victim', sub: 'v', exp: 4e9 })}.AAAA`;
  for (let n = 0; n < 5; n += 1) await assertRefused(at, head('GET /admin', [bearer(forged('ES256'))]), 401);
  await assertRefused(at, head('GET /admin', [bearer(forged('none'))]), 401);
  assert.deepEqual(
    await statuses(
      at.port,
      Array.from({ length: 3 }, () => as({ client_id: 'victim' })),
    ),
    [200, 200, 429],
  );
});

test('attack 101: an address with many bad tokens gets 429 before any signature work, others and known tokens pass', async () => {
  await using at = await world({ proxy: { ...behindProxy.proxy, bad_tokens: '20/1h' } });
  const request = (token: string, address: string) =>
    head('GET /admin', [bearer(token), `X-Forwarded-For: ${address}`]);
  const known = tokenFor();
  assert.equal((await ask(at.port, request(known, '1.1.1.1'))).status, 200);
  const bad = (n: number) => request(`${tokenFor().slice(0, -20)}${String(n).padStart(20, 'A')}`, '1.1.1.1');
  const found = await statuses(
    at.port,
    Array.from({ length: 40 }, (_, n) => bad(n)),
  );
  assert.deepEqual(found.slice(0, 20), Array(20).fill(401));
  assert.deepEqual(found.slice(20), Array(20).fill(429));
  const refused = await assertRefused(at, bad(99), 429);
  assert.ok(Number(refused.headers['retry-after']) >= 1);
  assert.equal((await ask(at.port, request(tokenFor(), '1.1.1.1'))).status, 429, 'new tokens cost signature work too');
  assert.equal((await ask(at.port, request(known, '1.1.1.1'))).status, 200, 'known ones do not');
  assert.equal((await ask(at.port, request(tokenFor(), '1.1.1.2'))).status, 200);
});

/** A replica whose wall clock is wrong by `offsetMs`. */
async function clockedSidecar(upstreamUrl: string, config: object, offsetMs: number) {
  const clock = { nowMs: () => systemClock.nowMs() + offsetMs, monotonicMs: () => systemClock.monotonicMs() };
  return Object.assign(await startSidecar(upstreamUrl, { ...config }, {}, clock), { offsetMs });
}

const nameOf = (line: string) => line.slice(0, line.lastIndexOf(' '));

test('attack 102: a flood of addresses and clients grows no metric labels', async () => {
  const limits = { ip: { key: 'ip', rate: '1/1h' }, client: { key: 'client', rate: '1/1h' } };
  await using at = await world({
    ...behindProxy,
    limits,
    defaults: { limits: ['ip'] },
    routes: { all: { match: { prefix: '/' }, limits: ['ip', 'client'] } },
  });
  const series = async () =>
    (await (await fetch(`${at.sidecar.observeUrl}/metrics`)).text())
      .split('\n')
      .filter((line) => line.startsWith('doorward_'));
  const request = (n: number) =>
    head(`GET /x${n}`, [
      'Connection: close',
      `X-Forwarded-For: 10.${n}.0.1`,
      bearer(tokenFor({ client_id: `flood-${n}` })),
    ]);
  await statuses(at.port, [request(0), request(0), head('GET /y')]);
  const before = new Set((await series()).map(nameOf));
  await statuses(
    at.port,
    Array.from({ length: 200 }, (_, n) => request(n + 1)),
  );
  const after = await series();
  assert.deepEqual(
    after.filter((line) => !before.has(nameOf(line))),
    [],
  );
  assert.ok(!after.join().includes('flood-') && !after.join().includes('10.9.0.1'));
});

test('attack 103: no client id collides with another or breaks out of its key', async () => {
  await using redis = await startRedis();
  const config = limited(
    { key: ['client', 'subject'], rate: '1/1h' },
    { redis: { url: { value: redis.url }, timeout: '2s' } },
  );
  await using at = await world(config);
  const pairs = [
    ['a', 'b:c'],
    ['a:b', 'c'],
    ['a}{b', 'c'],
    ['{a}', 'b'],
    ['a\nb', 'c'],
    ['a\x01', 'bc'],
    ['a', '\x01bc'],
    ['*', '?'],
  ];
  for (const [client_id, sub] of pairs) {
    assert.deepEqual(
      await statuses(at.port, [as({ client_id, sub }), as({ client_id, sub })]),
      [200, 429],
      JSON.stringify([client_id, sub]),
    );
  }
  for (const named of [
    { client_id: 'a\0', sub: 'bc' },
    { client_id: 'a', sub: '\0bc' },
  ])
    assert.deepEqual(await statuses(at.port, [as(named)]), [401], 'a NUL is refused');
  const client = new Redis(redis.url);
  for (const key of await client.keys('*')) assert.match(key, /^doorward[A-Za-z0-9:{}_.-]*$/);
  client.disconnect();
});

for (const [mode, expected] of [
  ['local', [200, 200, 429]],
  ['allow', [200, 200, 200]],
  ['deny', [503, 503, 503]],
] as const) {
  test(`attack 104: Redis down with on_store_down ${mode} answers ${expected.join(', ')}, in time and never 500`, async () => {
    await using redis = await startRedis();
    const config = limited(
      { key: 'client', rate: '2/1h', on_store_down: mode },
      { redis: { url: { value: redis.url }, timeout: '50ms' } },
    );
    await using at = await world(config);
    assert.equal((await ask(at.port, as({ client_id: 'before' }))).status, 200);
    await redis.stop();
    const startedMs = performance.now();
    assert.deepEqual(await statuses(at.port, [as({}), as({}), as({})]), expected);
    assert.ok(performance.now() - startedMs < 10_000, 'three requests, each within the timeout of Redis');
  });
}

test('attack 105: replicas whose clocks differ by an hour share one window, and nobody gets a negative or huge reset', async () => {
  await using redis = await startRedis();
  const config = limited({ key: 'client', rate: '4/1h' }, { redis: { url: { value: redis.url }, timeout: '10s' } });
  await using upstream = await recordingUpstream();
  await using here = await clockedSidecar(upstream.url, config, 0);
  await using late = await clockedSidecar(upstream.url, config, -3_600_000);
  await using early = await clockedSidecar(upstream.url, config, 3_600_000);
  // No token is good on all three clocks: each replica gets one of its own hour, of the same client.
  const ask1 = async (at: { port: number; offsetMs: number }) => {
    const nowS = Math.floor((Date.now() + at.offsetMs) / 1000);
    return ask(at.port, as({ iat: nowS, exp: nowS + 300 }));
  };
  const answers = [];
  for (const at of [here, late, early, here, late, early]) answers.push(await ask1(at));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 200, 429, 429],
  );
  for (const { headers } of answers) {
    const reset = Number(/;t=(\d+)$/.exec(headers.ratelimit ?? '')?.[1]);
    assert.ok(reset >= 1 && reset <= 7200, String(headers.ratelimit));
  }
});

test('attack 106: the fields of a limit are those of the draft, and Retry-After is not earlier than t', async () => {
  await using at = await world(limited({ key: 'client', rate: '2/1m' }));
  const first = await ask(at.port, as({}));
  assert.equal(first.headers['ratelimit-policy'], '"one";q=2;w=60');
  assert.match(first.headers.ratelimit ?? '', /^"one";r=1;t=([1-9]|[1-5]\d|60)$/);
  await ask(at.port, as({}));
  const refused = await assertRefused(at, as({}), 429);
  const time = Number(/^"one";r=0;t=(\d+)$/.exec(refused.headers.ratelimit ?? '')?.[1]);
  assert.ok(Number(refused.headers['retry-after']) >= time);
});

test('attack 107: a refusal by a limit is the problem document of the draft, with the limit that was violated', async () => {
  const limits = { tight: { key: 'client', rate: '1/1m' }, wide: { key: 'client', rate: '100/1m' } };
  const routes = { admin: { match: { prefix: '/admin' }, limits: ['tight', 'wide'] } };
  await using at = await world({ limits, routes });
  await ask(at.port, as({}));
  const refused = await assertRefused(at, as({}), 429);
  const document = JSON.parse(refused.body) as Record<string, unknown>;
  assert.equal(document.type, 'https://iana.org/assignments/http-problem-types#quota-exceeded');
  assert.deepEqual(document['violated-policies'], ['tight']);
});

test('attack 108: no answer shows who was counted, and there is no pk parameter', async () => {
  const limits = { per_client: { key: 'client', rate: '1/1m' }, per_ip: { key: 'ip', rate: '9/1m' } };
  const routes = { admin: { match: { prefix: '/admin' }, limits: ['per_client', 'per_ip'] } };
  await using at = await world(
    { limits, routes, identity_headers: {} },
    (_request, response) => void response.end('ok'),
  );
  const request = as({ client_id: 'secret-client', sub: 'secret-subject' });
  const allowed = await ask(at.port, request);
  const refused = await assertRefused(at, request, 429);
  assert.ok(allowed.headers.ratelimit !== undefined && refused.headers.ratelimit !== undefined);
  for (const { text } of [allowed, refused]) {
    assert.doesNotMatch(text, /secret-client|secret-subject|127\.0\.0\.1|;\s*pk=/);
  }
});

test('attack 106: a redirect carries no limit fields, and an upstream cannot add any', async () => {
  await using at = await world(limited({ key: 'ip', rate: '9/1m' }), (_request, response) => {
    response.writeHead(302, { location: '/x', ratelimit: '"one";r=1', 'content-length': 0 }).end();
  });
  const answer = await ask(at.port, head('GET /public'));
  assert.deepEqual(
    [answer.status, answer.headers.ratelimit, answer.headers['ratelimit-policy']],
    [302, undefined, undefined],
  );
});

test('attack 110: a script that Redis forgot is loaded again, without a false refusal', async () => {
  await using redis = await startRedis();
  await using at = await world(
    limited(
      { key: 'client', rate: '3/1h', on_store_down: 'deny' },
      { redis: { url: { value: redis.url }, timeout: '2s' } },
    ),
  );
  const client = new Redis(redis.url);
  const found: number[] = [];
  for (let n = 0; n < 4; n += 1) {
    found.push((await ask(at.port, as({}))).status);
    await client.script('FLUSH');
  }
  client.disconnect();
  assert.deepEqual(found, [200, 200, 200, 429]);
});

test('attack 111: limits that are no limits are refused when the configuration loads', async () => {
  await using upstream = await recordingUpstream();
  for (const rate of ['0/1m', '-1/1m', 'NaN/1m', '9007199254740993/1m', '1.5/1m', '1/0s', '/1m', '', 5, '1e3/1m']) {
    await assert.rejects(startSidecar(upstream.url, limited({ key: 'ip', rate })), ConfigError, String(rate));
  }
});

test('attack 112: a changed limit takes effect with the reload, and keeps what was counted', async () => {
  await using at: World = await world(limited({ key: 'client', rate: '2/1h' }));
  const token = { client_id: 'kept' };
  const reload = async (rate: string) => {
    at.sidecar.writeConfig(configFor(at.upstream.url, limited({ key: 'client', rate })));
    assert.equal((await at.sidecar.reload()).ok, true);
  };
  assert.deepEqual(await statuses(at.port, [as(token), as(token), as(token)]), [200, 200, 429]);
  await reload('4/1h');
  assert.deepEqual(await statuses(at.port, [as(token), as(token), as(token)]), [200, 200, 429]);
  await reload('1/1h');
  assertProblem(await ask(at.port, as(token)), 429, 'lower at once');
});
