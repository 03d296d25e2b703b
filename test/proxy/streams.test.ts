// What ends a stream that is open besides its token's own end: a reload that would not let it in any more, a key that is
// gone, a disabled client, a store that is away too long. And what does not.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { closeFrameAt, open, open101, streamUpstream } from '../attacks/streams.ts';
import { ask, assertProblem, bearer, eventually, head } from '../attacks/world.ts';
import { mintKey, mintToken, startJwksServer } from '../support/minting.ts';
import { startRedis } from '../support/redis-server.ts';
import {
  configFor,
  startSidecar,
  type TestSidecar,
  testIssuer,
  testIssuerBlock,
  tokenFor,
} from '../support/sidecar.ts';

/** The machine is busy with other tests: the promise is one second, and 250 ms of it are ours. */
const SOON_MS = 10_000;

const sse = async (at: TestSidecar, token?: string) => {
  const stream = open(at.port, head('GET /events', token === undefined ? [] : [bearer(token)]));
  await eventually(() => stream.text().includes('text/event-stream'), SOON_MS);
  return stream;
};

async function reloadTo(at: TestSidecar, upstreamUrl: string, config: Readonly<Record<string, unknown>>) {
  at.writeConfig(configFor(upstreamUrl, config));
  const outcome = await at.reload();
  assert.equal(outcome.ok, true, JSON.stringify(outcome));
}

/** Two sweeps and some: what is still open then was judged and kept. */
const judged = () => new Promise((resolve) => setTimeout(resolve, 800));

const words = (client: { after(): Buffer }) => client.after().subarray(4).toString();

test('a route that is gone takes its streams with it, and no others', async () => {
  await using upstream = await streamUpstream();
  const other = { match: { path: '/events' } };
  await using at = await startSidecar(upstream.url, { routes: { ws: { match: { path: '/ws' } }, other } });
  using socket = await open101(at.port, tokenFor());
  using events = await sse(at, tokenFor());
  await reloadTo(at, upstream.url, { routes: { other } });
  await eventually(() => socket.closed, SOON_MS);
  assert.equal(closeFrameAt(socket.after()), 1008);
  assert.equal(words(socket), 'no longer allowed');
  await judged();
  assert.equal(events.closed, false);
});

test('a reload that demands more ends the streams of those who have less', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url);
  const [reader, writer] = [tokenFor({ scope: 'read' }), tokenFor({ scope: 'read write', sub: 'bob' })];
  using poor = await open101(at.port, reader);
  using rich = await open101(at.port, writer);
  using poorEvents = await sse(at, reader);
  using richEvents = await sse(at, writer);
  await reloadTo(at, upstream.url, { routes: { all: { match: { prefix: '/' }, require: { scopes: ['write'] } } } });
  await eventually(() => poor.closed && poorEvents.closed, SOON_MS);
  assert.equal(closeFrameAt(poor.after()), 1008);
  assert.ok(!poorEvents.text().includes('\r\n0\r\n\r\n'), 'an event stream is cut, not ended as if it were complete');
  await judged();
  assert.deepEqual([rich.closed, richEvents.closed], [false, false]);
});

test('a reload of the issuer verifies open streams anew: what it would refuse now ends, the rest goes on', async () => {
  await using upstream = await streamUpstream();
  const issuers = { test: { ...testIssuerBlock, audience: ['api', 'old'] } };
  await using at = await startSidecar(upstream.url, { issuers });
  using old = await open101(at.port, tokenFor({ aud: 'old' }));
  using present = await open101(at.port, tokenFor({ aud: 'api' }));
  await reloadTo(at, upstream.url, {});
  await eventually(() => old.closed, SOON_MS);
  assert.equal(closeFrameAt(old.after()), 1008);
  assert.equal(words(old), 'token no longer valid');
  await judged();
  assert.equal(present.closed, false);
});

test('a route that leads to another upstream ends its streams with 1012', async () => {
  await using upstream = await streamUpstream();
  await using moved = await streamUpstream();
  await using at = await startSidecar(upstream.url);
  using socket = await open101(at.port, tokenFor());
  await reloadTo(at, moved.url, {});
  await eventually(() => socket.closed, SOON_MS);
  assert.equal(closeFrameAt(socket.after()), 1012);
});

