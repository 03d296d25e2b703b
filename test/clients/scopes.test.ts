import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allowedScopes, grantScopes } from '../../src/clients/scopes.ts';

const settings = {
  tiers: {
    free: { scopes: ['read_limited'] },
    paid: { scopes: ['read', 'covenant_read'] },
    premium: { scopes: ['read', 'write', 'covenant_read', 'covenant_create'] },
  },
  default_tier: 'free',
};
const scopes = ['read', 'write', 'read_limited', 'covenant_create', 'other'];

test('H4: the tier narrows what a client may ask for', () => {
  assert.deepEqual(allowedScopes({ scopes, tier: 'free' }, settings), ['read_limited']);
  assert.deepEqual(allowedScopes({ scopes, tier: 'paid' }, settings), ['read']);
  assert.deepEqual(allowedScopes({ scopes, tier: 'premium' }, settings), ['read', 'write', 'covenant_create']);
});

test('H4: asking beyond the tier grants nothing and names what is refused', () => {
  const client = { scopes, tier: 'paid' };
  assert.deepEqual(grantScopes(client, ['read', 'write', 'covenant_read'], settings), {
    refused: ['write', 'covenant_read'],
  });
  assert.deepEqual(grantScopes(client, ['read', 'read'], settings), { granted: ['read'] });
  assert.deepEqual(grantScopes(client, undefined, settings), { granted: ['read'] });
  assert.deepEqual(grantScopes(client, [], settings), { granted: [] });
});

test('H4: without a tier the default one counts, and a tier that is not listed allows nothing', () => {
  assert.deepEqual(allowedScopes({ scopes, tier: undefined }, settings), ['read_limited']);
  assert.deepEqual(allowedScopes({ scopes, tier: 'gold' }, settings), []);
  assert.deepEqual(allowedScopes({ scopes, tier: 'constructor' }, settings), []);
  assert.deepEqual(allowedScopes({ scopes, tier: undefined }, { tiers: settings.tiers }), []);
});

test('H4: without tiers in sidecar.yaml only the record counts', () => {
  assert.deepEqual(allowedScopes({ scopes, tier: 'paid' }, { tiers: {} }), scopes);
});
