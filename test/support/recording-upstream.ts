// A real upstream that writes down every byte it gets and echoes requests as JSON, so that "refused" can also assert that
// the upstream saw nothing.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** A request as the upstream saw it. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** An upstream under test control. */
export interface RecordingUpstream extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly seen: SeenRequest[];
  /** Everything received, latin1, over all connections. */
  bytes(): string;
  clear(): void;
}

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

const echo: Handler = (request, response, body) => {
  const text = JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body });
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
};

/** Starts the upstream; `handler` replaces the echo. */
export async function recordingUpstream(handler: Handler = echo): Promise<RecordingUpstream> {
  const seen: SeenRequest[] = [];
  let bytes = '';
  const sockets = new Set<Socket>();
  const server = createServer({ insecureHTTPParser: false, keepAliveTimeout: 60_000 }, async (request, response) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      // The proxy gave the request up: what was seen until then stands in `bytes`.
      return;
    }
    const body = Buffer.concat(chunks).toString('latin1');
    const { method = '', url = '', rawHeaders, headers } = request;
    seen.push({ method, url, rawHeaders, headers, body });
    handler(request, response, body);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('data', (chunk) => {
      bytes += chunk.toString('latin1');
    });
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    seen,
    bytes: () => bytes,
    clear() {
      seen.length = 0;
      bytes = '';
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
