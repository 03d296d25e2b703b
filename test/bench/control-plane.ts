// How long the control plane takes (row L26): the real program twice on one Redis and one PostgreSQL 18 that waits for its disk.
// Token operations one after another; a revocation from its call on replica A until replica B refuses for the first time, B
// asked over one kept connection back to back. `node test/bench/control-plane.ts [--seconds N]`. Decides nothing by time.
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from 'undici';
import type { SidecarInput } from '../../src/config/schema.ts';
import { basicField, challengeOf, REDIRECT } from '../identity/world.ts';
import { freePort } from '../support/free-port.ts';
import { startPostgres } from '../support/postgres-server.ts';
import { startRedis } from '../support/redis-server.ts';
import { beAlone } from './alone.ts';
import { type Child, interrupt, startChild, untilServing } from './children.ts';

/** One measured operation; milliseconds. */
interface Figure {
  readonly what: string;
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly most: number;
}

interface Surroundings {
  readonly dir: string;
  readonly redisUrl: string;
  readonly postgresUrl: string;
  readonly upstreamUrl: string;
  readonly issuer: string;
  readonly kek: string;
}

interface Replica {
  readonly child: Child;
  readonly admin: Connection;
  readonly proxy: Connection;
}

const MAIN = resolve(import.meta.dirname, '../../src/main.ts');
const WARM_UP = 20;
const roomy = { key: 'ip' as const, rate: '1000000000/1m' };
const endpointNames = ['token', 'introspect', 'revoke', 'register', 'userinfo', 'documents', 'failures'] as const;

/** One kept connection: a call on it waits for nothing but its answer. */
class Connection {
  readonly #client: Client;

  constructor(port: number) {
    this.#client = new Client(`http://127.0.0.1:${port}`, { pipelining: 1, keepAliveTimeout: 60_000 });
  }

  // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
  async ask(method: 'GET' | 'POST', path: string, headers: Record<string, string>, body?: string): Promise<any> {
    const answer = await this.#client.request({ method, path, headers, ...(body === undefined ? {} : { body }) });
    const text = await answer.body.text();
    return { status: answer.statusCode, json: text.startsWith('{') ? JSON.parse(text) : undefined, text };
  }

  close(): Promise<void> {
    return this.#client.destroy();
  }
}

function configuration(at: Surroundings, name: string, ports: readonly number[], oauth: boolean): SidecarInput {
  const [proxy, admin, observe] = ports.map((port) => `127.0.0.1:${port}`) as [string, string, string];
  return {
    version: 1,
    name: 'bench',
    state_dir: join(at.dir, name),
    proxy: { listen: proxy, drain: { delay: '0s', timeout: '1s' }, endpoints: { oauth } },
    admin: { listen: admin },
    observe: { listen: observe },
    upstreams: { app: { url: at.upstreamUrl } },
    issuers: { self: { issuer: at.issuer, audience: ['api'], sign: {} } },
    limits: { roomy },
    oauth: { limits: Object.fromEntries(endpointNames.map((endpoint) => [endpoint, 'roomy'])) },
    routes: { all: { match: { prefix: '/' } } },
    redis: { url: { value: at.redisUrl } },
    postgres: { url: { value: at.postgresUrl } },
    sealing: { kek: { key: { value: at.kek } } },
    log: { level: 'info', decisions: { allow: 0, deny: 0 } },
  };
}

async function startReplica(at: Surroundings, name: string, proxyPort: number, oauth: boolean): Promise<Replica> {
  const [adminPort, observePort] = [await freePort(), await freePort()];
  const file = join(at.dir, `${name}.yaml`);
  // JSON is YAML.
  writeFileSync(file, JSON.stringify(configuration(at, name, [proxyPort, adminPort, observePort], oauth)));
  const args = [MAIN, 'run', '--config', file];
  const child = startChild({ name, dir: at.dir, command: process.execPath, args, cores: undefined });
  await untilServing(child, observePort, '/readyz');
  return { child, admin: new Connection(adminPort), proxy: new Connection(proxyPort) };
}

const rounded = (ms: number) => Math.round(ms * 100) / 100;

function figure(what: string, takenMs: readonly number[]): Figure {
  const sorted = takenMs.toSorted((a, b) => a - b);
  const at = (share: number) =>
    rounded(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN);
  return { what, count: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99), most: at(1) };
}

