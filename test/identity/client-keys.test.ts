// Keys of clients that say themselves where to fetch them.
import assert from 'node:assert/strict';
import { lookup } from 'node:dns';
import { test } from 'node:test';
import { propertiesOf } from '../../src/clients/record.ts';
import { systemClock } from '../../src/core/clock.ts';
import { HeldClientKeys } from '../../src/identity/oauth/client-keys.ts';
import type { Client } from '../../src/stores/contracts/clients.ts';
import { mintKey, startJwksServer } from '../support/minting.ts';

const clientWith = (more: Partial<Client>): Client =>
  ({ ...propertiesOf({ name: 'test', authMethod: 'private_key_jwt' }), ...more }) as Client;

test('attack 124: a jwks_uri whose name leads to a private address is never called', async () => {
  await using server = await startJwksServer([mintKey('ES256', 'k1').jwk]);
  const jwksUri = `http://localhost:${new URL(server.url).port}/jwks`;
  await using guarded = new HeldClientKeys(systemClock);
  await assert.rejects(async () => guarded.of(clientWith({ jwksUri }))?.find('k1', 'ES256'), {
    reason: 'keys_unavailable',
  });
  assert.deepEqual(server.requests, []);
  // The same name with a resolver that lets it through: so it was the guard.
  await using open = new HeldClientKeys(systemClock, (name, options, callback) =>
    lookup(name, { ...options, family: 4 }, callback as never),
  );
  const keys = await open.of(clientWith({ jwksUri }))?.find('k1', 'ES256');
  assert.equal(keys?.length, 1);
  assert.deepEqual(server.requests, ['/jwks']);
});

test('keys of the record itself are found by kid and algorithm, and no shared secret is a key', async () => {
  await using held = new HeldClientKeys(systemClock);
  const [key, mac] = [mintKey('ES256', 'k1'), mintKey('HS256', 'k2')];
  const keys = held.of(clientWith({ jwks: { keys: [key.jwk, mac.jwk] } }));
  assert.equal((await keys?.find('k1', 'ES256'))?.length, 1);
  for (const [kid, algorithm] of [
    ['k1', 'RS256'],
    ['k2', 'HS256'],
    ['k3', 'ES256'],
  ] as const) {
    assert.throws(() => keys?.find(kid, algorithm), { reason: 'token_key_unknown' });
  }
  assert.equal(held.of(clientWith({})), undefined);
});
