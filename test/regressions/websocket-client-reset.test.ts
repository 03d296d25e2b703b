// http-proxy repeats the error of a client's socket on itself and throws it when nobody listens: one client that reset its
// WebSocket ended the whole process.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { eventually } from '../attacks/world.ts';
import { echoWebSocket } from '../support/echo-websocket.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const key = 'dGhlIHNhbXBsZSBub25jZQ==';
/** A masked text frame of 64 KiB. */
const large = Buffer.concat([Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), Buffer.alloc(65_536)]);

const handshake = () =>
  [
    'GET /chat HTTP/1.1\r\nHost: app.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${key}\r\nAuthorization: Bearer ${tokenFor()}\r\n\r\n`,
  ].join('\r\n');

test('a client that resets its WebSocket while data comes ends its own tunnel and nothing else', async () => {
  await using echo = await echoWebSocket();
  await using sidecar = await startSidecar(echo.url);
  for (let round = 0; round < 5; round += 1) {
    const client = connect(sidecar.port, '127.0.0.1');
    client.on('error', () => {});
    client.write(handshake());
    const [head] = (await once(client, 'data')) as [Buffer];
    assert.match(head.toString('latin1'), /^HTTP\/1\.1 101 /);
    for (let frame = 0; frame < 20; frame += 1) client.write(large);
    await once(client, 'data');
    const closed = once(client, 'close');
    client.resetAndDestroy();
    await closed;
  }
  const answer = await fetch(`${sidecar.proxyUrl}/after`, { headers: { authorization: `Bearer ${tokenFor()}` } });
  assert.equal(answer.status, 426);
});

// Its error had no listener yet: it was an uncaught one, and the tunnel never heard of the end of its client, nor gave its slot back.
test('a client that resets its handshake while the upstream is dialled leaves no stream slot taken', async () => {
  const dialled: Socket[] = [];
  // Accepts, and never says a word of TLS.
  const upstream = createServer((socket) => {
    socket.on('error', () => {});
    dialled.push(socket);
  }).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const { port } = upstream.address() as { port: number };
  const url = `https://127.0.0.1:${port}`;
  await using sidecar = await startSidecar(url, { upstreams: { app: { url, connect_timeout: '30s', streams: 3 } } });
  const open = async () =>
    /^doorward_streams_open (\d+)$/m.exec(await (await fetch(`${sidecar.observeUrl}/metrics`)).text())?.[1];
  for (let round = 1; round <= 5; round += 1) {
    const client = connect(sidecar.port, '127.0.0.1');
    client.on('error', () => {});
    client.write(handshake());
    await eventually(() => dialled.length === round, 20_000);
    client.resetAndDestroy();
    await eventually(async () => (await open()) === '0', 20_000);
  }
  for (const socket of dialled) socket.destroy();
  upstream.close();
});
