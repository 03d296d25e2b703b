// A whole sidecar for tests of its private ports: real listeners on port 0, memory stores unless told, real keys, the log
// captured. Calls go over the admin port with the operator token, or over the socket; every answer must be one that the
// OpenAPI document announces.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { stringify } from 'yaml';
import type { Sidecar } from '../../src/app/sidecar.ts';
import { openSidecar } from '../../src/app.ts';
import type { SidecarInput } from '../../src/config/schema.ts';
import { openLog } from '../../src/telemetry/log.ts';
import { type MintKey, mintKey } from '../support/minting.ts';
import { type RecordingUpstream, recordingUpstream } from '../support/recording-upstream.ts';
import { holdAgainstDocument } from './document.ts';

/** The foreign issuer of {@link startAdminSidecar}. */
export const FOREIGN = 'https://id.example.com/';

/** JSON of unknown shape: every member may be asked for, and is what an assertion then says it is. */
export interface Loose extends Iterable<Loose> {
  readonly items: Loose;
  readonly errors: Loose;
  readonly headers: Loose;
  readonly components: Loose;
  readonly counts: Loose;
  readonly routes: Loose;
  readonly config: Loose;
  readonly rates: Loose;
  readonly [name: string]: Loose;
}

/** An answer as a test reads it. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** Parsed text; undefined when it is no JSON. */
  readonly json: Loose;
}

/** How a call differs from a plain one. */
export interface Call {
  readonly body?: unknown;
  /** Sent as it is, instead of `body`. */
  readonly raw?: string | Buffer;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** `null` sends no token. */
  readonly token?: string | null;
}

/** A sidecar under test. */
export interface AdminSidecar extends AsyncDisposable {
  readonly sidecar: Sidecar;
  readonly upstream: RecordingUpstream;
  readonly folder: string;
  readonly file: string;
  readonly adminToken: string;
  /** Key of the foreign issuer `corp`. */
  readonly key: MintKey;
  /** Lines of the log so far, parsed. */
  log(): Readonly<Record<string, unknown>>[];
  /** Log as written. */
  logText(): string;
  admin(method: string, path: string, call?: Call): Promise<Answer>;
  socket(method: string, path: string, call?: Call): Promise<Answer>;
  observe(method: string, path: string): Promise<Answer>;
  proxy(path: string, token?: string): Promise<Answer>;
  /** An access token of our own issuer. */
  issue(body?: Readonly<Record<string, unknown>>): Promise<string>;
}

/** The configuration that tests change: our own issuer `self`, a foreign one `corp`. */
export function adminConfig(upstream: string, key: MintKey): SidecarInput {
  return {
    version: 1,
    state_dir: 'state',
    proxy: { listen: '127.0.0.1:0', drain: { delay: '0s', timeout: '2s' } },
    admin: { listen: '127.0.0.1:0' },
    observe: { listen: '127.0.0.1:0' },
    upstreams: { app: { url: upstream } },
    issuers: {
      self: { issuer: 'http://doorward.localhost', audience: ['api'], sign: {} },
      corp: { issuer: FOREIGN, audience: ['api'], keys: { inline: { keys: [{ ...key.jwk }] } } },
    },
    defaults: { issuers: ['self', 'corp'] },
    limits: { tight: { key: 'client', rate: '2/1h', algorithm: 'log' } },
    routes: { limited: { match: { path: '/limited' }, limits: ['tight'] }, all: { match: { prefix: '/' } } },
    log: { decisions: { allow: 1 } },
  };
}

/** Starts a sidecar; `change` edits the configuration before it is written. */
export async function startAdminSidecar(
  change: (config: SidecarInput) => SidecarInput = (config) => config,
  env: Readonly<Record<string, string>> = {},
): Promise<AdminSidecar> {
  const folder = mkdtempSync(join(tmpdir(), 'doorward-t-'));
  const key = mintKey('ES256');
  const upstream = await recordingUpstream();
  const file = join(folder, 'sidecar.yaml');
  writeFileSync(file, stringify(change(adminConfig(upstream.url, key)), { aliasDuplicateObjects: false }));
  const lines: string[] = [];
  const log = openLog('debug', { write: (line: string) => void lines.push(line) });
  const sidecar = await openSidecar({ file, env, log }).catch(async (error) => {
    await upstream[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });
  const adminToken = readFileSync(sidecar.adminTokenFile, 'utf8').trim();
  const agent = new Agent();
  const overSocket = new Agent({ connect: { socketPath: sidecar.socketPath } });
  const held = async (method: string, path: string, call: Call, sent: Promise<Answer>) => {
    const answer = await sent;
    holdAgainstDocument(method, path, call.raw === undefined ? call.body : undefined, answer);
    return answer;
  };
  const admin = (method: string, path: string, call: Call = {}) =>
    held(method, path, call, send(agent, sidecar.adminUrl as string, method, path, { token: adminToken, ...call }));
  return {
    sidecar,
    upstream,
    folder,
    file,
    adminToken,
    key,
    log: () => lines.map((line) => JSON.parse(line)),
    logText: () => lines.join(''),
    admin,
    socket: (method, path, call = {}) =>
      held(method, path, call, send(overSocket, 'http://localhost', method, path, call)),
    observe: (method, path) => send(agent, sidecar.observeUrl as string, method, path, {}),
    proxy: (path, token) => send(agent, sidecar.proxyUrl, 'GET', path, token === undefined ? {} : { token }),
    issue: async (body = {}) => {
      const request = { subject: 'alice', client: 'web', ...body };
      return (await admin('POST', '/v1/tokens', { body: request })).json.token as unknown as string;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([agent.destroy(), overSocket.destroy()]);
      await sidecar[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function send(agent: Agent, origin: string, method: string, path: string, call: Call): Promise<Answer> {
  const { body, raw, token } = call;
  const json = body === undefined ? {} : { 'content-type': 'application/json' };
  const authorization = typeof token === 'string' ? { authorization: `Bearer ${token}` } : {};
  const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const answer = await request(`${origin}${path}`, {
    dispatcher: agent,
    method: method as 'GET',
    headers: { ...json, ...authorization, ...call.headers },
    ...(payload === undefined ? {} : { body: payload }),
  });
  const text = await answer.body.text();
  return { status: answer.statusCode, headers: answer.headers, text, json: parsed(text) as Loose };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
