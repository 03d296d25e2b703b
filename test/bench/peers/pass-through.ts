// The bare pass-through that Doorward is held against: the same Node and undici, no checks, written as well as it can be.
// Raw fields in, hop-by-hop fields dropped, a handler object, head and body in one write. A program of its own:
// `node pass-through.ts <port> <upstream port>`.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type Dispatcher, Pool } from 'undici';

const hopByHop = new Set(['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect']);
hopByHop.add('proxy-connection').add('proxy-authenticate').add('proxy-authorization');

/** By spelling, so that the common case is one look-up; bounded, as clients choose the names. */
const droppedBySpelling = new Map<string, boolean>();

function isDropped(name: string): boolean {
  const known = droppedBySpelling.get(name);
  if (known !== undefined) return known;
  const dropped = hopByHop.has(name.toLowerCase());
  if (droppedBySpelling.size < 1000) droppedBySpelling.set(name, dropped);
  return dropped;
}

type Fields = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2];

class Transit implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  #controller: Dispatcher.DispatchController | undefined;
  #remaining = -1;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.once('close', this.#onClose);
  }

  readonly #onClose = () => {
    if (!this.#response.writableFinished) this.#controller?.abort(new Error('client gone'));
  };

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, fields: Fields, text?: string): void {
    if (status < 200) return;
    const out: string[] = [];
    for (const name in fields) {
      if (hopByHop.has(name)) continue;
      const value = fields[name];
      if (typeof value === 'string') out.push(name, value);
      else if (value !== undefined) for (const one of value) out.push(name, one);
    }
    const length = fields['content-length'];
    if (typeof length === 'string') this.#remaining = Number(length);
    this.#response.writeHead(status, text ?? '', out);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#remaining === chunk.length) {
      this.#response.end(chunk);
      return;
    }
    this.#remaining -= chunk.length;
    if (this.#response.write(chunk)) return;
    controller.pause();
    this.#response.once('drain', () => controller.resume());
  }

  onResponseEnd(): void {
    if (!this.#response.writableEnded) this.#response.end();
  }

  onResponseError(): void {
    if (this.#response.headersSent) this.#response.destroy();
    else this.#response.writeHead(502).end();
  }
}

const [port, upstreamPort] = process.argv.slice(2);
const pool = new Pool(`http://127.0.0.1:${upstreamPort}`, { connections: 128, pipelining: 1 });

function onRequest(request: IncomingMessage, response: ServerResponse): void {
  const { rawHeaders } = request;
  const headers: string[] = [];
  let hasBody = false;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (!isDropped(name)) headers.push(name, rawHeaders[at + 1] as string);
  }
  if (request.method !== 'GET') {
    const { headers: parsed } = request;
    hasBody = parsed['transfer-encoding'] !== undefined || (parsed['content-length'] ?? '0') !== '0';
  }
  const method = request.method as Dispatcher.HttpMethod;
  pool.dispatch(
    { path: request.url as string, method, headers, body: hasBody ? request : null },
    new Transit(response),
  );
}

const server = createServer({ keepAliveTimeout: 75_000, requestTimeout: 0 }, onRequest);
server.listen(Number(port), '127.0.0.1');
process.once('SIGTERM', () => process.exit(0));
