// Rows and attacks of dynamic registration, on the plain functions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KnownNames } from '../../src/clients/properties.ts';
import { ownClient } from '../../src/clients/record.ts';
import {
  isPrivateAddress,
  readRegistration,
  readRegistrationUpdate,
  registrationMetadata,
} from '../../src/clients/registration.ts';
import type { Client, ClientProperties } from '../../src/stores/contracts/clients.ts';
import { mintKey } from '../support/minting.ts';

const NOW = Date.UTC(2030, 0, 1);
const known: KnownNames = {
  tiers: { free: { scopes: ['read_limited'] }, premium: { scopes: ['read', 'write', 'read_limited'] } },
  default_tier: 'free',
  limitTiers: ['free', 'premium'],
  limits: ['per_client'],
};
const redirect_uris = ['https://app.test/cb'];
const publicJwk = mintKey('ES256').jwk;

const stored = (properties: ClientProperties): Client => ({
  ...ownClient(
    'https://auth.test/',
    properties,
    { registeredBy: 'registration', registrationTokenDigest: undefined, secrets: [] },
    NOW,
  ),
  updatedAtMs: NOW,
  version: 1,
});

const refusal = (code: string) => ({ name: 'SidecarError', code });

test('H1: redirect URIs alone are enough; everything else has the defaults of RFC 7591', () => {
  const { name, type, authMethod, grantTypes, responseTypes, redirectUris, scopes } = readRegistration(
    { redirect_uris },
    known,
  );
  assert.deepEqual(
    { name, type, authMethod, grantTypes, responseTypes, redirectUris, scopes },
    {
      ...{ name: 'registered client', type: 'confidential', authMethod: 'client_secret_basic' },
      ...{ grantTypes: ['authorization_code'], responseTypes: ['code'], redirectUris: redirect_uris },
      scopes: ['read_limited'],
    },
  );
});

test('H4: nobody registers a tier, tenant, limits, audience, payment or disabled flag (weakness 5.4.5)', () => {
  const { tier, tenant, limits, audience, disabled } = readRegistration(
    {
      redirect_uris,
      ...{ tier: 'premium', tenant: 'acme', limits: { per_client: '1000000/1s' }, audience: ['admin'], disabled: true },
      payment_proof: { tier: 'premium', amount: 1 },
      ...{ client_id: 'c_chosen', client_secret: 'chosen', roles: ['admin'] },
    },
    known,
  );
  assert.deepEqual([tier, tenant, limits, audience, disabled], [undefined, undefined, {}, [], false]);
});

test('H4: nobody gets `introspect`, which asks about the tokens of all, by registering; what an operator gave stays', () => {
  const names: KnownNames = { ...known, tiers: { free: { scopes: ['read', 'introspect'] } } };
  const registered = readRegistration({ redirect_uris }, names);
  assert.deepEqual(registered.scopes, ['read']);
  const wider = { redirect_uris, scope: 'read introspect' };
  assert.throws(() => readRegistration(wider, names), refusal('invalid_client_metadata'));
  const client = stored(registered);
  const update = { ...wider, client_id: client.clientId };
  assert.throws(() => readRegistrationUpdate(update, client, names), refusal('invalid_client_metadata'));
  const given = { ...client, scopes: ['read', 'introspect'] };
  assert.deepEqual(readRegistrationUpdate(update, given, names).scopes, ['read', 'introspect']);
});

test('H4: scopes beyond the default tier are refused, and without a default tier there are none', () => {
  assert.throws(() => readRegistration({ redirect_uris, scope: 'read_limited write' }, known), {
    ...refusal('invalid_client_metadata'),
    message: 'scope asks for more than a client may have',
  });
  assert.deepEqual(readRegistration({ redirect_uris, scope: 'read_limited  read_limited' }, known).scopes, [
    'read_limited',
  ]);
  for (const none of [
    { ...known, default_tier: undefined },
    { ...known, tiers: {} },
  ]) {
    assert.deepEqual(readRegistration({ redirect_uris }, none).scopes, []);
    assert.throws(() => readRegistration({ redirect_uris, scope: 'read_limited' }, none));
  }
});

test('attack 124: bad redirect URIs are invalid_redirect_uri', () => {
  for (const uris of [
    ['javascript:alert(1)'],
    ['https://app.test/#f'],
    ['https://*.test/'],
    [],
    [7],
    'https://a.test/',
  ])
    assert.throws(() => readRegistration({ redirect_uris: uris }, known), refusal('invalid_redirect_uri'));
  assert.throws(() => readRegistration({}, known), refusal('invalid_redirect_uri'));
});

test('attack 124: jwks and jwks_uri together are invalid_client_metadata', () => {
  const metadata = {
    redirect_uris,
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [publicJwk] },
    jwks_uri: 'https://app.test/jwks',
  };
  assert.throws(() => readRegistration(metadata, known), refusal('invalid_client_metadata'));
});

