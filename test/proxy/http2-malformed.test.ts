// HTTP/2 frames that no client sends: each is refused, the upstream sees nothing, and no request hides in another. What
// nghttp2 refuses by itself is tested here too, because the pipeline rests on it.
import assert from 'node:assert/strict';
import type { ServerHttp2Stream } from 'node:http2';
import { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { Allowance } from '../../src/http/http2/allowance.ts';
import { Http2Request } from '../../src/http/http2/request.ts';
import { readRequestHead } from '../../src/http/http2/request-head.ts';
import { eventually } from '../attacks/world.ts';
import { FrameClient, frame, frameTypes, getFields } from '../support/http2-client.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startBefore, tokenFor } from '../support/sidecar.ts';

type Fields = readonly (readonly [string, string])[];
const SOON = 20_000;
const authorization: readonly [string, string] = ['authorization', `Bearer ${tokenFor()}`];
const base = [...getFields('/x'), authorization];
const without = (name: string) => base.filter(([each]) => each !== name);
const instead = (name: string, value: string): Fields => base.map((each) => (each[0] === name ? [name, value] : each));

const world = async () => startBefore(await recordingUpstream(), { proxy: { http2: true } });

/** What becomes of a header list: `:status` of the answer (of a static or literal field), or `reset`. */
async function outcome(port: number, fields: Fields): Promise<string> {
  await using client = await FrameClient.open(port);
  client.headers(1, fields);
  await eventually(() => client.has(frameTypes.headers, 1) || client.has(frameTypes.rst, 1) || client.closed, SOON);
  if (!client.has(frameTypes.headers, 1)) return 'reset';
  return statusOf(client.frames.find(({ type, stream }) => type === frameTypes.headers && stream === 1)?.payload);
}

/** HPACK: an index of the static table for the usual ones (8 to 14), else a literal. */
function statusOf(block: Buffer | undefined): string {
  const known: Readonly<Record<number, string>> = { 136: '200', 137: '204', 140: '400', 141: '404', 142: '500' };
  const first = block?.[0] ?? 0;
  return known[first] ?? 'other';
}

test('a sound request with every field in its place is served', async () => {
  await using w = await world();
  assert.equal(await outcome(w.sidecar.port, base), '200');
  assert.equal(await outcome(w.sidecar.port, [...without(':authority'), ['host', 'app.test']]), '200');
  assert.equal(await outcome(w.sidecar.port, [...base, ['host', 'APP.test'], ['te', 'trailers']]), '200');
  assert.equal(w.upstream.seen.length, 3);
});

const refused: Readonly<Record<string, Fields>> = {
  'a name in upper case': [...base, ['X-Up', '1']],
  connection: [...base, ['connection', 'x-a']],
  'proxy-connection': [...base, ['proxy-connection', 'keep-alive']],
  'keep-alive': [...base, ['keep-alive', 'timeout=5']],
  upgrade: [...base, ['upgrade', 'websocket']],
  'http2-settings': [...base, ['http2-settings', 'AAMAAABk']],
  'attack 44: transfer-encoding': [...base, ['transfer-encoding', 'chunked']],
  'te other than trailers': [...base, ['te', 'gzip']],
  'attack 14: host unlike :authority': [...base, ['host', 'other.test']],
  'attack 14: two hosts': [...without(':authority'), ['host', 'app.test'], ['host', 'other.test']],
  'attack 14: neither :authority nor host': without(':authority'),
  'attack 14: user information in :authority': instead(':authority', 'admin@app.test'),
  'attack 14: a list in :authority': instead(':authority', 'app.test,other.test'),
  'no :path': without(':path'),
  'an empty :path': instead(':path', ''),
  'two :path': [...base.slice(0, 4), [':path', '/y'], authorization],
  'an absolute URL in :path': instead(':path', 'http://other.test/x'),
  'attack 6: :path without a slash': instead(':path', 'x'),
  'attack 6: :path *': instead(':path', '*'),
  'attack 8: a fragment in :path': instead(':path', '/x#y'),
  'a blank in :path': instead(':path', '/x HTTP/1.1'),
  'attack 3: a backslash in :path': instead(':path', '/x\\..\\y'),
  'attack 2: dot segments in :path': instead(':path', '/x/%2e%2e/y'),
  'no :method': without(':method'),
  'a blank in :method': instead(':method', 'GET /y'),
  'a method in lower case': instead(':method', 'post'),
  'TRACE in other letters': instead(':method', 'Trace'),
  'the beginning of HTTP/2 for a method': instead(':method', 'PRI'),
  'a method that HTTP/1.1 could not say': instead(':method', "GET'"),
  'no :scheme': without(':scheme'),
  'another :scheme': instead(':scheme', 'ftp'),
  'an unknown pseudo-field': [[':verdict', 'allow'], ...base],
  'a pseudo-field behind others': [authorization, ...getFields('/x')],
  'extended CONNECT': [[':protocol', 'websocket'], ...instead(':method', 'CONNECT')],
  'attack 50: CONNECT': [[':method', 'CONNECT'], [':authority', 'app.test'], authorization],
  'attack 27: two authorizations': [...base, authorization],
  'attack 45: two content-lengths': [...base, ['content-length', '0'], ['content-length', '5']],
  'attack 45: a content-length with a sign': [...base, ['content-length', '+0']],
  'a content-length without a body': [...base, ['content-length', '5']],
  'an expectation that nobody knows': [...base, ['expect', 'wonders']],
};

for (const [name, fields] of Object.entries(refused)) {
  test(`${name.startsWith('attack') ? name : `HTTP/2: ${name}`} is refused, and the upstream sees nothing`, async () => {
    await using w = await world();
    const found = await outcome(w.sidecar.port, fields);
    assert.ok(['reset', '400', 'other'].includes(found), found);
    assert.equal(w.upstream.bytes(), '');
  });
}

test('attack 29: a value with CR, LF, NUL or another control never becomes a line of HTTP/1.1', async () => {
  await using w = await world();
  for (const value of ['1\r\nX-Auth-Subject: root', '1\nX-Auth-Subject: root', '1\0', 'a\x01b', '1\r', '\x7f']) {
    await outcome(w.sidecar.port, [...base, ['x-a', value]]);
  }
  assert.ok(!w.upstream.bytes().includes('root'));
  assert.ok(!/[\0\x01\x7f]/.test(w.upstream.bytes()));
  for (const name of ['x-a\r\nx-auth-subject', 'x-a: 1\r\nx-auth-subject', 'x a', 'x-auth-subject ', '']) {
    await outcome(w.sidecar.port, [...base, [name, 'root']]);
  }
  assert.ok(!w.upstream.bytes().includes('root'));
});

test('what nghttp2 would let pass by mistake is refused by the translation itself', () => {
  const read = (fields: Fields) =>
    readRequestHead(fields.flat(), { hasBody: false, secure: false, headerBytes: 16_384 });
  for (const [name, fields] of Object.entries(refused)) {
    // These are the pipeline's: the translation only hands them on.
    if (/content-length|attack (?:2|3|6: :path \*|8|14: (?:user|a list|neither)|27)|blank/.test(name)) continue;
    assert.equal(typeof read(fields), 'string', name);
  }
  for (const value of ['1\r\n', '1\n', '1\0', ' 1', '1 ', '\t', 'a\x01']) {
    assert.equal(read([...base, ['x-a', value]]), 'request_malformed', JSON.stringify(value));
  }
  for (const name of ['', 'x a', 'x:', 'X', 'x\r'])
    assert.equal(read([...base, [name, '1']]), 'request_malformed', name);
});

test('over TLS :scheme must be https', () => {
  const read = (scheme: string) =>
    readRequestHead(instead(':scheme', scheme).flat(), { hasBody: false, secure: true, headerBytes: 16_384 });
  assert.equal(read('http'), 'request_malformed');
  assert.equal(typeof read('https'), 'object');
});

const post = (length: string): Fields => [[':method', 'POST'], ...base.slice(1), ['content-length', length]];

test('attack 45: a body shorter than its content-length is no request for the upstream', async () => {
  await using w = await world();
  await using client = await FrameClient.open(w.sidecar.port);
  client.headers(1, post('10'), false);
  client.socket.write(frame(frameTypes.data, 1, 1, Buffer.from('short')));
  await eventually(() => client.has(frameTypes.rst, 1) || client.closed, SOON);
  assert.deepEqual(w.upstream.seen, []);
});

test('attack 45: a body longer than its content-length smuggles nothing', async () => {
  await using w = await world();
  await using client = await FrameClient.open(w.sidecar.port);
  client.headers(1, post('5'), false);
  const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n';
  client.socket.write(frame(frameTypes.data, 1, 1, Buffer.from(`hello${smuggled}`)));
  await eventually(() => client.has(frameTypes.rst, 1) || client.has(frameTypes.goaway, 0) || client.closed, SOON);
  assert.ok(!w.upstream.bytes().includes('smuggled'));
  assert.ok(w.upstream.seen.every(({ url }) => url === '/x'));
});

test('attack 44: a body without a length goes out in chunks that its bytes cannot end', async () => {
  await using w = await world();
  await using client = await FrameClient.open(w.sidecar.port);
  client.headers(1, [[':method', 'POST'], ...base.slice(1)], false);
  const body = '0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n';
  client.socket.write(frame(frameTypes.data, 1, 1, Buffer.from(body)));
  await eventually(() => client.has(frameTypes.headers, 1), SOON);
  assert.deepEqual(
    w.upstream.seen.map(({ url, body: got }) => [url, got]),
    [['/x', body]],
  );
});

test('a request has the header views of node, for those who read them', () => {
  const stream = Object.assign(new PassThrough(), { endAfterHeaders: true }) as unknown as ServerHttp2Stream;
  const fields = ['host', 'app.test', 'x-a', '1', 'x-a', '2'];
  const head = { method: 'GET', target: '/', fields, expectsContinue: false };
  const request = new Http2Request(stream, new Socket(), head, { headerBytes: 16_384, allowance: new Allowance(1, 0) });
  assert.deepEqual(request.rawHeaders, fields);
  assert.deepEqual([request.headers.host, request.headers['x-a']], ['app.test', '1, 2']);
  assert.deepEqual([request.headersDistinct.host, request.headersDistinct['x-a']], [['app.test'], ['1', '2']]);
});
