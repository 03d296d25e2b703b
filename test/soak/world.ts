// Everything the soak runs in: real Redis, real application, real issuer, the sidecar as a process, and its files.
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { echoWebSocket } from '../support/echo-websocket.ts';
import { type JwksServer, type MintKey, mintKey, mintToken, startJwksServer } from '../support/minting.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { configurations } from './configurations.ts';
import { Ledger } from './ledger.ts';
import { type SidecarProcess, startProcess } from './sidecar-process.ts';
import { type SoakUpstream, soakUpstream } from './upstream.ts';

/** What actors work with. */
export interface World extends AsyncDisposable {
  readonly ledger: Ledger;
  readonly sidecar: SidecarProcess;
  readonly upstream: SoakUpstream;
  readonly redis: RedisServer;
  readonly files: ReturnType<typeof configurations>;
  /** A good token of the foreign issuer, from a set that is made anew as it ages. */
  token(): Caller;
  /** Makes a token with other claims or by another key. */
  mint(claims: Readonly<Record<string, unknown>>, by?: MintKey): string;
  /** Replaces the configuration file in one step, as editors and ConfigMaps do. */
  write(text: string): void;
  admin(
    method: 'GET' | 'POST',
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: Record<string, unknown> }>;
}

/** A subject and its token. */
export interface Caller {
  readonly subject: string;
  readonly token: string;
}

const CALLERS = 200;
const REMINT_MS = 60_000;

/** Starts all of it. */
export async function openWorld(): Promise<World> {
  await using opening = new AsyncDisposableStack();
  const ledger = new Ledger();
  const folder = mkdtempSync(join(tmpdir(), 'doorward-soak-'));
  opening.defer(() => rmSync(folder, { recursive: true, force: true }));
  const [redis, upstream, sockets] = await Promise.all([startRedis(), soakUpstream(ledger), echoWebSocket()]);
  for (const part of [redis, upstream, sockets]) opening.use(part);
  const key = mintKey('ES256', 'soak');
  const issuer = opening.use(await startJwksServer([key.jwk]));
  const signingKey = join(folder, 'signing.pem');
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(signingKey, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const places = { upstream: upstream.url, webSockets: sockets.url, issuer: issuer.url, redis: redis.url, signingKey };
  const files = configurations(places);
  const file = join(folder, 'sidecar.yaml');
  writeFileSync(file, files[0]);
  const sidecar = opening.use(await startProcess(file));
  const adminToken = readFileSync(join(folder, 'state/admin.token'), 'utf8').trim();
  const agent = new Agent({ keepAliveTimeout: 2000 });
  opening.defer(() => agent.destroy());
  const mint = (claims: Readonly<Record<string, unknown>>, by = key) => mintOf(issuer, by, claims);
  const opened = opening.move();
  return {
    ledger,
    sidecar,
    upstream,
    redis,
    files,
    mint,
    token: callers(mint),
    write(text) {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    },
    async admin(method, path, body) {
      const answer = await request(`${sidecar.addresses.admin}${path}`, {
        dispatcher: agent,
        method,
        headers: { authorization: `Bearer ${adminToken}`, ...(body ? { 'content-type': 'application/json' } : {}) },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      const text = await answer.body.text();
      return { status: answer.statusCode, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> };
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

function mintOf(issuer: JwksServer, key: MintKey, claims: Readonly<Record<string, unknown>>): string {
  return mintToken(key, issuer.url, Date.now(), { claims: { ...claims } });
}

function callers(mint: World['mint']): () => Caller {
  let made: Caller[] = [];
  let madeAtMs = Number.NEGATIVE_INFINITY;
  let next = 0;
  return () => {
    if (performance.now() - madeAtMs > REMINT_MS) {
      madeAtMs = performance.now();
      made = Array.from({ length: CALLERS }, (_, at) => {
        const subject = `subject-${at}`;
        return { subject, token: mint({ sub: subject, client_id: `client-${at}` }) };
      });
    }
    next = (next + 1) % CALLERS;
    return made[next] as Caller;
  };
}
