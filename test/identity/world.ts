// A sidecar with the public OAuth endpoints over a real PostgreSQL, clients of every kind, and calls as clients make them.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { type ClientDraft, ownClient, propertiesOf } from '../../src/clients/record.ts';
import { newClientSecret } from '../../src/clients/secrets.ts';
import { type OAuthErrorCode, oauthErrors } from '../../src/core/oauth-errors.ts';
import type { Client } from '../../src/stores/contracts/clients.ts';
import { PostgresClients } from '../../src/stores/postgres/clients.ts';
import type { PrivateServer } from '../../src/stores/postgres/private-server.ts';
import { admin, operatorKnown } from '../attacks/world.ts';
import { freePort } from '../support/free-port.ts';
import { openTestDatabase, postgresConfig, type TestDatabase } from '../support/postgres-server.ts';
import { type RecordingUpstream, recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, type TestSidecar } from '../support/sidecar.ts';

/** A client with its secret. */
export interface TestClient {
  readonly id: string;
  readonly secret: string;
  readonly record: Client;
}

/** An answer, parsed where it is JSON. */
export interface OAuthReply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
  readonly json: any;
}

/** What tests of the endpoints use. */
export interface OAuthWorld extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly clients: PostgresClients;
  readonly upstream: RecordingUpstream;
  readonly sidecar: TestSidecar;
  /** `iss`, and where the sidecar listens. */
  readonly issuer: string;
  /** Absolute URL of an endpoint. */
  url(name: string): string;
  addClient(draft?: Partial<ClientDraft>): Promise<TestClient>;
  /** A form to an endpoint; fields given as text are sent as they are. */
  post(
    name: string,
    form: Readonly<Record<string, string | undefined>> | string,
    headers?: Readonly<Record<string, string>>,
  ): Promise<OAuthReply>;
  /** The same with the client's secret in the Authorization field. */
  as(client: TestClient, name: string, form: Readonly<Record<string, string | undefined>>): Promise<OAuthReply>;
  /** A code of the admin API, with what redeems it. */
  code(client: TestClient, more?: Readonly<Record<string, unknown>>): Promise<MintedTestCode>;
  /** Redeems a fresh code. */
  login(client: TestClient, more?: Readonly<Record<string, unknown>>): Promise<OAuthReply>;
  /** Status of a call to the application with this access token. */
  call(accessToken: string, sidecar?: TestSidecar): Promise<number>;
  admin(method: string, path: string, body?: unknown): ReturnType<typeof admin>;
  /** Another replica on the same stores. */
  replica(config?: Readonly<Record<string, unknown>>): Promise<TestSidecar>;
}

/** A code with its other half. */
export interface MintedTestCode {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
  readonly body: any;
  readonly code: string;
  readonly verifier: string;
}

/** Where codes of test clients go. */
export const REDIRECT = 'https://app.example/cb';

/** Form-encoded `id:secret` in base64 (RFC 6749 section 2.3.1). */
export function basicField(id: string, secret: string): string {
  const encode = (text: string) => encodeURIComponent(text).replace(/%20/g, '+');
  return `Basic ${Buffer.from(`${encode(id)}:${encode(secret)}`).toString('base64')}`;
}

/** S256 challenge of a verifier. */
export const challengeOf = (verifier: string): string => createHash('sha256').update(verifier).digest('base64url');

/** Limits that no test meets by accident. */
const roomy = { key: 'ip', rate: '100000/1m' };

