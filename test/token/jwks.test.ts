import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jwksAnswer } from '../../src/token/jwks.ts';
import { makeSigningKey } from '../../src/token/signing-key.ts';

const HOUR = 3_600_000;

test('L21, attack 85: the key set has kty, use, kid, alg and the public members of each kind of key, and nothing private', async () => {
  const algorithms = ['RS256', 'ES256', 'EdDSA'] as const;
  const made = await Promise.all(algorithms.map(makeSigningKey));
  const { body, cacheControl } = jwksAnswer(
    { publicJwks: () => ({ keys: made.map((key) => key.publicJwk) }) },
    2 * HOUR,
  );
  const { keys } = JSON.parse(body);
  assert.deepEqual(
    keys.map((key: object) => Object.keys(key).sort().join()),
    ['alg,e,kid,kty,n,use', 'alg,crv,kid,kty,use,x,y', 'alg,crv,kid,kty,use,x'],
  );
  assert.deepEqual(
    keys.map(({ alg, use }: { alg: string; use: string }) => [alg, use]),
    algorithms.map((alg) => [alg, 'sig']),
  );
  assert.equal(cacheControl, 'public, max-age=3600');
});

test('a key set may be kept for half of the time that keys are published ahead, an hour at most', () => {
  const signer = { publicJwks: () => ({ keys: [{ kty: 'EC' }] }) };
  assert.equal(jwksAnswer(signer, 48 * HOUR).cacheControl, 'public, max-age=3600');
  assert.equal(jwksAnswer(signer, 600_000).cacheControl, 'public, max-age=300');
  assert.equal(jwksAnswer(signer, 0).cacheControl, 'no-store');
  assert.deepEqual(jwksAnswer({ publicJwks: () => ({ keys: [] }) }, HOUR), {
    body: '{"keys":[]}\n',
    cacheControl: 'no-store',
  });
});
