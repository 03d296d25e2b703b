// Found by the differential run: of pipelined requests in one read, those behind a refused one had been handed to the pipeline
// before the connection closed. With an idle upstream connection at hand a request smuggled behind doubtful framing was served.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertRefused, head, warmWorld } from '../attacks/world.ts';
import { sendRaw } from '../support/raw-client.ts';

const chunks = '5\r\nhello\r\n0\r\n\r\n';
const kept = ['Host: app', 'Connection: keep-alive'];
const refused: Readonly<Record<string, string>> = {
  'a coding before chunked': head('POST /public', ['Transfer-Encoding: identity, chunked']) + chunks,
  'an empty coding before chunked': head('POST /public', ['Transfer-Encoding: ,chunked']) + chunks,
  'chunked from HTTP/1.0': head('POST /public', [...kept, 'Transfer-Encoding: chunked'], 'HTTP/1.0') + chunks,
  'a long Content-Length': `${head('POST /public', ['Content-Length: 0000000000000005'])}hello`,
  'doubtful framing and a bad Host':
    head('POST /public', ['Host: a/b', 'Transfer-Encoding: identity, chunked']) + chunks,
  'a path that is refused': head('GET /public/../admin'),
};

for (const [name, first] of Object.entries(refused)) {
  test(`attack 44: nothing pipelined behind ${name} is served`, async () => {
    await using at = await warmWorld();
    await assertRefused(at, first + head('GET /public/smuggled'), 400, { closed: true });
    await assertRefused(at, [first, head('GET /public/smuggled')], 400, { closed: true });
  });
}

test('attack 53: nothing pipelined behind a failed expectation or a foreign version is served', async () => {
  await using at = await warmWorld();
  const next = head('GET /public/smuggled');
  await assertRefused(at, head('GET /public', ['Expect: nothing']) + next, 417, { closed: true });
  await assertRefused(at, `GET /public HTTP/2.0\r\nHost: app\r\n\r\n${next}`, 400, { closed: true });
});

test('what is not refused for its form keeps the connection: 401, and the next request is served', async () => {
  await using at = await warmWorld();
  await assertRefused(at, head('GET /admin'), 401);
  const { responses } = await sendRaw(at.port, head('GET /admin') + head('GET /public/next'), { responses: 2 });
  assert.deepEqual(
    responses.map(({ status }) => status),
    [401, 200],
  );
});
