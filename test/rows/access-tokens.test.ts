// Rows of the reference systems about the life of an access token: stored by jti there, stateless and signed here.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SidecarInput } from '../../src/config/schema.ts';
import { type AdminSidecar, startAdminSidecar } from '../admin/admin-sidecar.ts';
import { eventually } from './eventually.ts';

/** Our own issuer without clock tolerance, so that a token of one second dies after one. */
const exact = (config: SidecarInput): SidecarInput => ({
  ...config,
  issuers: { self: { issuer: 'http://doorward.localhost', audience: ['api'], clock_tolerance: '0s', sign: {} } },
  defaults: { issuers: ['self'] },
});

async function introspect(it: AdminSidecar, token: string) {
  const answer = await it.admin('POST', '/v1/tokens/introspect', { body: { token } });
  assert.equal(answer.status, 200, answer.text);
  return answer.json;
}

test('L1: a token is active for its lifetime and not a moment longer', async () => {
  await using it = await startAdminSidecar(exact);
  const hour = await it.issue({ lifetime: '1h' });
  const second = await it.issue({ lifetime: '1s' });
  assert.equal(Number((await introspect(it, hour)).exp) - Number((await introspect(it, hour)).iat), 3600);
  await eventually(async () => (await it.proxy('/', second)).status === 401, 3000);
  assert.deepEqual(await introspect(it, second), { active: false });
  assert.equal((await it.proxy('/', hour)).status, 200);
});

test('L2: iat and exp are filled in, and a caller cannot bring a jti of its own', async () => {
  await using it = await startAdminSidecar();
  const { iat, exp, jti } = await introspect(it, await it.issue());
  assert.equal(Number(exp) - Number(iat), 900);
  assert.ok(Math.abs(Number(iat) - Date.now() / 1000) <= 2);
  assert.notEqual((await introspect(it, await it.issue())).jti, jti);
  for (const claims of [{ jti: 'mine' }, { iat: 1 }, { exp: 9_999_999_999 }]) {
    const body = { subject: 'alice', client: 'web', claims };
    assert.equal((await it.admin('POST', '/v1/tokens', { body })).status, 422, JSON.stringify(claims));
  }
});

test('L3: without a subject nothing is issued; issuer, type and audience have defaults, scopes have none', async () => {
  await using it = await startAdminSidecar();
  const issued = async () =>
    /operations_total\{operation="issue"\} (\d+)/.exec((await it.observe('GET', '/metrics')).text)?.[1];
  const before = await issued();
  const refused = await it.admin('POST', '/v1/tokens', { body: { client: 'web' } });
  assert.deepEqual([refused.status, [...refused.json.errors].map(({ path }) => path)], [422, ['subject']]);
  assert.equal(refused.json.token, undefined);
  assert.equal(await issued(), before);
  const { active, iss, aud, token_type, scope } = await introspect(it, await it.issue());
  // A default scope, as the reference has it, would grant what nobody asked for.
  assert.deepEqual(
    { active, iss, aud, token_type, scope },
    {
      active: true,
      iss: 'http://doorward.localhost',
      aud: 'api',
      token_type: 'Bearer',
      scope: '',
    },
  );
});

test('L8: a revocation has its own time, after which it is gone; by default it outlives the token instead of a fixed day', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue({ lifetime: '24h' });
  const { jti, exp } = await introspect(it, token);
  const body = { kind: 'token', issuer: 'self', id: jti, until: '1s' };
  const { json } = await it.admin('POST', '/v1/revocations', { body });
  assert.equal((await it.proxy('/', token)).status, 401);
  await eventually(async () => (await it.proxy('/', token)).status === 200, 3000);
  assert.equal((await it.admin('GET', `/v1/revocations/${json.id}`)).status, 404);
  const again = await it.admin('POST', '/v1/revocations', { body: { token } });
  assert.ok(Date.parse(String(again.json.until)) >= Number(exp) * 1000, 'the entry ends before the token');
});

test('L9: expiry is looked at on every use: a token that is remembered as good is refused after its exp', async () => {
  await using it = await startAdminSidecar(exact);
  const token = await it.issue({ lifetime: '1s' });
  assert.equal((await it.proxy('/', token)).status, 200);
  assert.equal(Number((await it.admin('GET', '/v1/status')).json.counts.tokens_cached), 1);
  await eventually(async () => (await it.proxy('/', token)).status === 401, 3000);
  it.upstream.clear();
  const { status, json } = await it.proxy('/', token);
  assert.deepEqual([status, json.code], [401, 'invalid_token']);
  assert.equal(it.upstream.bytes(), '');
});

test('L10: a revoked token is refused though it is remembered as good, and before its limits are charged', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue();
  assert.equal((await it.proxy('/limited', token)).status, 200);
  await it.admin('POST', '/v1/revocations', { body: { token } });
  it.upstream.clear();
  const { status, headers } = await it.proxy('/limited', token);
  assert.deepEqual([status, headers['retry-after']], [401, undefined]);
  assert.equal(it.upstream.bytes(), '');
  const decision = it.log().findLast(({ event }) => event === 'decision');
  assert.equal(decision?.reason, 'token_revoked');
  const [rate] = [...(await it.admin('GET', '/v1/limits/tight/self%2Fweb')).json.rates];
  assert.equal(Number(rate?.remaining), 1);
});

test('L11: 50 parallel issues and introspections all succeed, and a token with 100 scopes works end to end', async () => {
  await using it = await startAdminSidecar();
  const ids = Array.from({ length: 50 }, (_, at) => `user-${at}`);
  const tokens = await Promise.all(ids.map((subject) => it.issue({ subject })));
  const answers = await Promise.all(tokens.map((token) => introspect(it, token)));
  assert.deepEqual(
    answers.map(({ active, sub }) => [active, sub]),
    ids.map((id) => [true, id]),
  );
  assert.equal(new Set(answers.map(({ jti }) => jti)).size, 50);
  const scopes = Array.from({ length: 100 }, (_, at) => `scope:${at}`);
  const wide = await it.issue({ scopes });
  assert.equal((await introspect(it, wide)).scope, scopes.join(' '));
  const accepted = await it.proxy('/', wide);
  assert.equal(accepted.status, 200);
  assert.equal(accepted.json.headers['x-auth-scopes'], scopes.join(' '));
});