/** Runs `work` for some seconds, one after another; `prepare` is not measured. */
async function measure<T>(
  what: string,
  seconds: number,
  prepare: () => Promise<T> | T,
  work: (prepared: T) => Promise<unknown>,
): Promise<Figure> {
  const takenMs: number[] = [];
  let endsAtMs = Number.POSITIVE_INFINITY;
  for (let turn = 0; performance.now() < endsAtMs; turn += 1) {
    if (turn === WARM_UP) endsAtMs = performance.now() + seconds * 1000;
    const prepared = await prepare();
    const beganMs = performance.now();
    await work(prepared);
    if (turn >= WARM_UP) takenMs.push(performance.now() - beganMs);
  }
  const done = figure(what, takenMs);
  console.error(`${what}: p95 ${done.p95} ms of ${done.count}`);
  return done;
}

/** Calls of one client, of the application and of an operator. */
class Caller {
  readonly #a: Replica;
  readonly #b: Replica;
  readonly #operator: Record<string, string>;
  #client = { id: '', secret: '' };

  constructor(a: Replica, b: Replica, operatorToken: string) {
    this.#a = a;
    this.#b = b;
    this.#operator = { authorization: `Bearer ${operatorToken}`, 'content-type': 'application/json' };
  }

  async register(): Promise<void> {
    const grantTypes = ['client_credentials', 'authorization_code', 'refresh_token'];
    const draft = { name: 'bench', grant_types: grantTypes, redirect_uris: [REDIRECT], scopes: ['read'] };
    const { client_id: id, client_secret: secret } = await this.admin('/v1/clients', draft);
    this.#client = { id, secret };
  }

  // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
  async admin(path: string, body: object): Promise<any> {
    const { status, json, text } = await this.#a.admin.ask('POST', path, this.#operator, JSON.stringify(body));
    if (status !== 201 && status !== 200) throw new Error(`${path}: ${status} ${text}`);
    return json;
  }

  // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
  async oauth(endpoint: string, form: Record<string, string>): Promise<any> {
    const headers = {
      authorization: basicField(this.#client.id, this.#client.secret),
      'content-type': 'application/x-www-form-urlencoded',
    };
    const body = new URLSearchParams(form).toString();
    const { status, json, text } = await this.#a.proxy.ask('POST', `/.doorward/oauth/${endpoint}`, headers, body);
    if (status !== 200) throw new Error(`${endpoint}: ${status} ${text}`);
    return json;
  }

  /** A code with everything that redeems it. */
  async code(): Promise<Record<string, string>> {
    const verifier = randomBytes(32).toString('base64url');
    const { code } = await this.admin('/v1/codes', {
      client_id: this.#client.id,
      redirect_uri: REDIRECT,
      subject: 'alice',
      code_challenge: challengeOf(verifier),
      code_challenge_method: 'S256',
    });
    return { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: verifier };
  }

  async accessToken(): Promise<string> {
    return (await this.oauth('token', { grant_type: 'client_credentials' })).access_token;
  }

  /** Status that replica B answers. */
  async other(token: string): Promise<number> {
    return (await this.#b.proxy.ask('GET', '/x', { authorization: `Bearer ${token}` })).status;
  }

  /** A token that B has let through, so that it stands in every cache there. */
  async knownToken(): Promise<string> {
    const token = await this.accessToken();
    const status = await this.other(token);
    if (status !== 200) throw new Error(`replica B answers ${status} to a good token`);
    return token;
  }
}

/** Milliseconds until the call was answered, and until B refused, both since the call began; B is asked all the while. */
async function revocation(
  caller: Caller,
  token: string,
): Promise<{ readonly calledMs: number; readonly refusedMs: number }> {
  const beganMs = performance.now();
  const called = caller.admin('/v1/revocations', { token }).then(() => performance.now() - beganMs);
  while ((await caller.other(token)) !== 401) {
    if (performance.now() - beganMs > 10_000) throw new Error('replica B never refused');
  }
  const refusedMs = performance.now() - beganMs;
  return { calledMs: await called, refusedMs };
}

async function measureAll(caller: Caller, seconds: number): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  const add = async <T>(what: string, prepare: () => Promise<T> | T, work: (prepared: T) => Promise<unknown>) =>
    void figures.push(await measure(what, seconds, prepare, work));
  await add(
    'token: client_credentials',
    () => undefined,
    () => caller.accessToken(),
  );
  await add(
    'token: authorization_code',
    () => caller.code(),
    (form) => caller.oauth('token', form),
  );
  let refresh: string = (await caller.oauth('token', await caller.code())).refresh_token;
  await add(
    'token: refresh_token',
    () => undefined,
    async () => {
      refresh = (await caller.oauth('token', { grant_type: 'refresh_token', refresh_token: refresh })).refresh_token;
    },
  );
  const held = await caller.accessToken();
  await add(
    'introspect',
    () => undefined,
    () => caller.oauth('introspect', { token: held }),
  );
  await add(
    'revoke by its client (RFC 7009)',
    () => caller.accessToken(),
    (token) => caller.oauth('revoke', { token }),
  );
  await add(
    'revoke by an operator, the call alone',
    () => caller.knownToken(),
    (token) => caller.admin('/v1/revocations', { token }),
  );
  const calledMs: number[] = [];
  await add(
    'revocation: call on A to first refusal on B',
    () => caller.knownToken(),
    async (token) => {
      const { calledMs: ms } = await revocation(caller, token);
      calledMs.push(ms);
    },
  );
  figures.push(figure('  the same calls, until answered', calledMs.slice(WARM_UP)));
  return figures;
}

function printTable(figures: readonly Figure[]): void {
  const width = Math.max(...figures.map(({ what }) => what.length));
  console.log(`| ${'ms'.padEnd(width)} | count |    p50 |    p95 |    p99 |    max |`);
  console.log(`|${'-'.repeat(width + 2)}|------:|-------:|-------:|-------:|-------:|`);
  for (const { what, count, p50, p95, p99, most } of figures) {
    const cells = [p50, p95, p99, most].map((ms) => ms.toFixed(2).padStart(6)).join(' | ');
    console.log(`| ${what.padEnd(width)} | ${String(count).padStart(5)} | ${cells} |`);
  }
}

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '5' } } });
const seconds = Number(values.seconds);
if (!(seconds > 0 && seconds <= 120)) throw new Error('--seconds needs a number up to 120');
await beAlone();
process.once('SIGINT', interrupt);
await using ends = new AsyncDisposableStack();
const dir = mkdtempSync(join(tmpdir(), 'doorward-bench-'));
ends.defer(() => rmSync(dir, { recursive: true, force: true }));
const upstream = createServer((_, response) => response.end('ok')).listen(0, '127.0.0.1');
ends.defer(() => void upstream.close());
const redis = ends.use(await startRedis());
const server = ends.use(await startPostgres(18, { fsync: 'on', full_page_writes: 'on' }));
const proxyPort = await freePort();
const surroundings: Surroundings = {
  dir,
  redisUrl: redis.url,
  postgresUrl: server.url,
  upstreamUrl: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`,
  issuer: `http://127.0.0.1:${proxyPort}`,
  kek: randomBytes(32).toString('base64'),
};
const loadBefore = loadavg();
const a = await startReplica(surroundings, 'a', proxyPort, true);
ends.defer(() => a.child.stop());
const b = await startReplica(surroundings, 'b', await freePort(), false);
ends.defer(() => b.child.stop());
const caller = new Caller(a, b, readFileSync(join(dir, 'a', 'admin.token'), 'utf8').trim());
await caller.register();
const figures = await measureAll(caller, seconds);
printTable(figures);
const about = {
  at: new Date().toISOString(),
  seconds,
  cores: cpus().length,
  node: process.version,
  postgres: 'fsync on',
};
const load = { before: loadBefore.map(rounded), after: loadavg().map(rounded) };
console.log(`${cpus().length} cores, load average ${load.before.join(' ')} before, ${load.after.join(' ')} after`);
const results = join(import.meta.dirname, 'results');
mkdirSync(results, { recursive: true });
const file = join(results, `control-plane-${about.at.replaceAll(/[:.]/g, '-')}.json`);
writeFileSync(file, JSON.stringify({ ...about, load, figures }, undefined, 2));
console.log(file);
await Promise.all([a, b].flatMap(({ admin, proxy }) => [admin.close(), proxy.close()]));
