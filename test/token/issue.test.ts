import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { SidecarError } from '../../src/core/errors.ts';
import { createSigner, fixedSigningKey } from '../../src/token/issue.ts';
import { openIssuer } from '../../src/token/issuers.ts';
import { openSigningKey, type SigningKey, signingKeyFromPem } from '../../src/token/signing-key.ts';
import { createVerifier } from '../../src/token/verify.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { type IssuerInput, issuerConfig, mintKey } from '../support/minting.ts';
import { reasonOf, refuseNetwork } from './verifiers.ts';

const SELF = 'https://auth.example.com';
const pemOf = (alg: string) => mintKey(alg).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
const misconfigured = (work: () => unknown) =>
  assert.throws(work, (error) => error instanceof SidecarError && error.kind === 'misconfigured');

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'doorward-key-'));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

function own(signingKey: SigningKey, input: Partial<IssuerInput> = {}) {
  const clock = new ManualClock();
  const config = issuerConfig({ issuer: SELF, sign: { algorithm: signingKey.algorithm }, ...input });
  const around = { secrets: refuseNetwork, readFile: refuseNetwork, clock, signingKey };
  const verifier = createVerifier({ issuers: new Map([['self', openIssuer('self', config, around)]]), clock });
  return { clock, config, verifier, signer: createSigner(config, fixedSigningKey(signingKey), clock) };
}

for (const algorithm of ['ES256', 'RS256', 'EdDSA'] as const) {
  test(`an access token issued with ${algorithm} is one of RFC 9068 and verifies`, async () => {
    const { clock, verifier, signer } = own(signingKeyFromPem(pemOf(algorithm), algorithm, 'test'));
    const issued = await signer.issueAccessToken({
      subject: 'alice',
      client: 'web',
      scopes: ['read', 'write'],
      roles: ['admin'],
      tenant: 'acme',
      session: 's1',
      claims: { tier: 'gold' },
    });
    assert.deepEqual(decodeProtectedHeader(issued.token), { alg: algorithm, kid: signer.keyId, typ: 'at+jwt' });
    const now = clock.nowMs() / 1000;
    assert.deepEqual(decodeJwt(issued.token), {
      iss: SELF,
      sub: 'alice',
      aud: 'api',
      client_id: 'web',
      scope: 'read write',
      roles: ['admin'],
      tenant: 'acme',
      sid: 's1',
      tier: 'gold',
      jti: issued.tokenId,
      iat: now,
      exp: now + 900,
    });
    const { principal } = await verifier.verify(issued.token, ['self']);
    assert.deepEqual(
      [principal.subject, principal.client, principal.scopes, principal.tokenId, principal.keyId],
      ['alice', 'web', ['read', 'write'], issued.tokenId, signer.keyId],
    );
    assert.equal(principal.expiresAtMs, issued.expiresAtMs);
  });
}

test('a lifetime is capped by max_lifetime, and what is issued is accepted', async () => {
  const { clock, verifier, signer } = own(signingKeyFromPem(pemOf('ES256'), 'ES256', 'test'), { max_lifetime: '1h' });
  const issued = await signer.issueAccessToken({ subject: 'a', client: 'c', lifetimeMs: 90 * 86_400_000 });
  assert.equal(issued.expiresAtMs, clock.nowMs() + 3_600_000);
  assert.equal(await reasonOf(verifier.verify(issued.token, ['self'])), 'ok');
  clock.advance(250);
  const odd = await signer.issueAccessToken({ subject: 'a', client: 'c', lifetimeMs: 1999, audience: ['api', 'b'] });
  assert.equal(odd.expiresAtMs, clock.nowMs() - 250 + 1000);
  assert.deepEqual(decodeJwt(odd.token).aud, ['api', 'b']);
});

