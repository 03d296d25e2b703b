// Two tenants in one sidecar, each with clients, grants, revocations, tokens and audit events, and an operator who is bound to
// the first and may do everything there. Every answer that operator gets is searched for what is the second tenant's.
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { freePort } from '../support/free-port.ts';
import { openTestDatabase, postgresConfig, type TestDatabase } from '../support/postgres-server.ts';
import { type AdminSidecar, type Answer, type Call, type Loose, startAdminSidecar } from './admin-sidecar.ts';

const REDIRECT = 'https://app.example.com/back';

/** What one tenant has. */
export interface TenantThings {
  readonly tenant: string;
  /** A client of ours with code, refresh and secret. */
  readonly client: string;
  readonly secretId: string;
  /** A client of the issuer `corp`. */
  readonly foreign: string;
  /** A live grant of the session `<tenant>-session`; another one is of `<tenant>-second`. */
  readonly grant: string;
  readonly second: string;
  /** Access token of that grant. */
  readonly accessToken: string;
  /** Revocation of another grant, of another client, and of a session. */
  readonly revocations: { readonly family: string; readonly client: string; readonly session: string };
  /** The client that is revoked, and the family. */
  readonly revokedClient: string;
  readonly subject: string;
}

/** The world. */
export interface TenancyWorld extends AsyncDisposable {
  readonly it: AdminSidecar;
  readonly database: TestDatabase;
  readonly acme: TenantThings;
  readonly beta: TenantThings;
  readonly operatorId: string;
  /** A call of acme's operator; fails when the answer names anything of beta. */
  call(method: string, path: string, call?: Call): Promise<Answer>;
  /** Everything durable that is not acme's, but for what replicas note by themselves. */
  others(): Promise<unknown>;
}

async function made(it: AdminSidecar, path: string, body: object): Promise<Loose> {
  const answer = await it.admin('POST', path, { body });
  assert.equal(answer.status, 201, answer.text);
  return answer.json;
}

/** A body for POST /v1/codes, and the verifier of its challenge. */
export function codeOf(clientId: string, subject: string): { readonly body: object; readonly verifier: string } {
  const verifier = `${subject}-`.padEnd(43, 'x');
  const code_challenge = hash('sha256', verifier, 'base64url');
  const body = { client_id: clientId, redirect_uri: REDIRECT, subject, code_challenge, code_challenge_method: 'S256' };
  return { body, verifier };
}

/** Redeems a code as its client does. */
export async function redeem(
  it: AdminSidecar,
  client: { readonly id: string; readonly secret: string },
  code: string,
  verifier: string,
): Promise<Loose> {
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: verifier };
  const answer = await fetch(`${it.sidecar.proxyUrl}/.doorward/oauth/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}` },
    body: new URLSearchParams(form),
  });
  const json = (await answer.json()) as Loose;
  assert.equal(answer.status, 200, JSON.stringify(json));
  return json;
}

async function thingsOf(it: AdminSidecar, tenant: string): Promise<TenantThings> {
  const subject = `${tenant}-alice`;
  const body = {
    name: `${tenant}-shop`,
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    redirect_uris: [REDIRECT],
    scopes: ['read', 'openid'],
    tenant,
  };
  const client = await made(it, '/v1/clients', body);
  const credentials = { id: String(client.client_id), secret: String(client.client_secret) };
  const secret = await made(it, `/v1/clients/${credentials.id}/secrets`, {});
  const foreign = `${tenant}-partner`;
  await made(it, '/v1/clients', { issuer: 'corp', client_id: foreign, name: `${tenant}-partner`, tenant });
  const grant = async (session?: string) => {
    const { body: asked, verifier } = codeOf(credentials.id, subject);
    const { code } = await made(it, '/v1/codes', { ...asked, ...(session && { session }) });
    const { access_token } = await redeem(it, credentials, String(code), verifier);
    const [newest] = [...(await it.admin('GET', `/v1/grants?client=${credentials.id}&limit=1`)).json.items];
    return { family: String(newest?.id), accessToken: String(access_token) };
  };
  const ended = await grant(`${tenant}-old-session`);
  const second = await grant(`${tenant}-second`);
  const live = await grant(`${tenant}-session`);
  const revokedClient = String((await made(it, '/v1/clients', { ...body, name: `${tenant}-old` })).client_id);
  const revoke = async (kind: string, id: string) =>
    String((await made(it, '/v1/revocations', { kind, issuer: 'self', id })).id);
  return {
    ...{
      tenant,
      client: credentials.id,
      secretId: String(secret.id),
      foreign,
      grant: live.family,
      second: second.family,
    },
    subject,
    accessToken: live.accessToken,
    revokedClient,
    revocations: {
      family: await revoke('family', ended.family),
      client: await revoke('client', revokedClient),
      session: await revoke('session', `${tenant}-other-session`),
    },
  };
}

