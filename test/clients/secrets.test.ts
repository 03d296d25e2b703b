import assert from 'node:assert/strict';
import { test } from 'node:test';
import { externalClient, ownClient, propertiesOf } from '../../src/clients/record.ts';
import { authenticateSecret, liveSecrets, newClientSecret } from '../../src/clients/secrets.ts';
import { isPrefixedSecret, mintPrefixedSecret, secretDigest } from '../../src/core/prefixed-secret.ts';
import type { Client, ClientSecret } from '../../src/stores/contracts/clients.ts';

const NOW = Date.UTC(2030, 0, 1);
const clientWith = (secrets: readonly ClientSecret[]): Client => ({
  ...ownClient(
    'https://auth.test/',
    propertiesOf({ name: 'billing' }),
    { registeredBy: 'operator', registrationTokenDigest: undefined, secrets },
    NOW,
  ),
  updatedAtMs: NOW,
  version: 1,
});

test('a secret is 256 bits with a prefix and a checksum, and what is kept of it is a digest', () => {
  const { secret, kept } = newClientSecret(NOW, undefined);
  assert.match(secret, /^dws_[A-Za-z0-9_-]{43}_[A-Za-z0-9_-]{6}$/);
  assert.ok(isPrefixedSecret('dws', secret));
  assert.equal(kept.digest, secretDigest(secret));
  assert.ok(!JSON.stringify({ ...kept, prefix: '' }).includes(secret.slice(10, 30)));
  assert.ok(secret.startsWith(kept.prefix) && kept.prefix.length === 10);
});

test('a checksum that does not fit, and another prefix, are no such secret', () => {
  const secret = mintPrefixedSecret('dwi');
  const other = secret.at(10) === 'A' ? 'B' : 'A';
  assert.ok(!isPrefixedSecret('dwi', secret.slice(0, 10) + other + secret.slice(11)));
  assert.ok(!isPrefixedSecret('dws', secret));
});

test('either of two live secrets authenticates, and nothing else does', () => {
  const [first, second, third] = [1, 2, 3].map(() => newClientSecret(NOW, undefined));
  const client = clientWith([first, second].map((made) => made?.kept as ClientSecret));
  assert.equal(authenticateSecret(client, first?.secret ?? '', NOW), first?.kept.id);
  assert.equal(authenticateSecret(client, second?.secret ?? '', NOW), second?.kept.id);
  for (const wrong of [third?.secret ?? '', '', first?.kept.digest ?? '', `${first?.secret} `]) {
    assert.equal(authenticateSecret(client, wrong, NOW), undefined);
  }
});

test('a secret authenticates until the millisecond of its end', () => {
  const { secret, kept } = newClientSecret(NOW, NOW + 1000);
  assert.equal(authenticateSecret(clientWith([kept]), secret, NOW + 999), kept.id);
  assert.equal(authenticateSecret(clientWith([kept]), secret, NOW + 1000), undefined);
  assert.deepEqual(liveSecrets(clientWith([kept]), NOW + 1000), []);
});

test('attack 121: no client, or one without secrets, is compared as often and authenticates nothing', () => {
  for (const client of [undefined, clientWith([])]) {
    assert.equal(authenticateSecret(client, newClientSecret(NOW, undefined).secret, NOW), undefined);
  }
});

test('a draft has defaults that belong together', () => {
  const confidential = propertiesOf({ name: 'a' });
  assert.deepEqual(
    [confidential.type, confidential.authMethod, confidential.grantTypes, confidential.responseTypes],
    ['confidential', 'client_secret_basic', ['client_credentials'], []],
  );
  const spa = propertiesOf({ name: 'a', type: 'public', grantTypes: ['authorization_code'], scopes: undefined });
  assert.deepEqual([spa.authMethod, spa.responseTypes, spa.scopes], ['none', ['code'], []]);
});

test('an external record has neither secret nor grant', () => {
  const known = { name: 'billing', tier: 'paid', limits: {}, tenant: undefined, disabled: false };
  const { external, secrets, grantTypes, authMethod } = externalClient('https://id.test/', 'billing', known, NOW);
  assert.deepEqual([external, secrets, grantTypes, authMethod], [true, [], [], 'none']);
});
