// The application behind the soaked sidecar: echoes what it got with the number of the request, streams large and slow
// bodies and events, and reports every request it saw.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Ledger } from './ledger.ts';

/** The application. */
export interface SoakUpstream extends AsyncDisposable {
  readonly url: string;
  /** Responses and request bodies under way. */
  readonly open: () => number;
}

/** What `/echo` answers. */
export interface Echo {
  readonly seq: string;
  readonly method: string;
  readonly subject: string | undefined;
  readonly bytes: number;
  readonly sha256: string;
}

const CHUNK = 64 * 1024;

/** The bytes of `/blob`: told apart by the number, made in chunks. */
export function* blob(seq: string, size: number): Generator<Buffer> {
  for (let left = size; left > 0; left -= CHUNK) yield Buffer.alloc(Math.min(CHUNK, left), `${seq}.`);
}

/** Digest of what {@link blob} yields. */
export function blobDigest(seq: string, size: number): string {
  const hash = createHash('sha256');
  for (const chunk of blob(seq, size)) hash.update(chunk);
  return hash.digest('hex');
}

/** Starts it on a free port. */
export async function soakUpstream(ledger: Ledger): Promise<SoakUpstream> {
  let open = 0;
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    const seq = request.headers['x-soak-seq'] as string | undefined;
    ledger.saw(seq);
    open += 1;
    serve(seq ?? '', request, response)
      // The sidecar gave up because its client did.
      .catch(() => response.destroy())
      .finally(() => {
        open -= 1;
      });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    open: () => open,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function serve(seq: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, what, first = '0', second = '0'] = (request.url as string).split('/');
  response.setHeader('x-soak-seq', seq);
  if (what === 'blob') return sendBlob(response, seq, Number(first));
  if (what === 'drip') return pipeline(Readable.from(drip(Number(first), Number(second))), response);
  if (what === 'events') return sendEvents(response, seq, Number(first));
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  const subject = request.headers['x-auth-subject'] as string | undefined;
  const echo: Echo = { seq, method: request.method as string, subject, bytes, sha256: hash.digest('hex') };
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(echo));
}

function sendBlob(response: ServerResponse, seq: string, size: number): Promise<void> {
  response.setHeader('content-length', size);
  return pipeline(Readable.from(blob(seq, size)), response);
}

async function* drip(chunks: number, everyMs: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < chunks; at += 1) {
    yield Buffer.alloc(1024, 'd');
    await delay(everyMs);
  }
}

async function sendEvents(response: ServerResponse, seq: string, count: number): Promise<void> {
  response.setHeader('content-type', 'text/event-stream');
  async function* events() {
    for (let at = 0; at < count; at += 1) {
      yield `id: ${at}\ndata: ${seq}\n\n`;
      await delay(50);
    }
  }
  return pipeline(Readable.from(events()), response);
}
