// Found by the differential run: node's parser stops behind a request that asks for an upgrade, and when that is not taken,
// what followed in the same read was dropped in silence, while the next read was taken for the beginning of a request.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { head, world } from '../attacks/world.ts';
import { sendRaw } from '../support/raw-client.ts';

const upgrade = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA'];
const asking: Readonly<Record<string, string>> = {
  'no body': head('GET /public/asks', upgrade),
  'Content-Length': `${head('POST /public/asks', [...upgrade, 'Content-Length: 5'])}hello`,
  chunked: `${head('POST /public/asks', [...upgrade, 'Transfer-Encoding: chunked'])}5\r\nhello\r\n0\r\n\r\n`,
  'another protocol': head('GET /public/asks', ['Connection: upgrade', 'Upgrade: TLS/1.0']),
};

for (const [name, first] of Object.entries(asking)) {
  test(`attack 47: an upgrade that is not taken (${name}) is answered as the last request of its connection`, async () => {
    await using at = await world();
    const begun = 'GET /public/dropped HTTP/1.1\r\nHost: app\r\nX: ';
    for (const rest of [[head('GET /public/behind')], [begun, head('GET /public/smuggled')]]) {
      at.upstream.clear();
      const bytes = [first + rest[0], ...rest.slice(1)];
      const { responses, closed } = await sendRaw(at.port, bytes, { responses: 2, timeoutMs: 5000 });
      assert.deepEqual(
        responses.map(({ status, headers }) => [status, headers.connection]),
        [[200, 'close']],
      );
      assert.ok(closed, 'nobody waits for an answer that does not come');
      assert.deepEqual(
        at.upstream.seen.map(({ url }) => url),
        ['/public/asks'],
      );
    }
  });
}

test('attack 47: an upgrade that is not taken does not become a tunnel with the bytes behind it', async () => {
  await using at = await world();
  const websocket = [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ];
  const bytes = [asking['no body'] as string, head('GET /public/ws', websocket)];
  const { responses, closed } = await sendRaw(at.port, bytes, { responses: 2, timeoutMs: 5000 });
  assert.deepEqual(
    responses.map(({ status }) => status),
    [200],
  );
  assert.ok(closed);
});
