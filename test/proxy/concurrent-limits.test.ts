// `concurrent` limits: how much a caller may have under way at once, and that every end gives its place back.
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { handshake, open, open101, streamUpstream } from '../attacks/streams.ts';
import { admin, ask, assertProblem, bearer, eventually, head } from '../attacks/world.ts';
import { startJwksServer } from '../support/minting.ts';
import { configFor, startSidecar, type TestSidecar, testIssuerBlock, tokenFor } from '../support/sidecar.ts';

const SOON_MS = 10_000;
const limits = { at_once: { key: 'client', concurrent: 2 } };
const limited = { limits, defaults: { limits: ['at_once'] } };

/** An upstream that answers when the test says so. */
async function holdingUpstream() {
  const held: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (request.url === '/quick') response.end('quick');
    else held.push(response);
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    held,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const quick = (at: TestSidecar, claims = {}) => ask(at.port, head('GET /quick', [bearer(tokenFor(claims))]), SOON_MS);
const slow = (at: TestSidecar, claims = {}) => open(at.port, head('GET /slow', [bearer(tokenFor(claims))]));

test('a client has so much under way at once and no more; another client is not hit', async () => {
  await using upstream = await holdingUpstream();
  await using at = await startSidecar(upstream.url, limited);
  using _first = slow(at);
  using _second = slow(at, { jti: 'another token of the same client' });
  await eventually(() => upstream.held.length === 2, SOON_MS);
  const refused = await quick(at);
  assertProblem(refused, 429, 'the third');
  assert.equal(refused.headers['retry-after'], '1');
  assert.equal(at.logged().find(({ reason }) => reason === 'concurrency_exceeded')?.rule, 'limits at_once');
  assert.equal((await quick(at, { client_id: 'other' })).status, 200);
  upstream.held[0]?.end('done');
  await eventually(async () => (await quick(at)).status === 200, SOON_MS);
});

test('every way to end gives the place back: abort, upstream reset, refusal, timeout, revocation', async () => {
  await using upstream = await holdingUpstream();
  await using at = await startSidecar(upstream.url, {
    limits: { at_once: { key: 'ip', concurrent: 1 } },
    defaults: { limits: ['at_once'], response_timeout: '1s' },
    routes: {
      all: { match: { prefix: '/' } },
      admins: { match: { prefix: '/admin' }, require: { scopes: ['admin'] } },
    },
  });
  const isFree = () => eventually(async () => (await quick(at)).status === 200, SOON_MS);
  for (const end of ['abort', 'upstream reset', 'timeout', 'revocation'] as const) {
    using client = slow(at, { jti: end });
    await eventually(() => upstream.held.length === 1, SOON_MS);
    const response = upstream.held.shift() as ServerResponse;
    if (end === 'abort') client.socket.destroy();
    if (end === 'upstream reset') response.destroy();
    if (end === 'revocation') await admin(at, 'POST', '/v1/revocations', { kind: 'token', id: end, reason: 'test' });
    await isFree();
  }
  for (let n = 0; n < 3; n += 1) {
    assertProblem(
      await ask(at.port, head('GET /admin', [bearer(tokenFor())]), SOON_MS),
      403,
      'refused after the check',
    );
    await isFree();
  }
});

test('attack 109: a WebSocket is under way until it closes, and so is an event stream', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, limited);
  using socket = await open101(at.port, tokenFor());
  using events = open(at.port, head('GET /events', [bearer(tokenFor())]));
  await eventually(() => events.text().includes('event-stream'), SOON_MS);
  const plain = () => ask(at.port, head('GET /plain', [bearer(tokenFor())]), SOON_MS);
  const upgrade = head('GET /ws', [...handshake, bearer(tokenFor())]);
  assertProblem(await plain(), 429, 'both places are taken');
  assertProblem(await ask(at.port, upgrade, SOON_MS), 429, 'for WebSockets too');
  socket.socket.destroy();
  await eventually(async () => (await plain()).status === 200, SOON_MS);
  using again = await open101(at.port, tokenFor());
  assertProblem(await plain(), 429, 'taken again');
  events.socket.destroy();
  await eventually(async () => (await plain()).status === 200, SOON_MS);
  assert.equal(again.closed, false);
});

test('what is under way is still counted after a reload', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, limited);
  using first = await open101(at.port, tokenFor());
  using _second = await open101(at.port, tokenFor());
  at.writeConfig(configFor(upstream.url, { ...limited, log: { level: 'warn' } }));
  assert.equal((await at.reload()).ok, true);
  const plain = () => ask(at.port, head('GET /plain', [bearer(tokenFor())]), SOON_MS);
  assertProblem(await plain(), 429, 'streams of before');
  first.socket.destroy();
  await eventually(async () => (await plain()).status === 200, SOON_MS);
});