test('attack 124: a jwks_uri to ourselves, a neighbour or a metadata service is refused', () => {
  for (const jwks_uri of [
    'http://app.test/jwks',
    'https://169.254.169.254/latest',
    'https://[fe80::1]/jwks',
    'https://[::ffff:169.254.169.254]/',
    'https://127.0.0.1/jwks',
    'https://2130706433/jwks',
    'https://10.0.0.1/jwks',
    'https://[fd00::1]/jwks',
    'https://localhost/jwks',
    'https://localhost./jwks',
    'https://redis/jwks',
    'https://metadata.google.internal/x',
    'file:///etc/passwd',
  ]) {
    const metadata = { redirect_uris, token_endpoint_auth_method: 'private_key_jwt', jwks_uri };
    assert.throws(() => readRegistration(metadata, known), refusal('invalid_client_metadata'), jwks_uri);
  }
  const fine = { redirect_uris, token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://app.test/jwks' };
  assert.equal(readRegistration(fine, known).jwksUri, 'https://app.test/jwks');
});

test('attack 124: a key set with a private or symmetric key, or none at all, is refused', () => {
  const withKeys = (keys: unknown) => ({
    redirect_uris,
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys },
  });
  assert.deepEqual(readRegistration(withKeys([publicJwk]), known).jwks, { keys: [publicJwk] });
  for (const keys of [[], [{ ...publicJwk, d: 'AAAA' }], [{ kty: 'oct', k: 'AAAA' }], [{ kty: 'none' }], 'x', [1]])
    assert.throws(() => readRegistration(withKeys(keys), known), refusal('invalid_client_metadata'));
  assert.throws(() => readRegistration({ ...withKeys([publicJwk]), jwks: undefined }, known));
});

test('attack 123: the password and implicit grants cannot be registered, nor response types beside code', () => {
  for (const more of [{ grant_types: ['password'] }, { grant_types: ['implicit'] }, { response_types: ['token'] }])
    assert.throws(() => readRegistration({ redirect_uris, ...more }, known), refusal('invalid_client_metadata'));
});

test('a public client has no secret and no client_credentials', () => {
  const spa = readRegistration({ redirect_uris, token_endpoint_auth_method: 'none' }, known);
  assert.deepEqual([spa.type, spa.authMethod], ['public', 'none']);
  const both = { token_endpoint_auth_method: 'none', grant_types: ['client_credentials'] };
  assert.throws(() => readRegistration(both, known), refusal('invalid_client_metadata'));
});

test('values of another type than RFC 7591 says are refused by name, and never quoted', () => {
  for (const [name, value] of Object.entries({
    client_name: ['x'],
    scope: 7,
    grant_types: 'authorization_code',
    token_endpoint_auth_method: 'client_secret_jwt',
    jwks_uri: {},
  })) {
    const metadata = { redirect_uris, token_endpoint_auth_method: 'private_key_jwt', [name]: value };
    assert.throws(
      () => readRegistration(metadata, known),
      (error: Error) => error.message.startsWith(name) && !error.message.includes(`${value}`.slice(0, 40) || '-'),
      name,
    );
  }
});

test('attack 125: an update must carry the client_id, and nothing that we issued', () => {
  const client = stored(readRegistration({ redirect_uris }, known));
  const update = { redirect_uris, client_id: client.clientId };
  assert.deepEqual(readRegistrationUpdate(update, client, known), readRegistration({ redirect_uris }, known));
  for (const wrong of [
    { redirect_uris },
    { ...update, client_id: 'c_other' },
    { ...update, registration_access_token: 'x' },
    { ...update, client_secret_expires_at: 0 },
  ])
    assert.throws(() => readRegistrationUpdate(wrong, client, known), refusal('invalid_client_metadata'));
});

test('attack 125: an update keeps what operators decided and widens nothing', () => {
  const own = readRegistration({ redirect_uris }, known);
  const client = stored({ ...own, tier: 'premium', tenant: 'acme', scopes: ['read'], disabled: true });
  const update = { redirect_uris, client_id: client.clientId, client_name: 'new', tier: 'free', disabled: false };
  const { name, tier, tenant, scopes, disabled } = readRegistrationUpdate(update, client, known);
  assert.deepEqual([name, tier, tenant, scopes, disabled], ['new', 'premium', 'acme', ['read'], true]);
  assert.throws(() => readRegistrationUpdate({ ...update, scope: 'read write' }, client, known));
  assert.throws(() => readRegistrationUpdate({ ...update, token_endpoint_auth_method: 'none' }, client, known));
});

test('the answer tells metadata only, in the words of RFC 7591', () => {
  const client = stored({ ...readRegistration({ redirect_uris }, known), tier: 'premium', tenant: 'acme' });
  assert.deepEqual(registrationMetadata(client), {
    client_id: client.clientId,
    client_id_issued_at: NOW / 1000,
    client_name: 'registered client',
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['authorization_code'],
    response_types: ['code'],
    redirect_uris,
    scope: 'read_limited',
  });
});

test('attack 124: private addresses in every spelling are told from public ones', () => {
  for (const address of [
    '127.0.0.1',
    '169.254.1.1',
    '::1',
    '::',
    '::ffff:10.0.0.1',
    'fc00::1',
    '100.64.0.1',
    '0.0.0.0',
    '::7f00:1',
    '::ffff:0:127.0.0.1',
    '64:ff9b:1::7f00:1',
    '2002:7f00:1::',
    '2001:0:7f00:1::1',
    'fec0::1',
    'x',
  ])
    assert.ok(isPrivateAddress(address), address);
  for (const address of ['93.184.216.34', '2606:2800:220:1::1']) assert.ok(!isPrivateAddress(address), address);
});
