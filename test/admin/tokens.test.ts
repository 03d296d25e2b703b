// Issuing and introspecting over the admin port (RFC 9068, RFC 7662).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mintKey, mintToken } from '../support/minting.ts';
import { FOREIGN, startAdminSidecar } from './admin-sidecar.ts';

const INACTIVE = '{"active":false}\n';

test('L4: unknown, expired, revoked, foreign, disabled and malformed tokens are introspected to the same bytes', async () => {
  await using it = await startAdminSidecar((config) => ({
    ...config,
    clients: { off: { id: 'off', issuer: 'corp', disabled: true } },
  }));
  const nowMs = Date.now();
  const iat = Math.floor(nowMs / 1000) - 7200;
  const revoked = await it.issue();
  await it.admin('POST', '/v1/revocations', { body: { token: revoked } });
  const cases = {
    unknown: mintToken(mintKey('ES256'), FOREIGN, nowMs),
    expired: mintToken(it.key, FOREIGN, nowMs, { claims: { iat, exp: iat + 60 } }),
    revoked,
    foreign: mintToken(it.key, 'https://evil.example/', nowMs),
    disabled: mintToken(it.key, FOREIGN, nowMs, { claims: { client_id: 'off' } }),
    malformed: 'opaque',
    empty: '',
  };
  for (const [name, token] of Object.entries(cases)) {
    const answer = await it.admin('POST', '/v1/tokens/introspect', { body: { token } });
    assert.deepEqual([answer.status, answer.text], [200, INACTIVE], name);
    assert.equal(answer.headers['content-length'], String(INACTIVE.length), name);
  }
});

test('L5: an active token is introspected with every field, and its own claims cannot pose as ours', async () => {
  await using it = await startAdminSidecar();
  const token = mintToken(it.key, FOREIGN, Date.now(), { claims: { lid_type: 'USR', active: 'no', token_type: 'x' } });
  const { status, json } = await it.admin('POST', '/v1/tokens/introspect', { body: { token } });
  assert.equal(status, 200);
  const { active, sub, scope, iss, token_type, client_id, lid_type } = json;
  assert.deepEqual(
    { active, sub, scope, iss, token_type, client_id, lid_type },
    {
      active: true,
      sub: 'alice',
      scope: 'read write',
      iss: FOREIGN,
      token_type: 'Bearer',
      client_id: 'web',
      lid_type: 'USR',
    },
  );
  assert.match(String(json.jti), /^jti-/);
  assert.equal(Number(json.exp) - Number(json.iat), 300);
});

test('attack 93: introspection without an operator token is 401 and says nothing about the token', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue();
  for (const bad of [null, 'dwa_wrong', token]) {
    const answer = await it.admin('POST', '/v1/tokens/introspect', { body: { token }, token: bad });
    assert.equal(answer.status, 401);
    assert.match(String(answer.headers['www-authenticate']), /^Bearer realm="doorward-admin"/);
    assert.doesNotMatch(answer.text, /active|alice/);
  }
});

test('an issued token says what was asked for and is accepted by the proxy', async () => {
  await using it = await startAdminSidecar();
  const body = { subject: 'bob', client: 'cli', scopes: ['read'], roles: ['editor'], tenant: 'acme', lifetime: '1m' };
  const answer = await it.admin('POST', '/v1/tokens', { body });
  assert.equal(answer.status, 201);
  assert.deepEqual(Object.keys(answer.json), ['token', 'token_type', 'token_id', 'issuer', 'expires_at']);
  const { headers: seen } = (await it.proxy('/', String(answer.json.token))).json;
  assert.deepEqual(
    [seen['x-auth-subject'], seen['x-auth-client'], seen['x-auth-roles'], seen['x-auth-tenant']],
    ['bob', 'cli', 'editor', 'acme'],
  );
});

test('claims that an operator may not set, and wrong fields, are 422 and named', async () => {
  await using it = await startAdminSidecar();
  const cases: [object, string][] = [
    [{ subject: 'a', client: 'b', claims: { exp: 9e9 } }, 'claims'],
    [{ subject: 'a', client: 'b', issuer: 'corp' }, 'issuer'],
    [{ subject: 'a', client: 'b', lifetime: '15' }, 'lifetime'],
    [{ subject: 'a', client: 'b', lifetime: '900d' }, 'lifetime'],
    [{ subject: 'a', client: 'b', scopes: ['two words'] }, 'scopes.0'],
    [{ subject: 'a', client: 'b', is_admin: true }, 'is_admin'],
    [{ client: 'b' }, 'subject'],
  ];
  for (const [body, path] of cases) {
    const { status, json } = await it.admin('POST', '/v1/tokens', { body });
    assert.equal(status, 422, path);
    assert.deepEqual(
      [...json.errors].map((error) => error.path),
      [path],
    );
  }
});

test('a lifetime above max_lifetime is refused, and not cut down in silence', async () => {
  await using it = await startAdminSidecar();
  const issue = (lifetime: string) => it.admin('POST', '/v1/tokens', { body: { subject: 'a', client: 'b', lifetime } });
  assert.equal((await issue('24h')).status, 201);
  const [error] = [...(await issue('25h')).json.errors];
  assert.deepEqual(error as unknown, {
    path: 'lifetime',
    problem: 'needs to be at most max_lifetime of the issuer (1d)',
  });
});

test('without an issuer of ours issuing is 501 not_configured', async () => {
  await using it = await startAdminSidecar(({ issuers, ...config }) => {
    const corp = issuers?.corp;
    return { ...config, issuers: corp === undefined ? {} : { corp }, defaults: { issuers: ['corp'] } };
  });
  const { status, json } = await it.admin('POST', '/v1/tokens', { body: { subject: 'a', client: 'b' } });
  assert.deepEqual([status, json.code], [501, 'not_configured']);
});
