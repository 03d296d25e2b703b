// Several copies of one application, each a real server on an address of its own that can be told to misbehave, and a sidecar
// before them.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Agent, request } from 'undici';
import type { Clock } from '../../../src/core/clock.ts';
import { freePort } from '../../support/free-port.ts';
import { startSidecar, type TestSidecar } from '../../support/sidecar.ts';

/** What a member does with a request; `hang` never answers, `deaf` reads no body either, `repeat` puts the target into the head twice. */
export type Behaviour = 'answer' | 'deaf' | 'hang' | 'repeat' | 'reset' | number;

/** One copy of the application. */
export interface Member extends AsyncDisposable {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly url: string;
  behaviour: Behaviour;
  /** Status of /healthz; 0 for no answer at all. */
  health: number;
  /** Requests seen but for /healthz: method, target and body. */
  readonly seen: string[];
  readonly checks: IncomingMessage['headers'][];
  /** Connections accepted so far. */
  connections: number;
  /** Connections open now. */
  readonly open: ReadonlySet<Socket>;
  /** Listens again on the same port. */
  start(): Promise<void>;
  /** Closes port and connections, as a killed process does. */
  kill(): void;
}

/** Starts a member. `host`: 127.0.0.1, 127.0.0.2, ::1, or the path of a socket; `port` 0 for any. */
export async function member(name: string, host = '127.0.0.1', port?: number): Promise<Member> {
  const at = port ?? (await freePort());
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  const it: Member = {
    name,
    host,
    port: at,
    url: host.startsWith('/') ? `unix:${host}` : `http://${host.includes(':') ? `[${host}]` : host}:${at}`,
    behaviour: 'answer',
    health: 200,
    seen: [],
    checks: [],
    connections: 0,
    open: sockets,
    async start() {
      server = createServer({ keepAliveTimeout: 60_000 }, (asked, response) => void serve(it, asked, response));
      server.on('connection', (socket) => {
        it.connections += 1;
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
      });
      server.listen(host.startsWith('/') ? { path: host } : { host, port: at });
      await once(server, 'listening');
    },
    kill() {
      server?.close();
      // Not resetAndDestroy: on a socket that is shutting down, node never finishes it, and never exits.
      for (const socket of sockets) socket.destroy();
      server = undefined;
    },
    async [Symbol.asyncDispose]() {
      it.kill();
    },
  };
  await it.start();
  return it;
}

/** At least two, so that the first ones can be named. */
type Two = readonly [Member, Member, ...Member[]];

/** Members m1, m2 and so on. */
export async function several(count: number): Promise<Two & AsyncDisposable> {
  const members = await Promise.all(Array.from({ length: count }, (_, at) => member(`m${at + 1}`)));
  return Object.assign(members as unknown as Two, {
    async [Symbol.asyncDispose]() {
      for (const each of members) each.kill();
    },
  });
}

/** Their urls. */
export const urls = (members: readonly Member[]): string[] => members.map(({ url }) => url);

async function serve(it: Member, asked: IncomingMessage, response: ServerResponse): Promise<void> {
  if (asked.url === '/healthz') {
    it.checks.push(asked.headers);
    if (it.health > 0) response.writeHead(it.health).end();
    return;
  }
  if (it.behaviour === 'deaf') return;
  let body = '';
  try {
    for await (const chunk of asked) body += chunk;
  } catch {
    return;
  }
  it.seen.push(`${asked.method} ${asked.url} ${body}`.trimEnd());
  if (it.behaviour === 'hang') return;
  if (it.behaviour === 'reset') {
    (asked.socket as Socket).resetAndDestroy();
    return;
  }
  if (it.behaviour === 'repeat') {
    response.writeHead(302, { location: `${asked.url}${asked.url}` }).end();
    return;
  }
  const status = it.behaviour === 'answer' ? 200 : it.behaviour;
  response.writeHead(status, { 'x-host': asked.headers.host ?? '' }).end(it.name);
}

/** A sidecar before `urls`, without authentication, with times that suit tests. */
export function before(
  urls: readonly string[] | string,
  settings: object = {},
  lookup?: (host: string) => Promise<readonly string[]>,
  clock?: Clock,
): Promise<TestSidecar> {
  const quick = { breaker: { probe: '100ms' }, queue_timeout: '5s', connect_timeout: '2s' };
  const config = {
    upstreams: { app: { url: urls, ...quick, ...settings } },
    routes: { all: { match: { prefix: '/' }, auth: 'none', response_timeout: '1s' } },
  };
  return startSidecar('', config, {}, clock, lookup);
}

/** One request; the body is the name of the member that answered, or the code of the refusal. */
export async function ask(sidecar: TestSidecar, path = '/', options: { method?: string; body?: string } = {}) {
  const { statusCode, body, headers } = await request(`${sidecar.proxyUrl}${path}`, options as never);
  const text = await body.text();
  const from = statusCode < 400 || !text.startsWith('{') ? text : String(JSON.parse(text).code);
  return { status: statusCode, from, headers };
}

/** What the API says about the endpoints: address and state. */
export async function states(sidecar: TestSidecar): Promise<Record<string, string>> {
  const { endpoints } = (await upstream(sidecar)) as { endpoints: { address: string; state: string }[] };
  return Object.fromEntries(endpoints.map(({ address, state }) => [address, state]));
}

/** The only upstream as `GET /v1/upstreams` shows it. */
export async function upstream(sidecar: TestSidecar): Promise<Record<string, unknown>> {
  const agent = new Agent({ connect: { socketPath: sidecar.socketPath } });
  const { body } = await request('http://localhost/v1/upstreams', { dispatcher: agent });
  const { items } = (await body.json()) as { items: Record<string, unknown>[] };
  await agent.close();
  return items[0] ?? {};
}

/** Value of a metric line that begins with `name`. */
export async function metric(sidecar: TestSidecar, name: string): Promise<number> {
  const { body } = await request(`${sidecar.observeUrl}/metrics`);
  const line = (await body.text()).split('\n').find((each) => each.startsWith(name));
  return Number(line?.split(' ').at(-1) ?? Number.NaN);
}