test('claims go where the block says they are read', async () => {
  const claims = {
    client: 'azp',
    roles: ['realm_access', 'roles'],
    scopes: 'scp',
    tenant: ['org', 'id'],
    subject: 'uid',
  };
  const { verifier, signer } = own(signingKeyFromPem(pemOf('ES256'), 'ES256', 'test'), { claims });
  const extra = Object.freeze({ org: Object.freeze({ name: 'Acme' }) });
  const { token } = await signer.issueAccessToken({
    subject: 'a',
    client: 'c',
    roles: ['r'],
    scopes: ['s'],
    tenant: 't',
    claims: extra,
  });
  const { principal } = await verifier.verify(token, ['self']);
  assert.deepEqual(
    [principal.subject, principal.client, principal.roles, principal.scopes, principal.tenant],
    ['a', 'c', ['r'], ['s'], 't'],
  );
  assert.deepEqual(decodeJwt(token).org, { name: 'Acme', id: 't' });
});

test('claims that make a token something else cannot be asked for', async () => {
  const { signer } = own(signingKeyFromPem(pemOf('ES256'), 'ES256', 'test'));
  for (const name of ['iss', 'sub', 'aud', 'exp', 'jti', 'client_id', 'scope', 'cnf', 'nonce', 'family']) {
    const asked = signer.issueAccessToken({ subject: 'a', client: 'c', claims: { [name]: 'x' } });
    await assert.rejects(asked, (error) => error instanceof SidecarError && error.kind === 'malformed', name);
  }
});

test('claims cannot speak where the issuer block reads scopes, whether any are asked for or not', async () => {
  const key = signingKeyFromPem(pemOf('ES256'), 'ES256', 'test');
  const { signer, verifier } = own(key, { claims: { scopes: ['ext', 'perms'] } });
  const asked = { subject: 'a', client: 'c', claims: { ext: { perms: 'admin', tier: 'gold' } } };
  await assert.rejects(signer.issueAccessToken(asked), { kind: 'malformed' });
  await assert.rejects(signer.issueAccessToken({ ...asked, scopes: ['read'] }), { kind: 'malformed' });
  const { token } = await signer.issueAccessToken({ ...asked, claims: { ext: { tier: 'gold' } } });
  assert.deepEqual((await verifier.verify(token, ['self'])).principal.scopes, []);
});

test('attack 85: no private member of a signing key is ever published', () => {
  for (const algorithm of ['ES256', 'RS256', 'EdDSA'] as const) {
    const key = signingKeyFromPem(pemOf(algorithm), algorithm, 'test');
    const { signer } = own(key);
    const published = signer.publicJwks();
    assert.equal(published.keys.length, 1);
    for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']) {
      assert.ok(!(member in (published.keys[0] as object)), `${algorithm} ${member}`);
    }
    const secret = key.privateKey.export({ format: 'jwk' }).d as string;
    assert.ok(!JSON.stringify(published).includes(secret));
    assert.equal(published.keys[0]?.kid, key.kid);
  }
});

test('the signing key is made once with mode 0600 in a folder of mode 0700, and survives restarts', (t) => {
  const state = join(folder(t), 'state', 'inner');
  const path = join(state, 'signing-key.pem');
  const first = openSigningKey(path, 'ES256');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(state).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(state), ['signing-key.pem']);
  const second = openSigningKey(path, 'ES256');
  assert.equal(second.kid, first.kid);
  assert.match(first.kid, /^[\w-]{43}$/);
});

test('a signing key file that is corrupt, empty or of another kind is an error and is left as it was', (t) => {
  const path = join(folder(t), 'signing-key.pem');
  const truncated = pemOf('ES256').slice(0, 80);
  for (const text of ['', 'garbage', truncated, mintKey('ES256').pem, pemOf('RS256'), pemOf('ES384')]) {
    writeFileSync(path, text);
    misconfigured(() => openSigningKey(path, 'ES256'));
    assert.equal(readFileSync(path, 'utf8'), text);
  }
  const inFile = join(path, 'key.pem');
  misconfigured(() => openSigningKey(inFile, 'ES256'));
  assert.ok(!existsSync(inFile));
});

