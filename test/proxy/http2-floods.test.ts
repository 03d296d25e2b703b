// HTTP/2 connections that misbehave are closed, cost little, and leave others alone; connections that do nothing end too.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
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
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startBefore, startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';

const SOON = 30_000;
const authorization = `Bearer ${tokenFor()}`;
const REFUSED_STREAM = 7;

const world = async (proxy: Readonly<Record<string, unknown>> = {}) =>
  startBefore(await recordingUpstream(), { proxy: { http2: true, ...proxy } });

const sidecarSaid = (sidecar: TestSidecar, reason: string) => sidecar.logged().some((line) => line.reason === reason);

/** Somebody else's request still is answered. */
async function assertServes({ proxyUrl }: TestSidecar) {
  await using session = await openHttp2(proxyUrl);
  const answer = await askHttp2(session, { ':path': '/ok', authorization });
  assert.equal('status' in answer && answer.status, 200);
}

test('CVE-2023-44487: streams that are opened and reset at once end the connection', async () => {
  await using w = await world();
  await using client = await FrameClient.open(w.sidecar.port);
  const fields = headerBlock([...getFields('/rapid'), ['authorization', authorization]]);
  const cancel = Buffer.from([0, 0, 0, 8]);
  for (let stream = 1; stream < 8000 && !client.closed; stream += 2) {
    client.socket.write(frame(frameTypes.headers, 5, stream, fields));
    client.socket.write(frame(frameTypes.rst, 0, stream, cancel));
    if (stream % 200 === 1) await new Promise((resolve) => setImmediate(resolve));
  }
  await eventually(() => client.closed || client.has(frameTypes.goaway, 0), SOON);
  assert.notEqual(client.code(0), 0);
  await assertServes(w.sidecar);
  assert.ok(w.upstream.seen.filter(({ url }) => url === '/rapid').length < 1000);
});

test('CVE-2024-27316: header blocks that never end end the connection', async () => {
  await using w = await world();
  await using client = await FrameClient.open(w.sidecar.port);
  client.socket.write(frame(frameTypes.headers, 1, 1, headerBlock(getFields('/endless'))));
  for (let at = 0; at < 2000 && !client.closed; at += 1) {
    client.socket.write(frame(frameTypes.continuation, 0, 1, headerBlock([[`x-${at}`, 'y'.repeat(1000)]])));
    if (at % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await eventually(() => client.closed || client.has(frameTypes.goaway, 0), SOON);
  await assertServes(w.sidecar);
  assert.ok(!w.upstream.bytes().includes('endless'));
});

test('attack 54: a head above header_size is 431 and the connection goes on; one that is huge when unpacked is reset', async () => {
  await using w = await world({ header_size: '8KiB' });
  await using session = await openHttp2(w.sidecar.proxyUrl);
  const ask = async (more: Record<string, string>) => {
    const answer = await askHttp2(session, { ':path': '/', authorization, ...more });
    return 'status' in answer ? answer.status : -answer.reset;
  };
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_none, at) => [`x-${at}`, '']));
  assert.deepEqual(
    [await ask({ 'x-large': 'x'.repeat(9000) }), await ask(many), await ask({ 'x-large': 'x'.repeat(4000) })],
    [431, 431, 200],
  );
  assert.ok(sidecarSaid(w.sidecar, 'headers_too_large'));
  // One entry of the dynamic table, then thousands of references of one byte each: 12 MB out of 7 KB.
  await using bomb = await FrameClient.open(w.sidecar.port);
  const entry = Buffer.concat([Buffer.from([0x40]), headerBlock([['x-bomb', 'x'.repeat(4000)]]).subarray(1)]);
  const block = Buffer.concat([headerBlock(getFields('/bomb')), entry, Buffer.alloc(3000, 0xbe)]);
  bomb.socket.write(frame(frameTypes.headers, 5, 1, block));
  await eventually(() => bomb.closed || bomb.has(frameTypes.rst, 1) || bomb.has(frameTypes.goaway, 0), SOON);
  assert.deepEqual(
    w.upstream.seen.map(({ url }) => url),
    ['/'],
  );
});

