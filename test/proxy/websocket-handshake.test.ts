// What an upstream must answer for a tunnel to open.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { sendRaw } from '../support/raw-client.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const handshake = () =>
  [
    'GET /status/101 HTTP/1.1\r\nHost: app.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer ${tokenFor()}\r\n\r\n`,
  ].join('\r\n');

const answers = {
  'no Sec-WebSocket-Accept': 'Upgrade: websocket\r\nConnection: Upgrade',
  'the accept of another key': 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA',
  'another protocol': 'Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
};

for (const [title, fields] of Object.entries(answers)) {
  test(`attack 48: a 101 with ${title} is a bad answer, and no byte of the client goes on`, async () => {
    let received = '';
    const sockets = new Set<Socket>();
    const upstream = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        received += chunk.toString('latin1');
        socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n\r\nearly`);
      });
    }).listen(0, '127.0.0.1');
    await once(upstream, 'listening');
    const { port } = upstream.address() as { port: number };
    try {
      await using sidecar = await startSidecar(`http://127.0.0.1:${port}`);
      const { text, responses, closed } = await sendRaw(sidecar.port, [handshake(), 'GET /smuggled HTTP/1.1\r\n\r\n'], {
        responses: 2,
      });
      assert.deepEqual([responses.map(({ status }) => status), closed], [[502], true]);
      assert.doesNotMatch(text, /early| 101 /);
      assert.doesNotMatch(received, /smuggled/);
    } finally {
      for (const socket of sockets) socket.destroy();
      upstream.close();
      await once(upstream, 'close');
    }
  });
}

const accepting =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nConnection: Upgrade, X-Secret';

for (const [title, head, connection] of [
  ['a 101', accepting, 'Upgrade'],
  ['a refusal', 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: keep-alive, X-Secret', 'close'],
] as const) {
  test(`attack 56: ${title} to a handshake carries no field of its connection, and none in our name`, async () => {
    const upstream = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () =>
        socket.end(
          `${head}\r\nX-Secret: 1\r\nRateLimit: "x";r=9;t=1\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\n\r\n`,
        ),
      );
    }).listen(0, '127.0.0.1');
    await once(upstream, 'listening');
    const { port } = upstream.address() as { port: number };
    await using sidecar = await startSidecar(`http://127.0.0.1:${port}`);
    const { text, closed } = await sendRaw(sidecar.port, handshake(), { responses: 2 });
    assert.equal(closed, true);
    assert.match(text, /^HTTP\/1\.1 (?:101|403) /);
    assert.match(text, /x-kept: 1/i);
    assert.match(text, new RegExp(`^connection: ${connection}\r$`, 'im'));
    assert.doesNotMatch(text, /x-secret|ratelimit|proxy-authenticate|keep-alive/i);
    upstream.close();
    await once(upstream, 'close');
  });
}
