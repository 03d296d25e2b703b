// The identity assertion as an application sees it: fetched keys, verified with jose, bound to audience and time.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { ConfigError } from '../../src/config/problem.ts';
import { makeSigningKey } from '../../src/token/signing-key.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar, type TestSidecar, testIssuerBlock, tokenFor } from '../support/sidecar.ts';

const enabled = { identity_assertion: { enabled: true } };
const claims = { roles: ['admin', 'editor'], tenant: 'acme', sid: 'session-1', client_id: 'web', jti: 'token-1' };

const keysOf = ({ proxyUrl }: TestSidecar) => createRemoteJWKSet(new URL(`${proxyUrl}/.doorward/assertion/jwks.json`));
const verify = (jwt: string, sidecar: TestSidecar, audience = 'test_app') =>
  jwtVerify(jwt, keysOf(sidecar), { issuer: 'doorward', audience, typ: 'assertion+jwt' });
const call = ({ proxyUrl }: TestSidecar, token: string, headers: Record<string, string> = {}) =>
  fetch(`${proxyUrl}/`, { headers: { authorization: `Bearer ${token}`, ...headers } });

async function asserted(config: Record<string, unknown> = enabled, token = tokenFor(claims)) {
  const upstream = await recordingUpstream();
  const sidecar = await startSidecar(upstream.url, config);
  assert.equal((await call(sidecar, token)).status, 200);
  const jwt = upstream.seen.at(-1)?.headers['x-auth-assertion'] as string;
  return {
    jwt,
    upstream,
    sidecar,
    async [Symbol.asyncDispose]() {
      await sidecar[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

for (const algorithm of ['ES256', 'RS256', 'EdDSA']) {
  test(`an assertion says who is calling and verifies with the published keys: ${algorithm}`, async () => {
    await using at = await asserted({ identity_assertion: { enabled: true, algorithm } });
    const { payload, protectedHeader } = await verify(at.jwt, at.sidecar);
    assert.equal(protectedHeader.alg, algorithm);
    const { iat, exp, ...words } = payload;
    assert.deepEqual(words, {
      iss: 'doorward',
      aud: 'test_app',
      sub: 'alice',
      client_id: 'web',
      scope: 'read write',
      roles: ['admin', 'editor'],
      tenant: 'acme',
      sid: 'session-1',
      token_issuer: 'https://id.test/',
      token_id: 'token-1',
    });
    assert.ok((exp as number) - (iat as number) <= 61);
  });
}

test('attack 32: a client cannot bring an assertion of its own, nor a true one of another caller', async () => {
  await using at = await asserted();
  const other = tokenFor({ sub: 'bob', jti: 'token-2' });
  await call(at.sidecar, other, { 'x-auth-assertion': at.jwt, X_Auth_Assertion: at.jwt });
  const seen = at.upstream.seen.at(-1);
  const { payload } = await verify(seen?.headers['x-auth-assertion'] as string, at.sidecar);
  assert.equal(payload.sub, 'bob');
  assert.ok(!seen?.rawHeaders.includes(at.jwt));
});

test('attack 32: an assertion for one application is none for another, nor after its time', async () => {
  await using at = await asserted();
  await assert.rejects(verify(at.jwt, at.sidecar, 'billing'), { code: 'ERR_JWT_CLAIM_VALIDATION_FAILED' });
  const options = { audience: 'test_app', currentDate: new Date(Date.now() + 61_000) };
  await assert.rejects(jwtVerify(at.jwt, keysOf(at.sidecar), options), { code: 'ERR_JWT_EXPIRED' });
});

test('an assertion is no access token: it is refused on the proxy port even by an issuer that has its key', async () => {
  const upstream = await recordingUpstream();
  await using _ = upstream;
  const { privateKey, publicJwk } = await makeSigningKey('ES256');
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  const issuer = { issuer: 'doorward', audience: ['test_app'], keys: { inline: { keys: [publicJwk] } } };
  await using sidecar = await startSidecar(upstream.url, {
    identity_assertion: { enabled: true, keys: [{ value: pem }] },
    issuers: { test: testIssuerBlock, own: issuer },
    defaults: { issuers: ['test', 'own'] },
  });
  await call(sidecar, tokenFor());
  const jwt = upstream.seen.at(-1)?.headers['x-auth-assertion'] as string;
  assert.equal(decodeProtectedHeader(jwt).typ, 'assertion+jwt');
  assert.equal((await call(sidecar, jwt)).status, 401);
});

test('an assertion never outlives the token it stands for, and is made anew at half its time', async () => {
  const exp = Math.floor(Date.now() / 1000) + 20;
  await using short = await asserted(enabled, tokenFor({ exp }));
  assert.equal((await verify(short.jwt, short.sidecar)).payload.exp, exp);
  await using quick = await asserted({ identity_assertion: { enabled: true, lifetime: '500ms' } });
  const token = tokenFor(claims);
  const seen = new Set<number>();
  for (
    const end = Date.now() + 10_000;
    seen.size < 3 && Date.now() < end;
    await new Promise((r) => setTimeout(r, 50))
  ) {
    await call(quick.sidecar, token);
    const jwt = quick.upstream.seen.at(-1)?.headers['x-auth-assertion'] as string;
    seen.add((await verify(jwt, quick.sidecar)).payload.iat as number);
  }
  assert.equal(seen.size, 3);
});

test('several keys: the first signs, all are published; a reload can change them', async () => {
  const keys = await Promise.all([makeSigningKey('EdDSA'), makeSigningKey('EdDSA')]);
  const pems = keys.map(({ privateKey }) => ({ value: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string }));
  const block = (order: unknown[]) => ({ enabled: true, algorithm: 'EdDSA', keys: order });
  await using at = await asserted({ identity_assertion: block(pems) });
  assert.equal(decodeProtectedHeader(at.jwt).kid, keys[0]?.kid);
  const config = JSON.parse(readFileSync(at.sidecar.file, 'utf8')) as Record<string, unknown>;
  at.sidecar.writeConfig({ ...config, identity_assertion: block([...pems].reverse()) });
  assert.ok((await at.sidecar.reload()).ok);
  await call(at.sidecar, tokenFor());
  const jwt = at.upstream.seen.at(-1)?.headers['x-auth-assertion'] as string;
  assert.equal(decodeProtectedHeader(jwt).kid, keys[1]?.kid);
  for (const each of [jwt, at.jwt]) await verify(each, at.sidecar);
});

test('without keys one is kept in state_dir with mode 0600, and no private member is published', async () => {
  await using at = await asserted();
  assert.equal(statSync(join(at.sidecar.stateDir, 'assertion-key.pem')).mode & 0o777, 0o600);
  const answer = await fetch(`${at.sidecar.proxyUrl}/.doorward/assertion/jwks.json`);
  assert.equal(answer.headers.get('content-type'), 'application/jwk-set+json');
  const { keys } = (await answer.json()) as { keys: Record<string, unknown>[] };
  assert.deepEqual(Object.keys(keys[0] ?? {}).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
});

test('off: no header, no key set', async () => {
  await using at = await asserted({});
  assert.equal(at.jwt, undefined);
  assert.equal((await fetch(`${at.sidecar.proxyUrl}/.doorward/assertion/jwks.json`)).status, 404);
});

test('an anonymous request carries none, and a verdict carries it empty then', async () => {
  await using at = await asserted({
    ...enabled,
    proxy: { endpoints: { verdict: true }, trusted_proxies: ['127.0.0.0/8'] },
    routes: { all: { match: { prefix: '/' }, auth: 'optional' } },
  });
  await fetch(`${at.sidecar.proxyUrl}/`, { headers: { 'x-auth-assertion': at.jwt } });
  assert.equal(at.upstream.seen.at(-1)?.headers['x-auth-assertion'], undefined);
  const ask = (headers: Record<string, string>) =>
    fetch(`${at.sidecar.proxyUrl}/.doorward/verdict/nginx`, {
      headers: { 'x-original-uri': '/', 'x-original-method': 'GET', ...headers },
    });
  assert.equal((await ask({ 'x-auth-assertion': at.jwt })).headers.get('x-auth-assertion'), '');
  const told = await ask({ authorization: `Bearer ${tokenFor(claims)}` });
  assert.equal((await verify(told.headers.get('x-auth-assertion') as string, at.sidecar)).payload.sub, 'alice');
});

test('the configuration is refused where it cannot work', async () => {
  const redis = await startRedis();
  await using _ = redis;
  const refused = async (config: Record<string, unknown>, words: RegExp) => {
    await assert.rejects(startSidecar('http://127.0.0.1:1', config), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, words);
      return true;
    });
  };
  await refused({ ...enabled, redis: { url: { value: redis.url } } }, /identity_assertion: needs keys with redis/);
  await refused({ ...enabled, name: undefined }, /identity_assertion: needs audience, or name/);
  await refused({ identity_assertion: { enabled: true, header: 'X-Auth.Subject' } }, /identity_assertion\.header/);
  await refused(
    { identity_assertion: { enabled: true, header: 'X-Auth-Subject' } },
    /reads the same as X-Auth-Subject/,
  );
  await refused({ identity_assertion: { enabled: true, keys: [{ value: 'no key' }] } }, /keys\[0\]: holds no PKCS8/);
});
