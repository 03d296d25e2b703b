import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mintRaw } from '../support/minting.ts';
import { es256, ISSUER, setup, verified } from './verifiers.ts';

test('the principal carries what the token says, frozen throughout', async () => {
  const at = setup({ claims: { roles: ['realm_access', 'roles'], tenant: 'org_id' } });
  const token = at.mint({
    claims: { jti: 'j1', sid: 's1', org_id: 'acme', realm_access: { roles: ['admin', 'dev'] }, iat: 1768478400 },
  });
  const { principal, notAfterMs, digest } = await at.verifier.verify(token, ['corp']);
  assert.deepEqual(
    { ...principal, claims: undefined },
    {
      issuerName: 'corp',
      issuer: ISSUER,
      subject: 'alice',
      client: 'web',
      scopes: ['read', 'write'],
      roles: ['admin', 'dev'],
      tenant: 'acme',
      tokenId: 'j1',
      session: 's1',
      family: undefined,
      keyId: 'es256',
      issuedAtMs: 1768478400000,
      expiresAtMs: 1768478700000,
      claims: undefined,
    },
  );
  assert.equal(notAfterMs, principal.expiresAtMs + 60_000);
  assert.match(digest, /^[\w-]{43}$/);
  for (const part of [principal, principal.scopes, principal.roles, principal.claims, principal.claims.realm_access]) {
    assert.ok(Object.isFrozen(part));
  }
});

test('client is client_id, then azp; scopes are scope, then scp; both as configured instead', async () => {
  const at = setup();
  const principal = async (from: typeof at, claims: Record<string, unknown>) =>
    (await from.verifier.verify(from.mint({ claims }), ['corp'])).principal;
  assert.equal((await principal(at, { client_id: 'a', azp: 'b' })).client, 'a');
  assert.equal((await principal(at, { client_id: undefined, azp: 'b' })).client, 'b');
  assert.equal((await principal(at, { client_id: undefined })).client, undefined);
  assert.deepEqual((await principal(at, { scope: undefined, scp: 'a  b ' })).scopes, ['a', 'b']);
  assert.deepEqual((await principal(at, { scope: undefined, scp: ['a', 'b'] })).scopes, ['a', 'b']);
  assert.deepEqual((await principal(at, { scope: 'x', scp: 'a' })).scopes, ['x']);
  assert.deepEqual((await principal(at, { scope: undefined })).scopes, []);
  assert.deepEqual((await principal(at, { roles: 'a b' })).roles, ['a', 'b']);
  const other = setup({ claims: { client: 'azp', scopes: ['ext', 'perms'] } });
  const found = await principal(other, { client_id: 'a', azp: 'b', ext: { perms: ['p'] }, scope: 'ignored' });
  assert.deepEqual([found.client, found.scopes], ['b', ['p']]);
});

test('identifiers are non-empty strings of at most 1024 characters without NUL', async () => {
  const at = setup();
  for (const name of ['sub', 'jti', 'client_id', 'sid', 'tenant']) {
    for (const value of ['', 7, null, {}, [], ['a'], true, 'a\0b', 'x'.repeat(1025)]) {
      const said = await at.say(at.mint({ claims: { [name]: value } }));
      assert.equal(said, 'token_claims_invalid', `${name} ${JSON.stringify(value).slice(0, 20)}`);
    }
    assert.equal(await at.say(at.mint({ claims: { [name]: 'x'.repeat(1024) } })), 'ok');
  }
  for (const roles of [7, null, { a: 1 }, ['a', 7], ['']]) {
    assert.equal(await at.say(at.mint({ claims: { roles } })), 'token_claims_invalid', JSON.stringify(roles));
  }
});

test('claims that every token must carry are compared by value, list, membership or presence', async () => {
  const at = setup({ require: { tier: 'gold', level: [1, 2], acr: null, groups: 'staff', ok: true } });
  const good = { tier: 'gold', level: 2, acr: 'any', groups: ['staff', 'x'], ok: true };
  assert.equal(await at.say(at.mint({ claims: good })), 'ok');
  for (const change of [
    { tier: 'silver' },
    { tier: undefined },
    { level: 3 },
    { level: '1' },
    { acr: undefined },
    { acr: null },
    { groups: [] },
    { groups: ['staffx'] },
    { ok: 'true' },
  ]) {
    const said = await at.say(at.mint({ claims: { ...good, ...change } }));
    assert.equal(said, 'token_claims_invalid', JSON.stringify(change));
  }
});

test('inherited members are never claims', async () => {
  const at = setup({ claims: { subject: ['constructor', 'name'], tenant: 'toString', roles: ['__proto__', 'x'] } });
  const { principal } = await at.verifier.verify(at.mint({ claims: { sub: undefined } }), ['corp']);
  assert.deepEqual([principal.subject, principal.tenant, principal.roles], [undefined, undefined, []]);
  const needy = setup({ require: { hasOwnProperty: null } });
  assert.equal(await needy.say(needy.mint()), 'token_claims_invalid');
});

test('a claim name with dots is one name, never a path', async () => {
  const at = setup({ claims: { tenant: 'https://acme.example/tenant' } });
  const token = at.mint({ claims: { 'https://acme.example/tenant': 't1' } });
  assert.equal((await at.verifier.verify(token, ['corp'])).principal.tenant, 't1');
});

test('a token without jti is known by the digest of header and payload', async () => {
  const at = setup();
  const header = { alg: 'ES256', typ: 'JWT', kid: 'es256' };
  const claims = { iss: ISSUER, aud: 'api', exp: Math.floor(at.clock.nowMs() / 1000) + 60 };
  const [first, second] = [mintRaw(es256, header, claims), mintRaw(es256, header, claims)];
  assert.notEqual(first, second);
  const a = await at.verifier.verify(first, ['corp']);
  const b = await at.verifier.verify(second, ['corp']);
  assert.equal(a.principal.tokenId, `sha256:${a.digest}`);
  assert.equal(a.principal.tokenId, b.principal.tokenId);
  assert.equal(verified(at.verifier.peek(first)), a);
});
