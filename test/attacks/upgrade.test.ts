// Attacks 47 to 52, and 91 and 109 as far as streams go: an upgrade passes the same pipeline, and ends with its token.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { sendRaw } from '../support/raw-client.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';
import {
  admin,
  ask,
  assertForwarded,
  assertProblem,
  assertRefused,
  bearer,
  eventually,
  head,
  valuesOf,
  world,
} from './world.ts';

const handshake = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];

/** RFC 6455 section 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** An unmasked text frame, as servers send it; `length` alone gives a head whose payload follows later. */
const frame = (text: string, length = text.length) =>
  Buffer.concat([Buffer.from([0x81, 126, length >> 8, length & 0xff]), Buffer.from(text)]);

/** An upstream that upgrades, or streams events under /events, and hands its sockets to the test. */
async function streamUpstream() {
  const requests: IncomingMessage[] = [];
  const sockets: Socket[] = [];
  const events: { write(text: string): void }[] = [];
  const all = new Set<Socket>();
  const server = createServer((request, response) => {
    requests.push(request);
    if (request.url !== '/events') return void response.end('plain');
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    events.push({ write: (text) => void response.write(text) });
  });
  server.on('connection', (socket) => {
    all.add(socket);
    socket.on('error', () => {});
  });
  server.on('upgrade', (request, socket) => {
    requests.push(request);
    if (request.url === '/refuse') return void socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${GUID}`).digest('base64');
    const fields = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n`;
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n`);
    sockets.push(socket as Socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    sockets,
    events,
    async [Symbol.asyncDispose]() {
      for (const socket of all) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A client connection whose bytes are collected. */
function open(port: number, bytes: string) {
  const socket = connect(port, '127.0.0.1');
  const state = { socket, bytes: Buffer.alloc(0), closed: false, reset: false };
  socket.on('error', () => {
    state.reset = true;
  });
  socket.on('data', (chunk) => {
    state.bytes = Buffer.concat([state.bytes, chunk as Buffer]);
  });
  socket.on('close', () => {
    state.closed = true;
  });
  socket.write(bytes, 'latin1');
  return Object.assign(state, {
    text: () => state.bytes.toString('latin1'),
    after: () => state.bytes.subarray(state.bytes.indexOf('\r\n\r\n') + 4),
    [Symbol.dispose]: () => void socket.destroy(),
  });
}

const closeFrameAt = (bytes: Buffer) => {
  assert.equal(bytes[0], 0x88, 'a close frame, at a frame boundary');
  assert.equal(bytes.length, 2 + (bytes[1] as number), 'and nothing after it');
  return bytes.readUInt16BE(2);
};

test('attack 47: an h2c upgrade stays an ordinary request', async () => {
  await using at = await world();
  const h2c = ['Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA'];
  for (const connection of ['Upgrade, HTTP2-Settings', 'Upgrade', 'HTTP2-Settings']) {
    await assertRefused(at, head('GET /admin', [`Connection: ${connection}`, ...h2c]), 401);
    const seen = await assertForwarded(at, head('GET /public', [`Connection: ${connection}`, ...h2c]));
    assert.deepEqual([...valuesOf(seen, 'upgrade'), ...valuesOf(seen, 'http2-settings')], []);
    assert.ok(!valuesOf(seen, 'connection').join().toLowerCase().includes('upgrade'));
  }
  const several = await ask(at.port, head('GET /admin', ['Connection: Upgrade', 'Upgrade: websocket, h2c']));
  assert.notEqual(several.status, 101);
});

test('attack 48: a handshake that is not RFC 6455 opens no tunnel', async () => {
  await using at = await world();
  const change = (from: string, to: string) =>
    handshake.map((field) => (field.startsWith(from) ? to : field)).filter((field) => field !== '');
  const bad = [
    change('Sec-WebSocket-Version', 'Sec-WebSocket-Version: 1337'),
    change('Sec-WebSocket-Version', ''),
    change('Sec-WebSocket-Key', ''),
    change('Sec-WebSocket-Key', 'Sec-WebSocket-Key: short'),
    [...handshake, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='],
    [...handshake, 'Content-Length: 5'],
  ];
  for (const fields of bad) {
    const answer = await assertRefused(at, head('GET /public', fields), [400, 426], {
      closed: true,
      what: String(fields),
    });
    if (answer.status === 400) assert.equal(answer.headers['sec-websocket-version'] ?? '13', '13');
  }
  await assertRefused(at, head('POST /public', handshake), [400, 426], { closed: true, what: 'POST' });
});

test('attack 48: an upstream that does not answer 101 leaves no tunnel open', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, { routes: { all: { match: { prefix: '/' }, auth: 'none' } } });
  using client = open(at.port, head('GET /refuse', handshake));
  await eventually(() => client.closed);
  assert.match(client.text(), /^HTTP\/1\.1 403 /);
  const smuggled = await sendRaw(at.port, head('GET /refuse', handshake) + head('GET /smuggled'), { responses: 2 });
  assert.ok(smuggled.closed);
  assert.ok(
    upstream.requests.every(({ url }) => url === '/refuse'),
    'bytes behind it reach nobody',
  );
});

test('attack 49: a WebSocket to a protected path needs a good token before the upgrade', async () => {
  await using at = await world();
  const revoked = tokenFor({ jti: 'gone' });
  await admin(at.sidecar, 'POST', '/v1/revocations', { kind: 'token', id: 'gone', reason: 'test' });
  for (const fields of [[], [bearer(revoked)], [bearer('nonsense')], ['Sec-WebSocket-Protocol: doorward.bearer.x']]) {
    await assertRefused(at, head('GET /admin', [...handshake, ...fields]), 401, { closed: true, what: String(fields) });
  }
  await assertRefused(at, head(`GET /admin?access_token=${tokenFor()}`, handshake), 401, { closed: true });
});

test('attack 49: a token in the subprotocol opens a tunnel where listed, and goes no further', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, {
    routes: { all: { match: { prefix: '/' }, credentials: ['websocket'] } },
  });
  const token = tokenFor();
  using client = open(
    at.port,
    head('GET /ws', [...handshake, `Sec-WebSocket-Protocol: chat, doorward.bearer.${token}`, 'x-auth-subject: m']),
  );
  await eventually(() => client.text().includes('101'));
  const [request] = upstream.requests;
  assert.equal(request?.headers['sec-websocket-protocol'], 'chat');
  assert.equal(request?.headers['x-auth-subject'], 'alice');
  assert.ok(!request?.rawHeaders.join().includes(token));
});

test('attack 50: CONNECT and bytes behind a refused upgrade end the connection', async () => {
  await using at = await world();
  const next = head('GET /public/smuggled');
  await assertRefused(at, `CONNECT app:80 HTTP/1.1\r\nHost: app:80\r\n\r\n${next}`, 501, { closed: true });
  const { responses, closed } = await sendRaw(at.port, head('GET /admin', handshake) + next, { responses: 2 });
  assert.deepEqual(
    responses.map(({ status }) => status),
    [401],
  );
  assert.ok(closed);
  assert.equal(at.upstream.bytes(), '');
});

test('attack 51: an upgrade from an Origin that is not listed is refused', async () => {
  const routes = { all: { match: { prefix: '/' }, cors: { origins: ['https://app.example'] } } };
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, { routes });
  const fields = [...handshake, bearer(tokenFor())];
  for (const origin of ['https://evil.example', 'null', 'https://app.example.evil', 'http://app.example']) {
    const answer = await ask(at.port, head('GET /ws', [...fields, `Origin: ${origin}`]));
    assertProblem(answer, 403, origin);
    assert.ok(answer.closed);
  }
  assert.equal(upstream.requests.length, 0);
  using client = open(at.port, head('GET /ws', [...fields, 'Origin: https://app.example']));
  await eventually(() => client.text().startsWith('HTTP/1.1 101'));
});

const open101 = async (port: number, token: string) => {
  const client = open(port, head('GET /ws', [...handshake, bearer(token)]));
  await eventually(() => client.text().includes('\r\n\r\n'));
  assert.match(client.text(), /^HTTP\/1\.1 101 /);
  return client;
};

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
    const startedMs = performance.now();
    await eventually(() => client.closed, 1000);
    assert.ok(performance.now() - startedMs < 1000);
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
  const { testIssuerBlock } = await import('../support/sidecar.ts');
  await using at = await startSidecar(upstream.url, {
    issuers: { test: { ...testIssuerBlock, clock_tolerance: '0ms' } },
  });
  const expiresAtMs = (Math.floor(Date.now() / 1000) + 2) * 1000;
  using client = await open101(at.port, tokenFor({ exp: expiresAtMs / 1000 }));
  using stream = open(at.port, head('GET /events', [bearer(tokenFor({ exp: expiresAtMs / 1000 }))]));
  await eventually(() => stream.text().includes('text/event-stream'));
  await eventually(() => client.closed && stream.closed, 3500);
  const lateMs = Date.now() - expiresAtMs;
  assert.ok(lateMs > -5 && lateMs < 1000, `${lateMs} ms after exp`);
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

test('attack 48: an upstream that never answers the handshake is 504, and the slot is free again', async () => {
  const server = createServer().on('upgrade', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await using mute = await startSidecar(url, {
    upstreams: { app: { url, streams: 1 } },
    defaults: { response_timeout: '300ms' },
    routes: { all: { match: { prefix: '/' }, auth: 'none' } },
  });
  for (let round = 0; round < 2; round += 1) {
    const answer = await ask(mute.port, head('GET /ws', handshake));
    assertProblem(answer, 504, `round ${round}`);
    assert.ok(answer.closed);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  server.close();
  server.closeAllConnections();
});

test('a drain closes WebSockets with 1001, and ends', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url);
  using client = await open101(at.port, tokenFor());
  const startedMs = performance.now();
  await at.drain();
  await eventually(() => client.closed);
  assert.equal(closeFrameAt(client.after()), 1001);
  assert.ok(performance.now() - startedMs < 1900, 'before drain.timeout');
});
