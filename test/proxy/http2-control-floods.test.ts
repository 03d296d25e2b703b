// Frames that cost the sender nothing: control frames without end, frames without content, and what makes the server reset streams by
// itself. Each ends its own connection, reaches no upstream more than the limits allow, and makes the process no larger.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
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
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const SOON = 30_000;
const authorization = `Bearer ${tokenFor()}`;
const REPEATS = 200;
const MOST_GROWTH = 200 * 1024 * 1024;
const fields = (method: string, path: string, more: readonly (readonly [string, string])[] = []) =>
  headerBlock([[':method', method], ...getFields(path).slice(1), ['authorization', authorization], ...more]);
const get = fields('GET', '/flood');
const post = fields('POST', '/flood');

/** A sidecar before an application that holds every request until it is given up. */
async function world(proxy: Readonly<Record<string, unknown>> = {}) {
  const counts = { reached: 0, held: 0 };
  const server = createServer((request, response) => {
    if (request.url === '/ok') return void response.end('ok');
    counts.reached += 1;
    counts.held += 1;
    request.resume();
    response.on('close', () => {
      counts.held -= 1;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sidecar = await startSidecar(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {
    proxy: { http2: true, ...proxy },
  });
  return {
    counts,
    sidecar,
    async [Symbol.asyncDispose]() {
      await sidecar[Symbol.asyncDispose]();
      server.closeAllConnections();
      server.close();
    },
  };
}

interface Flood {
  /** Sent once before. */
  readonly before?: Buffer;
  /** Stands for all of them, where the number of the stream does not matter. */
  readonly same?: Buffer;
  readonly each?: (stream: number) => Buffer;
  /** The client reads nothing: answers would pile up here. */
  readonly deaf?: boolean;
}

/** Whoever is not read any more is cut, and hears of that. */
const drained = (socket: Socket) =>
  new Promise<void>((resolve) => {
    const go = () => {
      socket.off('drain', go).off('close', go);
      resolve();
    };
    socket.on('drain', go).on('close', go);
  });

/** Sends until the connection ends. */
async function flood(client: FrameClient, { before, same, each }: Flood): Promise<void> {
  if (before !== undefined) client.socket.write(before);
  const block = same === undefined ? undefined : Buffer.concat(Array.from({ length: REPEATS }, () => same));
  const giveUpMs = performance.now() + SOON;
  for (let stream = 1; !client.closed; stream += 2 * REPEATS) {
    const make = (_none: unknown, at: number) => (each as NonNullable<typeof each>)(stream + 2 * at);
    const chunk = block ?? Buffer.concat(Array.from({ length: REPEATS }, make));
    assert.ok(performance.now() < giveUpMs, 'the connection goes on');
    client.frames.length = 0;
    const goesOn = client.socket.write(chunk);
    if (goesOn) await new Promise(setImmediate);
    else await drained(client.socket);
  }
}

const open = frame(frameTypes.headers, 4, 1, post);
const PING = frame(frameTypes.ping, 0, 0, Buffer.alloc(8));
const begin = (stream: number, block: Buffer, flags: number) => frame(frameTypes.headers, flags, stream, block);
const floods: Readonly<Record<string, Flood>> = {
  'CVE-2019-9512: PINGs whose answers nobody reads': { same: PING, deaf: true },
  'CVE-2019-9515: SETTINGS whose answers nobody reads': { same: frame(frameTypes.settings, 0, 0), deaf: true },
  'CVE-2019-9512: PINGs while a request is under way': { before: open, same: PING },
  'CVE-2019-9515: SETTINGS while a request is under way': { before: open, same: frame(frameTypes.settings, 0, 0) },
  'WINDOW_UPDATE of one byte without end': { before: open, same: frame(8, 0, 0, Buffer.from([0, 0, 0, 1])) },
  'CVE-2019-9518: DATA without content': { before: open, same: frame(frameTypes.data, 0, 1) },
  'CVE-2019-9518: DATA that is padding only': { before: open, same: frame(frameTypes.data, 8, 1, Buffer.from([0])) },
  'CVE-2024-27316: CONTINUATION without content': { before: begin(1, get, 1), same: frame(frameTypes.continuation, 0, 1) },
  'CVE-2019-9513: PRIORITY without end': { before: open, same: frame(2, 0, 1, Buffer.from([0, 0, 0, 0, 16])) },
  'frames of an unknown type': { same: frame(0x42, 0, 0) },
  'CVE-2025-8671: WINDOW_UPDATE of 0 makes the server reset': { each: (id) => Buffer.concat([begin(id, post, 4), frame(8, 0, id, Buffer.alloc(4))]) },
  'CVE-2025-8671: WINDOW_UPDATE beyond the window': { each: (id) => Buffer.concat([begin(id, post, 4), frame(8, 0, id, Buffer.from([0x7f, 255, 255, 255]))]) },
  'CVE-2025-8671: DATA behind the end': { each: (id) => Buffer.concat([begin(id, get, 5), frame(frameTypes.data, 0, id, Buffer.from('x'))]) },
  'CVE-2025-8671: HEADERS behind the end': { each: (id) => Buffer.concat([begin(id, get, 5), begin(id, get, 5)]) },
  'CVE-2025-8671: PRIORITY of a wrong length': { each: (id) => Buffer.concat([begin(id, post, 4), frame(2, 0, id, Buffer.alloc(4))]) },
  'CVE-2025-8671: a body longer than its content-length': { each: (id) => Buffer.concat([begin(id, fields('POST', '/flood', [['content-length', '1']]), 4), frame(frameTypes.data, 1, id, Buffer.from('xx'))]) },
  'CVE-2025-8671: trailers with pseudo-fields': { each: (id) => Buffer.concat([begin(id, post, 4), begin(id, headerBlock([[':path', '/']]), 5)]) },
  'heads that are malformed': { each: (id) => begin(id, fields('GET', '/flood', [['connection', 'close']]), 5) },
}; // biome-ignore format: a list

for (const [name, how] of Object.entries(floods)) {
  test(`${name}: the connection ends, and nothing of it stays`, async () => {
    await using w = await world();
    await using client = await FrameClient.open(w.sidecar.port);
    if (how.deaf) client.socket.pause();
    const before = process.memoryUsage().rss;
    await flood(client, how);
    assert.ok(process.memoryUsage().rss - before < MOST_GROWTH);
    // The requests of the connection end with it, and were no more than http2_streams and the burst of resets allow.
    await eventually(() => w.counts.held === 0, SOON);
    assert.ok(w.counts.reached < 1000, `${w.counts.reached} requests reached the upstream`);
    await using session = await openHttp2(w.sidecar.proxyUrl);
    const answer = await askHttp2(session, { ':path': '/ok', authorization });
    assert.equal('status' in answer && answer.status, 200);
  });
}
