// A sidecar with traces, an application that writes down what it was told of them, and the collector that gets the spans.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { otlpReceiver, type ReceivedSpan } from '../support/otlp-receiver.ts';
import { type RawResponse, sendRaw } from '../support/raw-client.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

/** Kinds of spans. */
export const kinds = { internal: 1, server: 2, client: 3 } as const;

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** An application; /slow is never answered, /broken is 500, /cut stops in its middle until `cut` ends it there. */
async function application() {
  const seen: { readonly url: string; readonly headers: IncomingMessage['headersDistinct'] }[] = [];
  const note = ({ url = '', headersDistinct }: IncomingMessage) => seen.push({ url, headers: headersDistinct });
  const half = new Set<Socket>();
  const server = createServer((request, response) => {
    note(request);
    if (request.url?.startsWith('/slow')) return;
    if (request.url?.startsWith('/cut')) {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half');
      half.add(request.socket);
      return;
    }
    response.writeHead(request.url?.startsWith('/broken') ? 500 : 200).end('served');
  });
  server.on('upgrade', (request, socket) => {
    note(request);
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${GUID}`).digest('base64');
    const fields = `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}`;
    socket.on('error', () => {});
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n\r\n`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    seen,
    cut: () => half.forEach((socket) => void socket.destroy()),
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** What tests say of the configuration. */
export interface TracedOptions {
  /** Of `tracing`; null for a sidecar without it. */
  readonly tracing?: object | null;
  /** The client is a trusted proxy. */
  readonly trusted?: boolean;
  readonly config?: Readonly<Record<string, unknown>>;
}

/** The open world. */
export type Traced = Awaited<ReturnType<typeof traced>>;

/** Starts it; every request is traced unless told otherwise. */
export async function traced({ tracing = {}, trusted = false, config = {} }: TracedOptions = {}) {
  const closing = new AsyncDisposableStack();
  const app = closing.use(await application());
  const collector = closing.use(await otlpReceiver());
  const { proxy = {}, ...rest } = config as { proxy?: object };
  const sidecar = closing.use(
    await startSidecar(app.url, {
      ...(tracing !== null && { tracing: { endpoint: collector.url, ratio: 1, ...tracing } }),
      limits: { few: { key: 'subject', rate: '1/1h' } },
      routes: {
        open: { match: { prefix: '/open' }, auth: 'none' },
        limited: { match: { prefix: '/limited' }, limits: ['few'] },
        scoped: { match: { prefix: '/scoped' }, require: { scopes: ['never'] } },
        slow: { match: { prefix: '/slow' }, response_timeout: '300ms' },
        item: { match: { path: '/items/{id}' } },
        all: { match: { prefix: '/' } },
      },
      ...rest,
      proxy: { ...(trusted && { trusted_proxies: ['127.0.0.1'] }), ...proxy },
    }),
  );
  const token = tokenFor();
  const ask = async (path: string, ...fields: readonly string[]): Promise<RawResponse> => {
    const lines = fields.map((field) => `${field}\r\n`).join('');
    const head = `GET ${path} HTTP/1.1\r\nHost: app.test\r\n${lines}\r\n`;
    const { responses } = await sendRaw(sidecar.port, head, { timeoutMs: 30_000 });
    const [response] = responses;
    assert.ok(response !== undefined, 'no answer');
    return response;
  };
  return {
    app,
    collector,
    sidecar,
    token,
    ask,
    /** Statuses of `count` requests at once. */
    askMany: (path: string, count: number): Promise<number[]> =>
      Promise.all(
        Array.from({ length: count }, async () => {
          const response = await fetch(`${sidecar.proxyUrl}${path}`);
          await response.arrayBuffer();
          return response.status;
        }),
      ),
    /** With a good token. */
    get: (path: string, ...fields: readonly string[]) => ask(path, `Authorization: Bearer ${token}`, ...fields),
    /** Waits for all spans of a request that was just answered, by name. */
    async spansOf({ headers }: RawResponse): Promise<Readonly<Record<string, ReceivedSpan>>> {
      // Refusals tell their id to the client, everything else to the application.
      const id = headers['x-request-id'] ?? app.seen.at(-1)?.headers['x-request-id']?.[0];
      assert.ok(id !== undefined);
      return spansOf(collector.spans, await serverSpan(collector, id));
    },
    async [Symbol.asyncDispose]() {
      await closing.disposeAsync();
    },
  };
}

async function serverSpan(collector: Awaited<ReturnType<typeof otlpReceiver>>, id: string): Promise<ReceivedSpan> {
  const find = () => collector.spans.find(({ attributes }) => attributes['doorward.request_id'] === id);
  for (let count = collector.spans.length; find() === undefined; ) count = (await collector.received(count + 1)).length;
  return find() as ReceivedSpan;
}

/** The server span of a request and those below it, by name; the client span as `upstream`. */
function spansOf(all: readonly ReceivedSpan[], server: ReceivedSpan): Readonly<Record<string, ReceivedSpan>> {
  const below = all.filter(({ parentSpanId }) => parentSpanId === server.spanId);
  const named = below.map((span) => [span.kind === kinds.client ? 'upstream' : span.name, span] as const);
  assert.equal(new Set(named.map(([name]) => name)).size, named.length, 'a span stands twice');
  for (const span of below) assert.equal(span.traceId, server.traceId);
  return { server, ...Object.fromEntries(named) };
}
