// Trailers of requests: they reach HTTP/2 upstreams, from clients of either version, without anything that a head may not say or
// that was judged in it; HTTP/1.1 upstreams get none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../attacks/world.ts';
import {
  askHttp2,
  FrameClient,
  frame,
  frameTypes,
  getFields,
  headerBlock,
  openHttp2,
} from '../support/http2-client.ts';
import { sendRaw } from '../support/raw-client.ts';
import { recordingHttp2Upstream, valuesIn } from '../support/recording-http2-upstream.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startBefore, startSidecar, tokenFor } from '../support/sidecar.ts';

type Fields = readonly (readonly [string, string])[];
const SOON = 30_000;
const authorization = `Bearer ${tokenFor()}`;
const post = (path: string, more: Fields = []): Fields => [
  [':method', 'POST'],
  ...getFields(path).slice(1),
  ['authorization', authorization],
  ...more,
];

async function world(config: Readonly<Record<string, unknown>> = {}) {
  const upstream = await recordingHttp2Upstream();
  const { proxy = {}, ...rest } = config as { proxy?: object };
  return startBefore(upstream, {
    proxy: { http2: true, ...proxy },
    upstreams: { app: { url: upstream.url, protocol: 'http2' } },
    ...rest,
  });
}

/** Sends a body and trailers over HTTP/2, and waits for the answer or the reset. */
async function send(port: number, head: Fields, bodies: readonly string[], trailers: Fields): Promise<FrameClient> {
  const client = await FrameClient.open(port);
  client.headers(1, head, false);
  for (const body of bodies) client.socket.write(frame(frameTypes.data, 0, 1, Buffer.from(body)));
  client.socket.write(frame(frameTypes.headers, 5, 1, headerBlock(trailers)));
  await eventually(() => client.has(frameTypes.headers, 1) || client.has(frameTypes.rst, 1) || client.closed, SOON);
  return client;
}

const chunked = (path: string, trailers: readonly string[], fields: readonly string[] = []) =>
  `${[`POST ${path} HTTP/1.1`, 'Host: app.test', `Authorization: ${authorization}`, 'Transfer-Encoding: chunked', ...fields].join('\r\n')}` +
  `\r\n\r\n3\r\nabc\r\n0\r\n${trailers.map((line) => `${line}\r\n`).join('')}\r\n`;

test('trailers of an HTTP/2 request reach an HTTP/2 upstream, all values in order, with the body before them', async () => {
  await using w = await world();
  const trailers: Fields = [
    ['x-sum', 'abc'],
    ['x-part', '1'],
    ['x-part', '2'],
    ['etag', '"a"'],
    ['grpc-status', '0'],
    ['constructor', 'c'],
    ['__proto__', 'p'],
  ];
  await using _client = await send(w.sidecar.port, post('/up'), ['hello ', 'world'], trailers);
  const [seen] = w.upstream.seen;
  assert.deepEqual([seen?.body, seen?.trailers], ['hello world', trailers.flat()]);
});

test('trailers pass with a content-length and without a body too, and what was sent once arrives once', async () => {
  await using w = await world();
  await using _sized = await send(
    w.sidecar.port,
    post('/sized', [['content-length', '5']]),
    ['hello'],
    [['x-sum', 's']],
  );
  await using _empty = await send(w.sidecar.port, post('/empty'), [], [['x-sum', 'e']]);
  assert.deepEqual(
    w.upstream.seen.map(({ fields, body, trailers }) => [valuesIn(fields, ':path')[0], body, trailers]),
    [
      ['/sized', 'hello', ['x-sum', 's']],
      ['/empty', '', ['x-sum', 'e']],
    ],
  );
});

test('trailers of a chunked HTTP/1.1 request reach an HTTP/2 upstream in lower case', async () => {
  await using w = await world();
  const { responses } = await sendRaw(
    w.sidecar.port,
    chunked('/c', ['X-Sum: abc', 'x-latin: \xe9'], ['Trailer: X-Sum']),
  );
  assert.equal(responses[0]?.status, 200);
  const [seen] = w.upstream.seen;
  assert.deepEqual([seen?.body, seen?.trailers], ['abc', ['x-sum', 'abc', 'x-latin', '\xe9']]);
});

test('a request without trailers ends without any, with one answer', async () => {
  await using w = await world();
  await using session = await openHttp2(w.sidecar.proxyUrl);
  const answer = await askHttp2(
    session,
    { ':method': 'POST', ':path': '/none', authorization },
    Buffer.alloc(300_000, 'x'),
  );
  assert.equal('status' in answer && answer.status, 200);
  assert.deepEqual([w.upstream.seen[0]?.body.length, w.upstream.seen[0]?.trailers], [300_000, []]);
});

const refused = [
  'x-auth-subject', 'X_Auth.Subject', 'x-auth-assertion', 'x-request-id', 'x-doorward-route', 'x-forwarded-for', 'x-forwarded-host', 'x_forwarded_proto', 'forwarded',
  'x-original-url', 'x-http-method-override', 'authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'host', 'content_length',
  'transfer_encoding', 'content-type', 'content-encoding', 'expect', 'range', 'if-match', 'cache-control', 'origin', 'sec-fetch-site', 'accept', 'trailer', 'traceparent',
]; // biome-ignore format: a word list

test('attack 26: identity headers, forwarded fields, credentials, framing and routing are dropped from trailers, from either client', async () => {
  await using w = await world();
  const fields: Fields = [
    ...refused.map((name) => [name.toLowerCase(), 'mallory'] as const),
    ['content-length', '3'],
    ['x-kept', 'yes'],
  ];
  await using _client = await send(w.sidecar.port, post('/h2'), ['abc'], fields);
  await sendRaw(w.sidecar.port, chunked('/h1', [...refused.map((name) => `${name}: mallory`), 'X-Kept: yes']));
  assert.deepEqual(
    w.upstream.seen.map(({ trailers }) => trailers),
    [
      ['x-kept', 'yes'],
      ['x-kept', 'yes'],
    ],
  );
  for (const list of w.upstream.begun) {
    assert.deepEqual(valuesIn(list, 'x-auth-subject'), ['alice']);
    assert.ok(!list.includes('mallory'));
  }
});

