// Clients that do not take what they asked for: cut off after `proxy.send_timeout`, whatever kind of answer it is; those that
// take it slowly are not.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { handshake, open, streamUpstream } from '../attacks/streams.ts';
import { bearer, eventually, head } from '../attacks/world.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const SOON_MS = 30_000;
/** More than the system's buffers hold on both sides. */
const MUCH = Buffer.alloc(1024 * 1024, 'x');

/** Answers with 64 MiB: /whole with a length, /stream as an event stream. */
async function generousUpstream() {
  const state = { closed: 0, finished: 0 };
  const server = createServer((request, response) => {
    const isStream = request.url === '/stream';
    response.writeHead(
      200,
      isStream ? { 'content-type': 'text/event-stream' } : { 'content-length': 64 * MUCH.length },
    );
    response.on('close', () => {
      state.closed += 1;
    });
    response.on('finish', () => {
      state.finished += 1;
    });
    let left = 64;
    const more = () => {
      while (left > 0) {
        left -= 1;
        if (!response.write(MUCH)) return void response.once('drain', more);
      }
      if (!isStream) response.end();
    };
    more();
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return Object.assign(state, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** A client that asks and reads nothing. */
function deaf(port: number, bytes: string): Socket {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(bytes, 'latin1');
  socket.pause();
  return socket;
}

test('a client that reads nothing is cut off after send_timeout, and the upstream is let go', async () => {
  await using upstream = await generousUpstream();
  await using at = await startSidecar(upstream.url, { proxy: { send_timeout: '2s' } });
  const clients = ['/whole', '/stream'].map((path) => deaf(at.port, head(`GET ${path}`, [bearer(tokenFor())])));
  await eventually(() => upstream.closed === 2, SOON_MS);
  assert.equal(upstream.finished, 0, 'its body was not held for the client');
  for (const client of clients) client.destroy();
});

test('a WebSocket client that reads nothing is cut off as well', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, { proxy: { send_timeout: '2s' } });
  const client = deaf(at.port, head('GET /ws', [...handshake, bearer(tokenFor())]));
  await eventually(() => upstream.sockets.length === 1, SOON_MS);
  const tunnel = upstream.sockets[0] as Socket;
  for (let n = 0; n < 32; n += 1) tunnel.write(MUCH);
  await eventually(() => tunnel.destroyed || tunnel.readableEnded, SOON_MS);
  client.destroy();
});

test('a client that leaves while answers wait behind a silent stream is missed after send_timeout', async () => {
  const body = Buffer.alloc(9000);
  const server = createServer((request, response) => {
    if (request.url === '/stream') response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    else response.end(body);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const routes = { all: { match: { prefix: '/' }, auth: 'none' } };
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await using at = await startSidecar(url, { routes, proxy: { send_timeout: '1s' } });
  const answered = () => at.logged().filter(({ event, path }) => event === 'decision' && path === '/behind').length;
  const client = connect(at.port, '127.0.0.1').resume();
  client.on('error', () => {});
  client.write(head('GET /stream') + head('GET /behind').repeat(10));
  await eventually(() => answered() === 10, SOON_MS);
  // Node looks at what waits when the next bytes come.
  client.write(head('GET /behind'));
  await eventually(() => answered() === 11, SOON_MS);
  client.destroy();
  const isOver = () => at.logged().some(({ event, path }) => event === 'decision' && path === '/stream');
  await eventually(isOver, SOON_MS);
  server.closeAllConnections();
  server.close();
});

for (const [what, fields] of [
  ['an answer that came early', ['POST /early']],
  [
    'a preflight that we answer',
    ['OPTIONS /early', 'Origin: https://a.example', 'Access-Control-Request-Method: POST'],
  ],
] as const) {
  test(`what is left of an upload after ${what} has body_timeout to come, however it drips`, async () => {
    const server = createServer((_, response) => response.end('early')).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const cors = { origins: ['https://a.example'] };
    const routes = { all: { match: { prefix: '/' }, auth: 'none', body_timeout: '1s', cors } };
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await using at = await startSidecar(url, { routes });
    const client = open(at.port, head(fields[0], [...fields.slice(1), 'Content-Length: 100000']));
    const drip = setInterval(() => client.socket.write('x'), 50);
    try {
      await eventually(() => client.text().startsWith('HTTP/1.1 20'), SOON_MS);
      await eventually(() => client.closed, SOON_MS);
    } finally {
      clearInterval(drip);
      client.socket.destroy();
      server.closeAllConnections();
      server.close();
    }
  });
}

test('a client that reads slowly gets everything', async () => {
  await using upstream = await generousUpstream();
  await using at = await startSidecar(upstream.url, { proxy: { send_timeout: '6s' } });
  const client = deaf(at.port, head('GET /whole', [bearer(tokenFor())]));
  const begunMs = performance.now();
  let bytes = 0;
  let closed = false;
  client.on('close', () => {
    closed = true;
  });
  client.on('data', (chunk) => {
    bytes += chunk.length;
    client.pause();
  });
  const slowly = setInterval(() => {
    client.resume();
  }, 10);
  try {
    await eventually(() => bytes > 64 * MUCH.length || closed, 2 * SOON_MS);
    assert.equal(closed, false);
    assert.ok(bytes > 64 * MUCH.length);
    assert.ok(performance.now() - begunMs > 6000, 'it was slow enough to say something');
  } finally {
    clearInterval(slowly);
    client.destroy();
  }
});
