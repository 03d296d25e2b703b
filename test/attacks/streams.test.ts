// Attacks 52 and 109: a stream ends with its token, is counted once, and is capped.
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { startSidecar, testIssuerBlock, tokenFor } from '../support/sidecar.ts';
import { closeFrameAt, frame, handshake, open, open101, streamUpstream } from './streams.ts';
import { admin, ask, assertProblem, bearer, eventually, head } from './world.ts';

test('attack 52: a revoked token closes its WebSocket within a second, with a close frame', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url);
  for (const revocation of [
    { kind: 'token', id: 'jti-1' },
    { kind: 'subject', id: 'alice' },
    { kind: 'client', id: 'web' },
  ]) {
    const other = await open101(at.port, tokenFor({ jti: 'jti-other', sub: 'bob', client_id: 'cli' }));
    using client = await open101(at.port, tokenFor({ jti: 'jti-1' }));
    upstream.sockets.at(-1)?.write(frame('hello'));
    await eventually(() => client.after().length >= 9);
    const { body, status } = await admin(at, 'POST', '/v1/revocations', { ...revocation, reason: 'test' });
    assert.equal(status, 201);
    await eventually(() => client.closed, 10_000);
    assert.equal(closeFrameAt(client.after().subarray(9)), 1008);
    assert.equal(other.closed, false, 'other streams stay');
    other.socket.destroy();
    assert.equal((await admin(at, 'DELETE', `/v1/revocations/${body.id}`)).status, 204);
  }
});

test('attack 52: the close frame waits for the end of a frame that is under way', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url);
  using client = await open101(at.port, tokenFor({ jti: 'half' }));
  const server = upstream.sockets[0] as Socket;
  server.write(frame('first half', 20));
  await eventually(() => client.after().length === 14);
  await admin(at, 'POST', '/v1/revocations', { kind: 'token', id: 'half', reason: 'test' });
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.equal(client.after().length, 14, 'nothing in the middle of the frame');
  server.write('secondhalf and more frames that must not pass');
  await eventually(() => client.closed, 1000);
  assert.equal(client.after().subarray(4, 24).toString(), 'first halfsecondhalf');
  assert.equal(closeFrameAt(client.after().subarray(24)), 1008);
});

test('attack 52: an expired token closes its WebSocket within a second', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, {
    issuers: { test: { ...testIssuerBlock, clock_tolerance: '0ms' } },
  });
  const expiresAtMs = (Math.floor(Date.now() / 1000) + 2) * 1000;
  using client = await open101(at.port, tokenFor({ exp: expiresAtMs / 1000 }));
  using stream = open(at.port, head('GET /events', [bearer(tokenFor({ exp: expiresAtMs / 1000 }))]));
  await eventually(() => stream.text().includes('text/event-stream'));
  await eventually(() => client.closed || stream.closed, 10_000);
  const lateMs = Date.now() - expiresAtMs;
  assert.ok(lateMs > -5, `${-lateMs} ms before exp`);
  // How late is measured by the chaos run: here a busy machine would decide.
  await eventually(() => client.closed && stream.closed, 10_000);
  assert.equal(closeFrameAt(client.after()), 1008);
  assert.ok(!stream.text().includes('\r\n0\r\n\r\n'), 'an event stream is cut, not ended cleanly');
});

test('attack 52: a revoked token cuts its event stream within a second, and no other', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url);
  using mine = open(at.port, head('GET /events', [bearer(tokenFor({ jti: 'mine' }))]));
  using other = open(at.port, head('GET /events', [bearer(tokenFor({ jti: 'other' }))]));
  await eventually(() => mine.text().includes('event-stream') && other.text().includes('event-stream'));
  for (const event of upstream.events) event.write('data: 1\n\n');
  await eventually(() => mine.text().includes('data: 1') && other.text().includes('data: 1'));
  await admin(at, 'POST', '/v1/revocations', { kind: 'token', id: 'mine', reason: 'test' });
  await eventually(() => mine.closed, 1000);
  assert.ok(!mine.text().includes('\r\n0\r\n\r\n'));
  for (const event of upstream.events) event.write('data: 2\n\n');
  await eventually(() => other.text().includes('data: 2'));
  assert.ok(!mine.text().includes('data: 2'));
});