test('a client that a reload disables loses its streams, others keep theirs', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url);
  using mine = await open101(at.port, tokenFor({ client_id: 'web' }));
  using other = await open101(at.port, tokenFor({ client_id: 'cli' }));
  await reloadTo(at, upstream.url, { clients: { web: { id: 'web', issuer: 'test', disabled: true } } });
  await eventually(() => mine.closed, SOON_MS);
  assert.equal(closeFrameAt(mine.after()), 1008);
  await judged();
  assert.equal(other.closed, false);
});

test('a route that begins to ask for tokens keeps streams whose request carried one', async () => {
  await using upstream = await streamUpstream();
  const routes = { all: { match: { prefix: '/' }, auth: 'none' } };
  await using at = await startSidecar(upstream.url, { routes });
  using anonymous = await sse(at);
  using known = await open101(at.port, tokenFor());
  await reloadTo(at, upstream.url, {});
  await eventually(() => anonymous.closed, SOON_MS);
  await judged();
  assert.equal(known.closed, false);
});

test('shadow mode ends nothing; enforcing ends what it let through', async () => {
  await using upstream = await streamUpstream();
  const routes = { all: { match: { prefix: '/' }, mode: 'shadow', require: { scopes: ['write'] } } };
  await using at = await startSidecar(upstream.url, { routes });
  using socket = await open101(at.port, tokenFor({ scope: 'read' }));
  await reloadTo(at, upstream.url, { routes, limits: { other: { key: 'ip', rate: '5/1m' } } });
  await judged();
  assert.equal(socket.closed, false);
  await reloadTo(at, upstream.url, { routes: { all: { ...routes.all, mode: 'enforce' } } });
  await eventually(() => socket.closed, SOON_MS);
  assert.equal(closeFrameAt(socket.after()), 1008);
});

test('attack 109: a reload judges streams without charging their limits', async () => {
  await using upstream = await streamUpstream();
  const config = {
    limits: { per_client: { key: 'client', rate: '3/1h' } },
    defaults: { limits: ['per_client'] },
    routes: { all: { match: { prefix: '/' } } },
  };
  await using at = await startSidecar(upstream.url, config);
  using socket = await open101(at.port, tokenFor());
  for (const name of ['one', 'two', 'three', 'four']) {
    await reloadTo(at, upstream.url, {
      ...config,
      routes: { ...config.routes, [name]: { match: { path: `/${name}` } } },
    });
    await judged();
  }
  assert.equal(socket.closed, false);
  const plain = head('GET /plain', [bearer(tokenFor())]);
  assert.deepEqual(
    [(await ask(at.port, plain)).status, (await ask(at.port, plain)).status, (await ask(at.port, plain)).status],
    [200, 200, 429],
  );
});

test('a key that leaves the key set of its issuer ends the streams that rest on it', async () => {
  await using upstream = await streamUpstream();
  const [leaving, staying] = [mintKey('ES256', 'leaving'), mintKey('ES256', 'staying')];
  await using published = await startJwksServer([leaving.jwk, staying.jwk]);
  const keys = { url: `${published.url}/jwks`, refresh: '1s', cooldown: '1s' };
  await using at = await startSidecar(upstream.url, { issuers: { test: { ...testIssuerBlock, keys } } });
  const token = (key: typeof leaving) => mintToken(key, testIssuer, Date.now(), {});
  using gone = await open101(at.port, token(leaving));
  using stays = await open101(at.port, token(staying));
  published.keys = [staying.jwk];
  await eventually(() => gone.closed, 3 * SOON_MS);
  assert.equal(closeFrameAt(gone.after()), 1008);
  await judged();
  assert.equal(stays.closed, false);
});

test('a key file without the key ends its streams on reload', async () => {
  await using upstream = await streamUpstream();
  const [leaving, staying] = [mintKey('ES256', 'leaving'), mintKey('ES256', 'staying')];
  await using at = await startSidecar(upstream.url);
  const file = join(dirname(at.file), 'keys.json');
  const issuers = { test: { ...testIssuerBlock, keys: { file } } };
  writeFileSync(file, JSON.stringify({ keys: [leaving.jwk, staying.jwk] }));
  await reloadTo(at, upstream.url, { issuers });
  const token = (key: typeof leaving) => mintToken(key, testIssuer, Date.now(), {});
  using gone = await open101(at.port, token(leaving));
  using stays = await open101(at.port, token(staying));
  writeFileSync(file, JSON.stringify({ keys: [staying.jwk] }));
  await reloadTo(at, upstream.url, { issuers });
  await eventually(() => gone.closed, SOON_MS);
  await judged();
  assert.equal(stays.closed, false);
});