/** Starts it. */
export async function tenancyWorld(): Promise<TenancyWorld> {
  const closing = new AsyncDisposableStack();
  try {
    const database = closing.use(await openTestDatabase());
    const port = await freePort();
    const it = closing.use(
      await startAdminSidecar((config) => ({
        ...config,
        ...postgresConfig(database, { timeout: '5s' }),
        proxy: { ...config.proxy, listen: `127.0.0.1:${port}`, endpoints: { oauth: true } },
        issuers: {
          ...config.issuers,
          self: { issuer: `http://127.0.0.1:${port}`, audience: ['api'], sign: {}, claims: { tenant: 'org' } },
        },
      })),
    );
    const [acme, beta] = [await thingsOf(it, 'acme'), await thingsOf(it, 'beta')];
    await made(it, '/v1/clients', { name: 'beta-free', scopes: ['read'] });
    const operator = await made(it, '/v1/operators', { name: 'acme-ops', permissions: ['*'], tenant: 'acme' });
    const token = String(operator.token);
    const things = ['beta', beta.client, beta.secretId, beta.grant, beta.second, beta.revokedClient];
    const hidden = [...things, ...Object.values(beta.revocations)];
    return {
      ...{ it, database, acme, beta, operatorId: String(operator.id) },
      async call(method, path, call = {}) {
        const answer = await it.admin(method, path, { token, ...call });
        for (const word of hidden) assert.ok(!answer.text.includes(word), `${method} ${path} tells ${word}`);
        return answer;
      },
      others: () => othersOf(database),
      [Symbol.asyncDispose]: () => closing.disposeAsync(),
    };
  } catch (error) {
    await closing.disposeAsync();
    throw error;
  }
}

async function othersOf({ sql }: TestDatabase): Promise<unknown> {
  return {
    clients: await sql`
      select to_jsonb(client) - 'published_version' as row from client where tenant is distinct from 'acme' order by 1`,
    secrets: await sql`
      select to_jsonb(client_secret) - 'last_used_at' as row from client_secret join client using (issuer, client_id)
      where tenant is distinct from 'acme' order by 1`,
    families: await sql`
      select to_jsonb(token_family) as row from token_family where tenant is distinct from 'acme' order by 1`,
    codes: await sql`
      select to_jsonb(authorization_code) as row from authorization_code where tenant is distinct from 'acme' order by 1`,
    revocations: await sql`
      select entry_id, until, not_before, undone_at from revocation
      where revoked_id like 'beta%' or revoked_id in (select client_id from client where tenant is distinct from 'acme')
        or revoked_id in (select family_id from token_family where tenant is distinct from 'acme') order by 1`,
    operators: await sql`select id, name, role, tenant from operator order by 1`,
    keys: await sql`select kid, state from signing_key order by 1`,
    dataKeys: await sql`select data_key_id, state from data_key order by 1`,
    initialTokens: await sql`select id from initial_access_token order by 1`,
  };
}
