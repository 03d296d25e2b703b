// A code minted before `not_before` and redeemed after it (or while the call that cuts was under way) began a grant that counted as
// a later login: neither ended nor refused when it was refreshed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openOAuthWorld, REDIRECT } from '../identity/world.ts';

test('a grant counts from when its code was minted: a cut between that and its redemption ends it', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient({ grantTypes: ['authorization_code', 'refresh_token'] });
  const before = await world.code(client);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const cut = new Date().toISOString();
  await new Promise((resolve) => setTimeout(resolve, 20));
  // The cut is not known yet: as on a replica that is a moment behind.
  const redeemed = await world.as(client, 'token', {
    ...{ grant_type: 'authorization_code', code: before.code, redirect_uri: REDIRECT, code_verifier: before.verifier },
  });
  assert.equal(redeemed.status, 200, redeemed.text);
  const body = { kind: 'subject', id: 'alice', not_before: cut };
  assert.equal((await world.admin('POST', '/v1/revocations', body)).status, 201);
  const [row] = await world.database.sql`select end_reason from token_family`;
  assert.deepEqual(row, { end_reason: 'revoked' });
  const refreshed = await world.as(client, 'token', {
    ...{ grant_type: 'refresh_token', refresh_token: redeemed.json.refresh_token },
  });
  assert.equal(refreshed.json.error, 'invalid_grant');
  const later = await world.login(client);
  assert.equal(later.status, 200, 'who logs in afterwards gets in');
});