test('in shadow mode it is counted and refuses nobody; the metric says how often it would have', async () => {
  await using upstream = await holdingUpstream();
  await using at = await startSidecar(upstream.url, {
    ...limited,
    limits: { at_once: { key: 'client', concurrent: 1, mode: 'shadow' } },
  });
  using _first = slow(at);
  await eventually(() => upstream.held.length === 1, SOON_MS);
  assert.equal((await quick(at)).status, 200);
  const metrics = await (await fetch(`${at.observeUrl}/metrics`)).text();
  assert.match(metrics, /doorward_rate_limit_total\{limit="at_once",outcome="refused",mode="shadow"\} 1\n/);
  assert.match(metrics, /doorward_rate_limit_total\{limit="at_once",outcome="admitted",mode="shadow"\} 1\n/);
});

test('explain shows what is under way, and that the next request would be refused, without taking a place', async () => {
  await using upstream = await holdingUpstream();
  await using at = await startSidecar(upstream.url, limited);
  const explain = async () =>
    (await admin(at, 'POST', '/v1/explain', { method: 'GET', url: '/slow', token: tokenFor() })).body;
  const idle = await explain();
  assert.equal(idle.allowed, true, JSON.stringify(idle));
  assert.deepEqual(idle.limits, [{ limit: 'at_once', remaining: 2, reset_ms: 0, under_way: 0 }]);
  using _first = slow(at);
  using _second = slow(at);
  await eventually(() => upstream.held.length === 2, SOON_MS);
  const full = await explain();
  assert.deepEqual([full.allowed, full.reason, full.rule], [false, 'concurrency_exceeded', 'limits at_once']);
  assert.deepEqual(full.limits, [{ limit: 'at_once', remaining: 0, reset_ms: 0, under_way: 2 }]);
});

test('a request refused for what is under way is not charged to the rates', async () => {
  await using upstream = await holdingUpstream();
  await using at = await startSidecar(upstream.url, {
    limits: { at_once: { key: 'client', concurrent: 1 }, rate: { key: 'client', rate: '2/1h' } },
    defaults: { limits: ['at_once', 'rate'] },
  });
  using _first = slow(at);
  await eventually(() => upstream.held.length === 1, SOON_MS);
  for (let n = 0; n < 5; n += 1) assertProblem(await quick(at), 429, 'no place');
  upstream.held[0]?.end('done');
  await eventually(() => at.logged().some(({ reason, path }) => reason === 'ok' && path === '/slow'), SOON_MS);
  assert.equal((await quick(at)).status, 200, 'the second of two');
});

test('attack 109: a client that leaves while its token is verified holds no stream and no place', async () => {
  await using upstream = await streamUpstream();
  await using keys = await startJwksServer();
  const asked: (() => void)[] = [];
  keys.answer = (_, response) => {
    asked.push(() => response.end('{"keys":[]}'));
  };
  const issuers = {
    test: testIssuerBlock,
    slow: { issuer: 'https://slow.test/', audience: ['api'], keys: { url: `${keys.url}/jwks`, timeout: '20s' } },
  };
  const routes = {
    slow: { match: { path: '/ws' }, issuers: ['slow'], mode: 'shadow' },
    all: { match: { prefix: '/' }, issuers: ['test'] },
  };
  const starting = startSidecar(upstream.url, {
    issuers,
    routes,
    upstreams: { app: { url: upstream.url, streams: 1 } },
    limits: { at_once: { key: 'ip', concurrent: 1 } },
    defaults: { limits: ['at_once'] },
  });
  // The keys are read before the sidecar listens; then a token of that issuer asks for them again.
  await eventually(() => asked.length === 1, SOON_MS);
  asked.shift()?.();
  await using at = await starting;
  const [, claims] = tokenFor({ iss: 'https://slow.test/' }).split('.');
  const [header, , signature] = tokenFor().split('.');
  using client = open(at.port, head('GET /ws', [...handshake, bearer(`${header}.${claims}.${signature}`)]));
  await eventually(() => asked.length === 1, SOON_MS);
  client.socket.destroy();
  await eventually(() => client.closed, SOON_MS);
  await new Promise((resolve) => setTimeout(resolve, 100));
  asked.shift()?.();
  const events = head('GET /events', [bearer(tokenFor())]);
  await eventually(async () => (await ask(at.port, events, 500)).text.startsWith('HTTP/1.1 200'), SOON_MS);
});