const pollRoutes = { poll: { match: { path: '/poll' }, stream: true }, slow: { match: { path: '/poll/slow' } } };

/** Sends a request that waits for its answer, and resolves to the promise of that once the upstream has it. */
async function polling(
  at: TestSidecar,
  upstream: Awaited<ReturnType<typeof streamUpstream>>,
  path: string,
  claims = {},
) {
  const place = upstream.polls.length;
  const answered = ask(at.port, head(`GET ${path}`, [bearer(tokenFor(claims))]), 2 * SOON_MS);
  await eventually(() => upstream.polls.length > place, SOON_MS);
  return { answered, answer: () => upstream.polls[place]?.answer('news') };
}

test('a long poll on a stream route is refused when its token expires; elsewhere it is answered', async () => {
  await using upstream = await streamUpstream();
  const issuers = { test: { ...testIssuerBlock, clock_tolerance: '0ms' } };
  await using at = await startSidecar(upstream.url, { routes: pollRoutes, issuers });
  const claims = { exp: Math.floor(Date.now() / 1000) + 3 };
  const [slow, poll] = [
    await polling(at, upstream, '/poll/slow', claims),
    await polling(at, upstream, '/poll', claims),
  ];
  assertProblem(await poll.answered, 401, 'the long poll');
  slow.answer();
  assert.equal((await slow.answered).body, 'news');
});

test('a long poll is refused as a new request would be when a reload takes its route, its upstream or its client away', async () => {
  await using upstream = await streamUpstream();
  await using moved = await streamUpstream();
  const { poll, slow } = pollRoutes;
  const off = { clients: { web: { id: 'web', issuer: 'test', disabled: true } } };
  for (const [what, status, code, url, config] of [
    ['route', 404, 'not_found', upstream.url, { routes: { slow } }],
    ['upstream', 503, 'temporarily_unavailable', moved.url, { routes: { poll, slow } }],
    ['client', 401, 'invalid_token', upstream.url, { routes: { poll, slow }, ...off }],
  ] as const) {
    await using at = await startSidecar(upstream.url, { routes: pollRoutes });
    const [mine, plain] = [await polling(at, upstream, '/poll'), await polling(at, upstream, '/poll/slow')];
    await reloadTo(at, url, config);
    const answer = await mine.answered;
    assertProblem(answer, status, what);
    assert.equal(JSON.parse(answer.body).code, code, what);
    plain.answer();
    assert.equal((await plain.answered).body, 'news', `${what}: what is no stream is answered`);
  }
});

for (const [mode, stays] of [
  ['known', false],
  ['deny', false],
  ['allow', true],
] as const) {
  test(`Redis away longer than it may be: on_store_down ${mode} ${stays ? 'keeps' : 'ends'} streams of tokens`, async () => {
    await using redis = await startRedis();
    await using upstream = await streamUpstream();
    const revocation = { on_store_down: mode, known_for: '4s' };
    const routes = { all: { match: { prefix: '/' }, auth: 'optional' } };
    await using at = await startSidecar(upstream.url, { redis: { url: { value: redis.url } }, revocation, routes });
    using socket = await open101(at.port, tokenFor());
    using anonymous = await sse(at);
    await judged();
    assert.equal(socket.closed, false);
    await redis.stop();
    if (stays) {
      await new Promise((resolve) => setTimeout(resolve, 6000));
      assert.equal(socket.closed, false);
    } else {
      await eventually(() => socket.closed, 2 * SOON_MS);
      assert.equal(closeFrameAt(socket.after()), 1013);
    }
    assert.equal(anonymous.closed, false, 'nothing to revoke there');
    const unknown = () => at.logged().find(({ event }) => event === 'revocations_unknown');
    await eventually(() => unknown()?.level === 'error', 2 * SOON_MS);
  });
}
