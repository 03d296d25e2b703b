import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type KnownNames, propertyProblems } from '../../src/clients/properties.ts';
import { type ClientDraft, propertiesOf } from '../../src/clients/record.ts';

const known: KnownNames = {
  tiers: { paid: { scopes: ['read'] } },
  limitTiers: ['paid', 'free'],
  limits: ['per_client'],
};
const paths = (draft: Partial<ClientDraft>, names: KnownNames = known) =>
  propertyProblems(propertiesOf({ name: 'billing', tier: 'paid', ...draft }), names).map(({ path }) => path);
const code = { grantTypes: ['authorization_code'], redirectUris: ['https://app.test/cb'] } as const;

test('what a service and what a browser application is made of holds', () => {
  assert.deepEqual(paths({ scopes: ['read'] }), []);
  assert.deepEqual(paths({ ...code, type: 'public' }), []);
  assert.deepEqual(paths({ limits: { per_client: [{ limit: 1, windowMs: 1000 }] } }), []);
});

const refused: readonly [string, Partial<ClientDraft>, readonly string[]][] = [
  ['an empty name', { name: '' }, ['name']],
  ['a name with a line break', { name: 'a\nb' }, ['name']],
  ['a NUL in the tenant', { tenant: 'a\u0000' }, ['tenant']],
  ['a scope with a space', { scopes: ['read write'] }, ['scopes.0', 'scopes.0']],
  ['a scope twice', { scopes: ['read', 'read'] }, ['scopes.1']],
  ['a scope beyond the tier', { scopes: ['read', 'write'] }, ['scopes.1']],
  ['a tier nobody knows', { tier: 'gold' }, ['tier']],
  ['a limit nobody knows', { limits: { other: [{ limit: 1, windowMs: 1000 }] } }, ['limits.other']],
  ['a limit without rates', { limits: { per_client: [] } }, ['limits.per_client']],
  [
    'a secret for a public client',
    { ...code, type: 'public', authMethod: 'client_secret_basic' },
    ['token_endpoint_auth_method'],
  ],
  ['client_credentials for a public client', { type: 'public' }, ['grant_types']],
  ['codes without a redirect URI', { grantTypes: ['authorization_code'] }, ['redirect_uris']],
  ['a redirect URI without codes', { redirectUris: ['https://app.test/cb'] }, ['redirect_uris']],
  ['refresh without codes', { grantTypes: ['refresh_token'] }, ['grant_types']],
  ['private_key_jwt without keys', { authMethod: 'private_key_jwt' }, ['jwks']],
  ['keys without private_key_jwt', { jwksUri: 'https://app.test/jwks' }, ['jwks_uri']],
  ['keys over http', { authMethod: 'private_key_jwt', jwksUri: 'http://app.test/jwks' }, ['jwks_uri']],
];
for (const [what, draft, expected] of refused) {
  test(`${what} is refused by its field`, () => assert.deepEqual(paths(draft), expected));
}

test('every problem is told at once', () => {
  assert.deepEqual(paths({ name: '', tier: 'gold', grantTypes: ['refresh_token'] }), ['name', 'grant_types', 'tier']);
});