/** Starts it; `config` is merged over the top level, `server` is a PostgreSQL other than the shared one. */
export async function openOAuthWorld(
  config: Readonly<Record<string, unknown>> = {},
  server?: PrivateServer,
): Promise<OAuthWorld> {
  const closing = new AsyncDisposableStack();
  const database = closing.use(await openTestDatabase(server && { server }));
  const upstream = closing.use(await recordingUpstream());
  const clients = new PostgresClients(database.open());
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const { oauth, issuers, ...rest } = config as { oauth?: object; issuers?: { self?: object } };
  const limits = { limits: { roomy, ...(rest as { limits?: object }).limits } };
  const named = ['token', 'introspect', 'revoke', 'register', 'userinfo', 'documents', 'failures'];
  const everyLimit = Object.fromEntries(named.map((name) => [name, 'roomy']));
  const whole = {
    ...postgresConfig(database, { timeout: '5s' }),
    issuers: { self: { issuer, audience: ['api'], sign: {}, ...issuers?.self } },
    oauth: { limits: everyLimit, ...oauth },
    ...rest,
    ...limits,
  };
  const proxy = (listen: string, more: object = {}) => ({
    listen,
    drain: { delay: '0ms', timeout: '2s' },
    endpoints: { oauth: true },
    ...more,
  });
  const sidecar = closing.use(
    await startSidecar(upstream.url, {
      ...whole,
      proxy: proxy(`127.0.0.1:${port}`, (rest as { proxy?: object }).proxy),
    }),
  );
  const url = (name: string) => `${issuer}/.doorward/oauth/${name}`;
  const post: OAuthWorld['post'] = async (name, form, headers = {}) => {
    const fields = typeof form === 'string' ? [] : Object.entries(form).filter(([, value]) => value !== undefined);
    const body = typeof form === 'string' ? form : new URLSearchParams(fields as [string, string][]).toString();
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    return replyOf(await fetch(url(name), { method: 'POST', body, headers: { ...type, ...headers } }));
  };
  const as: OAuthWorld['as'] = (client, name, form) =>
    post(name, form, { authorization: basicField(client.id, client.secret) });
  const call = async (token: string, at: TestSidecar = sidecar) => {
    const response = await fetch(`${at.proxyUrl}/x`, { headers: { authorization: `Bearer ${token}` } });
    await response.body?.cancel();
    return response.status;
  };
  const code: OAuthWorld['code'] = async (client, more = {}) => {
    const verifier = randomBytes(32).toString('base64url');
    const { status, body } = await admin(sidecar, 'POST', '/v1/codes', {
      client_id: client.id,
      redirect_uri: REDIRECT,
      subject: 'alice',
      code_challenge: challengeOf(verifier),
      code_challenge_method: 'S256',
      ...more,
    });
    // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
    return { status, body, code: (body as any).code, verifier };
  };
  return {
    ...{ database, clients, upstream, sidecar, issuer, url, post, as, call, code },
    async addClient(draft = {}) {
      const nowMs = Date.now();
      const { secret, kept } = newClientSecret(nowMs, undefined);
      const properties = propertiesOf({
        name: 'test',
        grantTypes: ['client_credentials', 'authorization_code', 'refresh_token'],
        redirectUris: [REDIRECT],
        scopes: ['openid', 'read', 'write'],
        ...draft,
      });
      const withSecret = properties.authMethod.startsWith('client_secret');
      const made = await clients.add(
        ownClient(
          issuer,
          properties,
          { registeredBy: 'operator', registrationTokenDigest: undefined, secrets: withSecret ? [kept] : [] },
          nowMs,
        ),
      );
      return { id: made?.clientId as string, secret, record: made as Client };
    },
    async login(client, more = {}) {
      const { code: minted, verifier } = await code(client, more);
      const form = { grant_type: 'authorization_code', code: minted, redirect_uri: REDIRECT, code_verifier: verifier };
      if (client.record.type === 'public') return post('token', { ...form, client_id: client.id });
      return as(client, 'token', form);
    },
    admin: (method, path, body) => admin(sidecar, method, path, body),
    async replica(more = {}) {
      await operatorKnown(sidecar);
      return closing.use(await startSidecar(upstream.url, { ...whole, proxy: { listen: '127.0.0.1:0' }, ...more }));
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

async function replyOf(response: Response): Promise<OAuthReply> {
  const text = await response.text();
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  const { error } = (json ?? {}) as { error?: unknown };
  if (error !== undefined) {
    const row = Object.hasOwn(oauthErrors, String(error)) ? oauthErrors[error as OAuthErrorCode] : undefined;
    assert.ok(row, `H22: ${error} is not in core/oauth-errors.ts`);
    assert.ok((row.statuses as readonly number[]).includes(response.status), `H22: ${error} with ${response.status}`);
  }
  return { status: response.status, headers: response.headers, text, json };
}

/** A plain GET of an absolute URL. */
export async function get(url: string, headers: Readonly<Record<string, string>> = {}): Promise<OAuthReply> {
  return replyOf(await fetch(url, { headers }));
}