test('processes that start at once agree on one signing key', async (t) => {
  const path = join(folder(t), 'signing-key.pem');
  const { spawn } = await import('node:child_process');
  const { once } = await import('node:events');
  const module = new URL('../../src/token/signing-key.ts', import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then((m) => process.stdout.write(m.openSigningKey(process.argv[1], 'ES256').kid))`;
  const kids = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const child = spawn(process.execPath, ['-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
      let kid = '';
      child.stdout.on('data', (chunk) => {
        kid += chunk;
      });
      await once(child, 'close');
      return kid;
    }),
  );
  assert.equal(new Set(kids).size, 1);
  assert.equal(kids[0], openSigningKey(path, 'ES256').kid);
});

test('an issuer with sign needs a fitting key', () => {
  const key = signingKeyFromPem(pemOf('ES256'), 'ES256', 'test');
  const around = { secrets: refuseNetwork, readFile: refuseNetwork, clock: new ManualClock() };
  const config = issuerConfig({ issuer: SELF, sign: {} });
  misconfigured(() => openIssuer('self', config, around));
  misconfigured(() =>
    openIssuer('self', issuerConfig({ issuer: SELF, sign: {}, algorithms: ['RS256'] }), { ...around, signingKey: key }),
  );
  misconfigured(() => createSigner(issuerConfig({ issuer: SELF }), fixedSigningKey(key), around.clock));
  misconfigured(() => signingKeyFromPem(pemOf('ES256'), 'RS256', 'test'));
});

test('a family stands in the access token as the claim that its revocation is looked up by', async () => {
  const { verifier, signer } = own(signingKeyFromPem(pemOf('ES256'), 'ES256', 'test'));
  const { token } = await signer.issueAccessToken({ subject: 'alice', client: 'web', family: 'f1' });
  assert.equal((await verifier.verify(token, ['self'])).principal.family, 'f1');
});

for (const algorithm of ['ES256', 'RS256', 'EdDSA'] as const) {
  test(`H9: an ID token under ${algorithm} echoes the nonce, and no verifier takes it for an access token`, async () => {
    // Even where the audience of access tokens is the client's own id.
    const { clock, verifier, signer } = own(signingKeyFromPem(pemOf(algorithm), algorithm, 'test'), {
      audience: 'web',
    });
    const accessToken = 'header.payload.signature';
    const asked = { subject: 'alice', client: 'web', accessToken, expiresAtMs: clock.nowMs() + 60_000 };
    const token = await signer.issueIdToken({
      ...asked,
      authenticatedAtMs: clock.nowMs() - 5000,
      nonce: 'n-0S6_WzA2Mj',
      session: 's1',
      claims: { email: 'alice@example.com' },
    });
    assert.deepEqual(decodeProtectedHeader(token), { alg: algorithm, kid: signer.keyId, typ: 'JWT' });
    const now = clock.nowMs() / 1000;
    const whole = createHash(algorithm === 'EdDSA' ? 'sha512' : 'sha256')
      .update(accessToken)
      .digest();
    assert.deepEqual(decodeJwt(token), {
      iss: SELF,
      sub: 'alice',
      aud: 'web',
      iat: now,
      exp: now + 60,
      auth_time: now - 5,
      nonce: 'n-0S6_WzA2Mj',
      sid: 's1',
      email: 'alice@example.com',
      at_hash: whole.subarray(0, whole.length / 2).toString('base64url'),
    });
    assert.equal(await reasonOf(verifier.verify(token, ['self'])), 'token_type_refused');
    const bare = await signer.issueIdToken(asked);
    assert.equal(await reasonOf(verifier.verify(bare, ['self'])), 'token_type_refused', 'without a nonce too');
    await assert.rejects(signer.issueIdToken({ ...asked, claims: { aud: 'api' } }), { kind: 'malformed' });
  });
}
