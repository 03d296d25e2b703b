// One call of every operation of the admin API that succeeds, and one that is refused for its input. Keyed by operationId: a
// new row of the table without an entry here fails the test of the document.
import { hash } from 'node:crypto';
import type { AdminSidecar, Answer, Loose } from './admin-sidecar.ts';

/** A call. */
export interface ApiCall {
  /** Path with its query; default: the path of the operation. */
  readonly path?: string;
  readonly body?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What is asked of one operation. */
export interface OperationCalls {
  /** Status of the success. */
  readonly status: number;
  readonly success: (it: AdminSidecar) => ApiCall | Promise<ApiCall>;
  /**
   * Refused for its input or for the state of things, where it has any. The test has everything refused without a token,
   * without the permission, and with a stray parameter.
   */
  readonly refused?: readonly [status: number, call: (it: AdminSidecar) => ApiCall | Promise<ApiCall>];
}

const plain = (): ApiCall => ({});
let numbered = 0;
const unique = (word: string) => {
  numbered += 1;
  return `${word}${numbered}`;
};

async function made(it: AdminSidecar, path: string, body: Readonly<Record<string, unknown>>): Promise<Loose> {
  const answer: Answer = await it.admin('POST', path, { body });
  if (answer.status >= 300) throw new Error(`POST ${path}: ${answer.status} ${answer.text}`);
  return answer.json;
}

const revocation = async (it: AdminSidecar) =>
  String((await made(it, '/v1/revocations', { kind: 'subject', issuer: 'self', id: unique('mallory') })).id);

const operator = async (it: AdminSidecar) =>
  String((await made(it, '/v1/operators', { name: unique('op'), role: 'viewer' })).id);

/** The kid of a key in this state; made when there is none. */
async function keyIn(it: AdminSidecar, state: 'pending' | 'active'): Promise<string> {
  const find = async () =>
    [...(await it.admin('GET', '/v1/keys')).json.items].find((key) => String(key.state) === state)?.kid;
  const found = await find();
  if (found !== undefined) return String(found);
  await made(it, '/v1/keys', {});
  return String(await find());
}

const client = async (it: AdminSidecar, more: Readonly<Record<string, unknown>> = {}) =>
  String((await made(it, '/v1/clients', { name: unique('client'), ...more })).client_id);

/** A challenge that no verifier is known for (RFC 7636). */
const CHALLENGE = 'A'.repeat(43);
const REDIRECT = 'https://app.example.com/back';

const codeBody = async (it: AdminSidecar) => ({
  client_id: await client(it, { grant_types: ['authorization_code'], redirect_uris: [REDIRECT] }),
  redirect_uri: REDIRECT,
  subject: 'alice',
  code_challenge: CHALLENGE,
  code_challenge_method: 'S256',
});

/** The id of a live grant, made as an application and its client make one. */
async function grant(it: AdminSidecar): Promise<string> {
  const verifier = unique('v').padEnd(43, 'x');
  const code_challenge = hash('sha256', verifier, 'base64url');
  const { json } = await it.admin('POST', '/v1/clients', {
    body: { name: unique('web'), grant_types: ['authorization_code', 'refresh_token'], redirect_uris: [REDIRECT] },
  });
  const client_id = String(json.client_id);
  const { code } = await made(it, '/v1/codes', { ...(await codeBody(it)), client_id, code_challenge });
  const form = {
    grant_type: 'authorization_code',
    code: String(code),
    redirect_uri: REDIRECT,
    code_verifier: verifier,
  };
  const secret = Buffer.from(`${client_id}:${json.client_secret}`).toString('base64');
  const redeemed = await fetch(`${it.sidecar.proxyUrl}/.doorward/oauth/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${secret}` },
    body: new URLSearchParams(form),
  });
  if (redeemed.status !== 200) throw new Error(`no grant: ${redeemed.status} ${await redeemed.text()}`);
  await redeemed.body?.cancel();
  const [found] = [...(await it.admin('GET', `/v1/grants?client=${client_id}`)).json.items];
  return String(found?.id);
}

const LIMIT_KEY = encodeURIComponent('corp/web');