test('attack 28: a trailer is no second value of a field of the head, nor one that Connection named', async () => {
  await using w = await world();
  await using _client = await send(w.sidecar.port, post('/h2', [['x-role', 'user']]), ['abc'], [
    ['x-role', 'admin'],
    ['x_role', 'admin'],
    ['x-kept', 'yes'],
  ]); // biome-ignore format: one list
  const head = ['X-Role: user', 'Connection: keep-alive, X-Hop'];
  await sendRaw(w.sidecar.port, chunked('/h1', ['X-Role: admin', 'x-hop: admin', 'x-kept: yes'], head));
  assert.deepEqual(
    w.upstream.seen.map(({ trailers }) => trailers),
    [
      ['x-kept', 'yes'],
      ['x-kept', 'yes'],
    ],
  );
});

test('attack 26: a field from which routes take tokens is dropped from trailers', async () => {
  await using w = await world({
    routes: { all: { match: { prefix: '/' }, credentials: ['bearer', { header: 'X-Api-Token' }] } },
  });
  await using _client = await send(
    w.sidecar.port,
    post('/t'),
    ['abc'],
    [
      ['x-api-token', 'stolen'],
      ['x-kept', 'yes'],
    ],
  );
  assert.deepEqual(w.upstream.seen[0]?.trailers, ['x-kept', 'yes']);
});

test('attack 26: trailers never reach an HTTP/1.1 upstream, from either client', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  await using _client = await send(sidecar.port, post('/h2'), ['abc'], [['x-sum', 'mallory']]);
  await sendRaw(sidecar.port, chunked('/h1', ['x-sum: mallory']));
  assert.deepEqual(
    upstream.seen.map(({ url, body }) => [url, body]),
    [
      ['/h2', 'abc'],
      ['/h1', 'abc'],
    ],
  );
  assert.ok(!/mallory|x-sum/i.test(upstream.bytes()));
});

test('attack 54: trailers above header_size break the request off, and the upstream never sees it whole', async () => {
  await using w = await world({ proxy: { http2: true, header_size: '4KiB' } });
  await using large = await send(w.sidecar.port, post('/large'), ['abc'], [['x-large', 'x'.repeat(5000)]]);
  assert.equal(large.code(1), 11);
  const { responses, closed } = await sendRaw(w.sidecar.port, chunked('/large', [`x-large: ${'x'.repeat(9000)}`]));
  assert.ok(closed && responses.every(({ status }) => status >= 400));
  await using _client = await send(w.sidecar.port, post('/ok'), ['abc'], [['x-small', 'x'.repeat(3000)]]);
  assert.deepEqual(
    w.upstream.seen.map(({ fields }) => valuesIn(fields, ':path')[0]),
    ['/ok'],
  );
});

test('attack 44: trailers with pseudo-fields, connection fields or upper case, or without the end of the stream, end the request', async () => {
  await using w = await world();
  const bad: readonly Fields[] = [
    [[':path', '/admin']],
    [[':status', '200']],
    [['connection', 'close']],
    [['transfer-encoding', 'chunked']],
    [['content-length', '4']],
    [['X-Up', '1']],
  ]; // biome-ignore format: a list
  for (const trailers of bad) {
    await using client = await send(w.sidecar.port, post('/bad'), ['abc'], trailers);
    assert.ok(client.has(frameTypes.rst, 1) || client.closed || client.has(frameTypes.goaway, 0), String(trailers));
  }
  await using open = await FrameClient.open(w.sidecar.port);
  open.headers(1, post('/open'), false);
  open.headers(1, [['x-sum', '1']], false);
  await eventually(() => open.has(frameTypes.rst, 1) || open.closed, SOON);
  assert.deepEqual(w.upstream.seen, []);
});

test('a field that may stand once and stands twice is no fault of an HTTP/2 upstream', async () => {
  await using w = await world();
  const twice = 'User-Agent: a\r\nUser-Agent: b\r\n';
  const { responses } = await sendRaw(
    w.sidecar.port,
    `GET / HTTP/1.1\r\nHost: a\r\nAuthorization: ${authorization}\r\n${twice}\r\n`,
  );
  assert.equal(responses[0]?.status, 200);
  assert.deepEqual(valuesIn(w.upstream.seen[0]?.fields ?? [], 'user-agent'), ['a', 'b']);
});

test('trailers of an answer with the names of what every object has pass like others', async () => {
  const names = ['constructor', '__proto__', 'tostring', 'x-sum'];
  await using upstream = await recordingHttp2Upstream((stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    const trailers = Object.fromEntries(names.map((name) => [name, 'v']));
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end('body');
  });
  await using sidecar = await startSidecar(upstream.url, {
    proxy: { http2: true },
    upstreams: { app: { url: upstream.url, protocol: 'http2' } },
  });
  await using client = await FrameClient.open(sidecar.port);
  client.headers(1, [...getFields('/'), ['authorization', authorization]]);
  await eventually(() => client.frames.some(({ type, flags }) => type === frameTypes.headers && flags % 2 === 1), SOON);
  const last = client.frames.findLast(({ type }) => type === frameTypes.headers)?.payload ?? Buffer.alloc(0);
  // Huffman-coded, so only their number can be told: one literal each, of at least four bytes.
  assert.ok(last.length >= 4 * names.length, last.toString('hex'));
});