test('requests beyond http2_streams are refused unprocessed, and a client that insists is cut', async () => {
  const held: (() => void)[] = [];
  const server = createServer((_request, response) => void held.push(() => response.end()));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await using sidecar = await startSidecar(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {
      proxy: { http2: true, http2_streams: 3 },
    });
    const fields = [...getFields('/held'), ['authorization', authorization] as const];
    // Settings that a client has not acknowledged bind it all the same.
    await using deaf = await FrameClient.open(sidecar.port);
    for (let stream = 1; stream <= 7; stream += 2) deaf.headers(stream, fields);
    await eventually(() => deaf.code(7) === REFUSED_STREAM && held.length === 3, SOON);
    for (let stream = 9; stream < 400 && !deaf.closed; stream += 2) deaf.headers(stream, fields);
    await eventually(() => deaf.closed || deaf.has(frameTypes.goaway, 0), SOON);
    await using client = await FrameClient.open(sidecar.port);
    await eventually(() => client.has(frameTypes.settings, 0), SOON);
    client.socket.write(frame(frameTypes.settings, 1, 0));
    for (let stream = 1; stream <= 7; stream += 2) client.headers(stream, fields);
    await eventually(() => client.closed || client.has(frameTypes.goaway, 0), SOON);
    assert.ok(held.length <= 6);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('frames that make no sense end the connection', async () => {
  await using w = await world();
  const senseless: readonly Buffer[] = [
    frame(frameTypes.data, 0, 0, Buffer.from('x')),
    frame(frameTypes.headers, 5, 2, headerBlock(getFields('/even'))),
    frame(frameTypes.continuation, 4, 1, headerBlock(getFields('/alone'))),
    frame(frameTypes.ping, 0, 0, Buffer.alloc(7)),
    frame(frameTypes.settings, 0, 0, Buffer.alloc(5)),
    frame(frameTypes.headers, 5, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff])),
    Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
  ];
  for (const bytes of senseless) {
    await using client = await FrameClient.open(w.sidecar.port);
    client.socket.write(bytes);
    await eventually(() => client.closed || client.has(frameTypes.goaway, 0), SOON);
  }
  await assertServes(w.sidecar);
  assert.equal(w.upstream.seen.length, 1);
});

test('attack 54: a connection without a request is closed after header_timeout, also while a head trickles in', async () => {
  await using w = await world({ header_timeout: '1s' });
  await using silent = await FrameClient.open(w.sidecar.port);
  await using slow = await FrameClient.open(w.sidecar.port);
  slow.socket.write(frame(frameTypes.headers, 1, 1, headerBlock(getFields('/slow'))));
  const block = headerBlock([['x-slow', 'y'.repeat(1000)]]);
  slow.socket.write(frame(frameTypes.continuation, 0, 1, block).subarray(0, 20));
  const trickle = setInterval(() => slow.socket.write('y'), 100);
  try {
    await eventually(() => silent.closed && slow.closed, SOON);
  } finally {
    clearInterval(trickle);
  }
  assert.equal(w.upstream.bytes(), '');
});

test('an idle connection is closed with GOAWAY after keep_alive', async () => {
  await using w = await world({ keep_alive: '1s' });
  await using session = await openHttp2(w.sidecar.proxyUrl);
  const goaway = once(session, 'goaway');
  await askHttp2(session, { ':path': '/', authorization });
  const [code] = await goaway;
  assert.equal(code, 0);
});

test('max_connections counts HTTP/2 connections', async () => {
  await using w = await world({ max_connections: 1 });
  await using session = await openHttp2(w.sidecar.proxyUrl);
  const first = await askHttp2(session, { ':path': '/', authorization });
  assert.equal('status' in first && first.status, 200);
  await using second = await openHttp2(w.sidecar.proxyUrl);
  await eventually(() => second.destroyed, SOON);
});

test('a client that does not close keeps its connection no longer than that', async () => {
  await using w = await world({ keep_alive: '1s' });
  await using client = await FrameClient.open(w.sidecar.port, true);
  client.headers(1, [...getFields('/ok'), ['authorization', authorization]]);
  await eventually(() => client.has(frameTypes.goaway, 0), SOON);
  // Whoever still listened there would take this; a socket that is gone answers with a reset.
  await eventually(() => {
    client.socket.write(frame(frameTypes.ping, 0, 0, Buffer.alloc(8)));
    return client.closed;
  }, SOON);
});