/** The calls by operationId; in this order, `drain` last. */
export const operationCalls: Readonly<Record<string, OperationCalls>> = {
  describeApi: { status: 200, success: plain },
  showStatus: { status: 200, success: plain },
  listUpstreams: { status: 200, success: plain },
  issueToken: {
    status: 201,
    success: () => ({ body: { subject: 'alice', client: 'web', scopes: ['read'], lifetime: '5m' } }),
    refused: [422, () => ({ body: { subject: 'alice', client: 'web', issuer: 'corp' } })],
  },
  introspectToken: {
    status: 200,
    success: async (it) => ({ body: { token: await it.issue() } }),
    refused: [422, () => ({ body: {} })],
  },
  revoke: {
    status: 201,
    success: async (it) => ({ body: { token: await it.issue() } }),
    refused: [422, () => ({ body: { kind: 'nothing', id: 'x' } })],
  },
  listRevocations: {
    status: 200,
    success: () => ({ path: '/v1/revocations?limit=1&kind=subject' }),
    refused: [422, () => ({ path: '/v1/revocations?limit=0' })],
  },
  showRevocation: {
    status: 200,
    success: async (it) => ({ path: `/v1/revocations/${await revocation(it)}` }),
    refused: [404, () => ({ path: '/v1/revocations/none' })],
  },
  undoRevocation: {
    status: 204,
    success: async (it) => ({ path: `/v1/revocations/${await revocation(it)}` }),
    refused: [404, () => ({ path: '/v1/revocations/none' })],
  },
  showLimit: {
    status: 200,
    success: () => ({ path: `/v1/limits/tight/${LIMIT_KEY}` }),
    refused: [404, () => ({ path: '/v1/limits/none/x' })],
  },
  resetLimit: {
    status: 200,
    success: () => ({ path: `/v1/limits/tight/${LIMIT_KEY}` }),
    refused: [404, () => ({ path: '/v1/limits/none/x' })],
  },
  listSigningKeys: { status: 200, success: plain },
  rotateSigningKey: {
    status: 201,
    success: async (it) => {
      await it.admin('POST', `/v1/keys/${await keyIn(it, 'pending')}/activate`);
      return { body: { issuer: 'self' } };
    },
    refused: [
      409,
      async (it) => {
        await keyIn(it, 'pending');
        return { body: {} };
      },
    ],
  },
  activateSigningKey: {
    status: 200,
    success: async (it) => ({ path: `/v1/keys/${await keyIn(it, 'pending')}/activate` }),
    refused: [404, () => ({ path: '/v1/keys/none/activate' })],
  },
  retireSigningKey: {
    status: 200,
    success: async (it) => ({ path: `/v1/keys/${await keyIn(it, 'pending')}/retire` }),
    refused: [404, () => ({ path: '/v1/keys/none/retire' })],
  },
  banSigningKey: {
    status: 200,
    success: async (it) => ({ path: `/v1/keys/${await keyIn(it, 'active')}/ban` }),
    refused: [404, () => ({ path: '/v1/keys/none/ban' })],
  },
  showDataKeys: { status: 200, success: plain },
  rotateDataKey: { status: 201, success: plain },
  resealFields: { status: 202, success: plain },
  showConfig: { status: 200, success: plain },
  reloadConfig: { status: 200, success: plain, refused: [422, () => ({ body: { force: true } })] },
  explainRequest: {
    status: 200,
    success: async (it) => ({ body: { method: 'GET', url: '/limited?a=1', token: await it.issue() } }),
    refused: [422, () => ({ body: { method: 'get', url: '/' } })],
  },
  findDecisions: {
    status: 200,
    success: async (it) => {
      const { headers } = await it.proxy('/');
      return { path: `/v1/decisions?request_id=${headers['x-request-id']}` };
    },
    refused: [422, () => ({ path: '/v1/decisions?outcome=perhaps' })],
  },
  addOperator: {
    status: 201,
    success: () => ({ body: { name: unique('op'), role: 'viewer', permissions: ['drain:write'], expires: '90d' } }),
    refused: [409, () => ({ body: { name: 'first', role: 'viewer' } })],
  },
  listOperators: { status: 200, success: plain },
  removeOperator: {
    status: 204,
    success: async (it) => ({ path: `/v1/operators/${await operator(it)}` }),
    refused: [404, () => ({ path: '/v1/operators/none' })],
  },
  showStatistics: { status: 200, success: plain },
  cleanUp: { status: 200, success: plain, refused: [422, () => ({ body: { all: true } })] },
  listAudit: {
    status: 200,
    success: () => ({ path: '/v1/audit?limit=5&since=1h&type=operator.added' }),
    refused: [422, () => ({ path: '/v1/audit?type=operator.ADDED' })],
  },
  verifyAuditLog: {
    status: 200,
    success: () => ({ path: '/v1/audit/verify?checkpoint=1' }),
    refused: [422, () => ({ path: '/v1/audit/verify?checkpoint=0' })],
  },
  exportAudit: {
    status: 200,
    success: () => ({ path: '/v1/audit/export?limit=10' }),
    refused: [422, () => ({ path: '/v1/audit/export?cursor=x' })],
  },
  addInitialToken: {
    status: 201,
    success: () => ({ body: { uses: 2, expires: '1h' } }),
    refused: [422, () => ({ body: { uses: 0 } })],
  },
  listInitialTokens: { status: 200, success: plain },
  removeInitialToken: {
    status: 204,
    success: async (it) => ({
      path: `/v1/clients/initial-access-tokens/${(await made(it, '/v1/clients/initial-access-tokens', {})).id}`,
    }),
    refused: [404, () => ({ path: '/v1/clients/initial-access-tokens/none' })],
  },
  addClient: {
    status: 201,
    success: () => ({ body: { name: 'billing', scopes: ['read'] } }),
    refused: [422, () => ({ body: { name: 'billing', type: 'secret' } })],
  },
  listClients: {
    status: 200,
    success: () => ({ path: '/v1/clients?limit=1&disabled=false' }),
    refused: [422, () => ({ path: '/v1/clients?disabled=perhaps' })],
  },
  showClient: {
    status: 200,
    success: async (it) => ({ path: `/v1/clients/${await client(it)}` }),
    refused: [404, () => ({ path: '/v1/clients/none' })],
  },
  replaceClient: {
    status: 200,
    success: async (it) => ({
      path: `/v1/clients/${await client(it)}`,
      body: { name: 'other' },
      headers: { 'if-match': '"1"' },
    }),
    refused: [
      412,
      async (it) => ({
        path: `/v1/clients/${await client(it)}`,
        body: { name: 'other' },
        headers: { 'if-match': '"99"' },
      }),
    ],
  },
  changeClient: {
    status: 200,
    success: async (it) => ({ path: `/v1/clients/${await client(it)}`, body: { disabled: true } }),
    refused: [404, () => ({ path: '/v1/clients/none', body: { disabled: true } })],
  },
  removeClient: {
    status: 204,
    success: async (it) => ({ path: `/v1/clients/${await client(it)}` }),
    refused: [404, () => ({ path: '/v1/clients/none' })],
  },
  addClientSecret: {
    status: 201,
    success: async (it) => ({ path: `/v1/clients/${await client(it)}/secrets`, body: { expires: '30d' } }),
    refused: [
      409,
      async (it) => {
        const path = `/v1/clients/${await client(it)}/secrets`;
        await made(it, path, {});
        return { path, body: {} };
      },
    ],
  },
  removeClientSecret: {
    status: 204,
    success: async (it) => {
      const path = `/v1/clients/${await client(it)}/secrets`;
      return { path: `${path}/${(await made(it, path, {})).id}` };
    },
    refused: [404, async (it) => ({ path: `/v1/clients/${await client(it)}/secrets/none` })],
  },
  mintCode: {
    status: 201,
    success: async (it) => ({ body: await codeBody(it) }),
    refused: [422, async (it) => ({ body: { ...(await codeBody(it)), redirect_uri: 'https://evil.example/' } })],
  },
  listGrants: {
    status: 200,
    success: async (it) => {
      await grant(it);
      return { path: '/v1/grants?subject=alice&limit=1' };
    },
    refused: [422, () => ({ path: '/v1/grants?cursor=%21' })],
  },
  endGrants: {
    status: 200,
    success: async (it) => {
      await grant(it);
      return { body: { subject: 'alice', except_session: 'current', reason: 'phone lost' } };
    },
    refused: [422, () => ({ body: { session: 's-1', except_session: 's-1' } })],
  },
  endGrant: {
    status: 204,
    success: async (it) => ({ path: `/v1/grants/${await grant(it)}` }),
    refused: [404, () => ({ path: `/v1/grants/${'x'.repeat(22)}` })],
  },
  drain: {
    status: 200,
    success: () => ({ path: '/v1/drain?wait=10s' }),
    refused: [422, () => ({ path: '/v1/drain?wait=soon' })],
  },
};
