// http-proxy repeats the error of a client's socket on itself and throws it when nobody listens: one client that reset its
// WebSocket ended the whole process.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { echoWebSocket } from '../support/echo-websocket.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const key = 'dGhlIHNhbXBsZSBub25jZQ==';
/** A masked text frame of 64 KiB. */
const large = Buffer.concat([Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), Buffer.alloc(65_536)]);

test('a client that resets its WebSocket while data comes ends its own tunnel and nothing else', async () => {
  await using echo = await echoWebSocket();
  await using sidecar = await startSidecar(echo.url);
  const handshake = [
    'GET /chat HTTP/1.1\r\nHost: app.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${key}\r\nAuthorization: Bearer ${tokenFor()}\r\n\r\n`,
  ].join('\r\n');
  for (let round = 0; round < 5; round += 1) {
    const client = connect(sidecar.port, '127.0.0.1');
    client.on('error', () => {});
    client.write(handshake);
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
