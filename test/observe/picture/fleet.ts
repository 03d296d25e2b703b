// What the picture of the dashboard shows: two replicas of the real program, configured alike, before two applications, with
// Redis, PostgreSQL, TLS, an issuer of their own, a foreign one on the network, and a collector of traces.
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { type Running, scratchFolder, start } from '../../cli/processes.ts';
import { testAuthority } from '../../support/certificates.ts';
import { freePort } from '../../support/free-port.ts';
import { type JwksServer, mintKey, mintToken, startJwksServer } from '../../support/minting.ts';
import { otlpReceiver } from '../../support/otlp-receiver.ts';
import { openTestDatabase, postgresConfig, type TestDatabase } from '../../support/postgres-server.ts';
import { type RedisServer, startRedis } from '../../support/redis-server.ts';

/** An application that can be ended and started again on its port. */
export interface Application extends AsyncDisposable {
  readonly url: string;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** One replica. */
export interface Replica extends AsyncDisposable {
  readonly proxyUrl: string;
  /** host:port */
  readonly observe: string;
  /** A call of the admin API over its socket; resolves to the body. Rejects unless the answer is 2xx. */
  admin(method: 'GET' | 'POST', path: string, body?: object): Promise<Record<string, unknown>>;
  /** Writes the configuration with `more` at the top level, and has it loaded. */
  reload(more?: object): Promise<void>;
}

/** All of it. */
export interface Fleet extends AsyncDisposable {
  readonly replicas: readonly [Replica, Replica];
  readonly applications: readonly [Application, Application];
  readonly redis: RedisServer;
  readonly database: TestDatabase;
  /** PEM that clients trust. */
  readonly authority: string;
  /** A token of the foreign issuer; `forged`: signed with a key that is not its own. */
  token(claims: Readonly<Record<string, unknown>>, forged?: 'forged'): string;
}

/** Starts everything. */
export async function startFleet(): Promise<Fleet> {
  await using opening = new AsyncDisposableStack();
  const redis = opening.use(await startRedis('--maxmemory-policy', 'noeviction'));
  const database = opening.use(await openTestDatabase());
  const key = mintKey('ES256');
  const forger = mintKey('ES256');
  const issuer = opening.use(await startJwksServer([key.jwk]));
  const collector = opening.use(await otlpReceiver());
  const authority = opening.adopt(testAuthority(), (each) => each[Symbol.dispose]());
  const served = authority.issue('shop', 'DNS:localhost,IP:127.0.0.1', 'serverAuth', 60);
  const applications = [opening.use(await startApplication()), opening.use(await startApplication())] as const;
  const config = {
    ...fleetConfig(issuer, applications),
    ...postgresConfig(database, { timeout: '2s' }),
    redis: { url: { value: redis.url }, timeout: '1s' },
    tracing: { endpoint: collector.url, ratio: 0.2 },
    proxy: {
      listen: '127.0.0.1:0',
      drain: { delay: '0s', timeout: '2s' },
      tls: { certificates: [{ certificate: { value: served.certificate }, key: { value: served.key } }] },
    },
  };
  const replica = async () => opening.use(await startReplica(config));
  const replicas = [await replica(), await replica()] as const;
  const opened = opening.move();
  return {
    ...{ replicas, applications, redis, database, authority: authority.certificate },
    token: (claims, forged) => mintToken(forged ? forger : key, issuer.url, Date.now(), { claims: { ...claims } }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** What a small shop would write. Ports are 0: the same text for both replicas. */
function fleetConfig(issuer: JwksServer, applications: readonly Application[]) {
  return {
    version: 1,
    name: 'shop',
    admin: { listen: '127.0.0.1:0' },
    observe: { listen: '127.0.0.1:0' },
    upstreams: { app: { url: applications.map(({ url }) => url), streams_per_caller: 20 } },
    issuers: {
      corp: { issuer: issuer.url, audience: ['api'], keys: { url: `${issuer.url}/jwks`, refresh: '1m' } },
      shop: { issuer: 'https://id.shop.example', audience: ['api'], sign: {} },
    },
    limits: {
      per_subject: { key: 'subject', rate: '150/1m' },
      reports: { key: 'subject', rate: '1000/1m', on_store_down: 'deny' },
      per_client: { key: 'client', rate: '1000/1m', mode: 'shadow' },
    },
    defaults: { issuers: ['corp', 'shop'] },
    routes: {
      catalog: { match: { prefix: '/catalog' }, auth: 'none' },
      orders: { match: { prefix: '/orders' }, limits: ['per_subject', 'per_client'] },
      reports: { match: { prefix: '/reports' }, require: { scopes: ['reports'] }, limits: ['reports'] },
      events: { match: { prefix: '/events' }, stream: true },
    },
    log: { level: 'warn', decisions: { allow: 0, deny: 0 } },
  };
}

async function startReplica(config: object): Promise<Replica> {
  await using opening = new AsyncDisposableStack();
  const folder = opening.use(scratchFolder());
  const write = (more: object) => writeFileSync(folder.file('sidecar.yaml'), JSON.stringify({ ...config, ...more }));
  write({ log: { level: 'info', decisions: { allow: 0, deny: 0 } } });
  const program: Running = opening.use(start(['run'], { cwd: folder.path }));
  const [line] = await program.until(/^.*"event":"listening".*$/m);
  const { proxy, observe } = JSON.parse(line) as { proxy: string; observe: string };
  const operator = new Agent({ connect: { socketPath: join(folder.path, '.doorward/admin.sock') } });
  opening.defer(() => operator.destroy());
  const admin: Replica['admin'] = async (method, path, body) => {
    const { statusCode, body: answer } = await request(`http://admin${path}`, {
      dispatcher: operator,
      method,
      ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (statusCode >= 300) throw new Error(`${method} ${path}: ${statusCode} ${text}`);
    return JSON.parse(text) as Record<string, unknown>;
  };
  const reload = async (more: object = {}) => {
    write(more);
    await admin('POST', '/v1/config/reload');
  };
  await reload();
  const opened = opening.move();
  const dispose = () => opened.disposeAsync();
  return { proxyUrl: proxy, observe: new URL(observe).host, admin, reload, [Symbol.asyncDispose]: dispose };
}

/** Answers as an application does, a little late, and streams below /events. */
function answer(asked: IncomingMessage, response: ServerResponse): void {
  if (asked.url?.startsWith('/events')) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    return void response.write('data: one\n\n');
  }
  const late = asked.url?.startsWith('/reports') ? 40 : 4;
  setTimeout(() => response.end('fine'), late + Math.random() * late * 4);
}

async function startApplication(): Promise<Application> {
  const port = await freePort();
  let server: Server | undefined;
  const start = async () => {
    const next = createServer({ keepAliveTimeout: 60_000 }, answer).listen(port, '127.0.0.1');
    server = next;
    await new Promise((resolve) => next.once('listening', resolve));
  };
  const stop = async () => {
    const last = server;
    server = undefined;
    if (last === undefined) return;
    const closed = new Promise((resolve) => last.once('close', resolve));
    last.close();
    last.closeAllConnections();
    await closed;
  };
  await start();
  return { url: `http://127.0.0.1:${port}`, start, stop, [Symbol.asyncDispose]: stop };
}
