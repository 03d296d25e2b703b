// A control plane without traffic: no routes, no upstreams; it serves OAuth and the admin port, and nothing else (design 1).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { get, openOAuthWorld } from './world.ts';

test('without routes the endpoints serve, the replica is ready, and every other path is 404', async () => {
  await using at = await openOAuthWorld({ routes: undefined, upstreams: undefined });
  const client = await at.addClient();
  const token = await at.as(client, 'token', { grant_type: 'client_credentials', scope: 'read' });
  assert.equal(token.status, 200, token.text);
  assert.equal((await get(`${at.sidecar.observeUrl}/readyz`)).status, 200);
  assert.equal((await get(`${at.issuer}/.well-known/jwks.json`)).status, 200);
  assert.equal((await get(`${at.issuer}/api`, { authorization: `Bearer ${token.json.access_token}` })).status, 404);
});
