// What the tests of fronts share: an application that echoes, streams and counts, Doorward, and a front before them. Requests
// come from the address that a test names, all of them on loopback.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Agent, request } from 'undici';
import type { Daemon } from '../support/daemon.ts';
import type { Front } from '../support/fronts.ts';
import { startSidecar, type TestSidecar } from '../support/sidecar.ts';

/** The application behind it all. */
export interface Application extends AsyncDisposable {
  readonly port: number;
  /** Heads of the requests that reached it, names in lower case. */
  readonly seen: { readonly method: string; readonly url: string; readonly headers: IncomingMessage['headers'] }[];
  /** Lengths of the bodies that arrived whole. */
  readonly uploads: readonly number[];
  /** Lets the event streams that are open say their last event. */
  endStreams(): void;
}

/** Starts the application: `/events` streams, `/upload` answers length and SHA-256 of the body, the rest is 200. */
export async function startApplication(): Promise<Application> {
  const seen: Application['seen'] = [];
  const uploads: number[] = [];
  const streams = new Set<ServerResponse>();
  const sockets = new Set<Socket>();
  const server = createServer({ keepAliveTimeout: 60_000 }, async (request, response) => {
    const { method = '', url = '', headers } = request;
    seen.push({ method, url, headers });
    if (url.startsWith('/events')) {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: first\n\n');
      streams.add(response);
      return;
    }
    const hash = createHash('sha256');
    let length = 0;
    try {
      for await (const chunk of request) {
        length += (chunk as Buffer).length;
        hash.update(chunk as Buffer);
      }
    } catch {
      // Given up in the middle.
      return;
    }
    if (length > 0) uploads.push(length);
    response.end(`${length} ${hash.digest('hex')}`);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    seen,
    uploads,
    endStreams() {
      for (const stream of streams) stream.end('data: last\n\n');
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** What a client gets. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** A front before Doorward before an application. */
export interface FrontWorld extends AsyncDisposable {
  readonly application: Application;
  readonly sidecar: TestSidecar;
  readonly front: Daemon;
  /** Sends a request through the front; from 127.0.0.1 unless `from` says another address. */
  ask(
    path: string,
    options?: { method?: string; headers?: Record<string, string>; body?: Buffer; from?: string },
  ): Promise<Answer>;
}

/** Starts all three; `config` as for startSidecar. The front is trusted, and may ask for verdicts if it is one that asks. */
export async function frontWorld(front: Front, config: Readonly<Record<string, unknown>> = {}): Promise<FrontWorld> {
  await using stack = new AsyncDisposableStack();
  const application = stack.use(await startApplication());
  const { proxy = {}, ...rest } = config as { proxy?: object };
  const sidecar = stack.use(
    await startSidecar(`http://127.0.0.1:${application.port}`, {
      proxy: {
        listen: '127.0.0.1:0',
        trusted_proxies: ['127.0.0.1/32'],
        endpoints: { verdict: front.asks },
        bad_tokens: '1000000/1m',
        ...proxy,
      },
      ...rest,
    }),
  );
  const daemon = stack.use(await front.start({ doorward: sidecar.port, application: application.port }));
  const agents = new Map<string, Agent>();
  stack.defer(async () => {
    for (const agent of agents.values()) await agent.destroy();
  });
  const agentFor = (from: string) => {
    const agent = agents.get(from) ?? new Agent({ localAddress: from });
    agents.set(from, agent);
    return agent;
  };
  const owned = stack.move();
  return {
    application,
    sidecar,
    front: daemon,
    async ask(path, { method = 'GET', headers = {}, body, from = '127.0.0.1' } = {}) {
      const all = { host: 'shop.test', ...headers };
      const dispatcher = agentFor(from);
      const options = { method: method as 'GET', headers: all, dispatcher, body: body ?? null };
      const answer = await request(`${daemon.url}${path}`, options);
      return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** `Authorization: Bearer …` as a header. */
export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