test('attack 109: an upgrade is charged once, and streams are capped', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, {
    upstreams: { app: { url: upstream.url, streams: 2 } },
    limits: { per_client: { key: 'client', rate: '4/1m' } },
    defaults: { limits: ['per_client'] },
  });
  const token = tokenFor();
  using first = await open101(at.port, token);
  for (let n = 0; n < 20; n += 1) upstream.sockets[0]?.write(frame('x'));
  await eventually(() => first.after().length === 100);
  using _second = await open101(at.port, token);
  const third = await ask(at.port, head('GET /ws', [...handshake, bearer(token)]));
  assertProblem(third, 503, 'no stream left');
  const events = await ask(at.port, head('GET /events', [bearer(token)]));
  assertProblem(events, 503, 'event streams count too');
  assertProblem(await ask(at.port, head('GET /ws', [...handshake, bearer(token)])), 429, 'four charges, not more');
  first.socket.destroy();
  await eventually(async () =>
    (
      await ask(at.port, head('GET /events', [bearer(tokenFor({ client_id: `b${Math.random()}` }))]), 200)
    ).text.includes('200 OK'),
  );
});

test('attack 109: one caller holds so many streams and no more, over WebSockets and event streams; others are not hit', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, {
    upstreams: { app: { url: upstream.url, streams_per_caller: 2 } },
  });
  const mine = (claims = {}) => bearer(tokenFor({ sub: 'alice', client_id: 'spa', ...claims }));
  using first = await open101(at.port, tokenFor({ sub: 'alice', client_id: 'spa' }));
  const events = connect(at.port, '127.0.0.1');
  events.on('error', () => {});
  let text = '';
  events.on('data', (bytes) => {
    text += bytes;
  });
  events.write(head('GET /events', [mine({ jti: 'another token of the same caller' })]));
  await eventually(() => text.includes('200 OK'));
  assertProblem(await ask(at.port, head('GET /ws', [...handshake, mine()])), 429, 'a third WebSocket');
  assertProblem(await ask(at.port, head('GET /events', [mine()])), 429, 'a third stream of events');
  assert.equal((await ask(at.port, head('GET /plain', [mine()]))).status, 200, 'ordinary requests go on');
  using _other = await open101(at.port, tokenFor({ sub: 'bob', client_id: 'spa' }));
  first.socket.destroy();
  await eventually(async () =>
    (await ask(at.port, head('GET /ws', [...handshake, mine()]), 200)).text.includes(' 101 '),
  );
  events.destroy();
});

test('attack 52: a client that ignores the close frame does not keep its stream slot', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, { upstreams: { app: { url: upstream.url, streams: 1 } } });
  const stubborn = connect({ port: at.port, host: '127.0.0.1', allowHalfOpen: true });
  stubborn.on('error', () => {});
  stubborn.resume();
  stubborn.write(head('GET /ws', [...handshake, bearer(tokenFor({ jti: 'stubborn' }))]));
  await eventually(() => upstream.sockets.length === 1);
  const next = () => ask(at.port, head('GET /ws', [...handshake, bearer(tokenFor())]), 150);
  assert.equal((await next()).status, 503);
  await admin(at, 'POST', '/v1/revocations', { kind: 'token', id: 'stubborn', reason: 'test' });
  await eventually(async () => (await next()).text.startsWith('HTTP/1.1 101'), 4000);
  stubborn.destroy();
});

test('a drain closes WebSockets with 1001, and ends', async () => {
  await using upstream = await streamUpstream();
  const timeout = { proxy: { drain: { delay: '0ms', timeout: '30s' } } };
  await using at = await startSidecar(upstream.url, timeout);
  using client = await open101(at.port, tokenFor());
  const startedMs = performance.now();
  await at.drain();
  await eventually(() => client.closed);
  assert.equal(closeFrameAt(client.after()), 1001);
  assert.ok(performance.now() - startedMs < 25_000, 'before drain.timeout');
});
