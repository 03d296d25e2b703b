// The three grants of the token endpoint, over a running sidecar with a real PostgreSQL.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { eventually } from '../attacks/world.ts';
import { challengeOf, openOAuthWorld, REDIRECT } from './world.ts';

test('H7: client_credentials gives an access token of RFC 9068, for the scopes asked, that the proxy takes', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient({ tenant: 'acme' });
  const reply = await world.as(client, 'token', { grant_type: 'client_credentials', scope: 'read' });
  assert.equal(reply.status, 200);
  assert.deepEqual(Object.keys(reply.json).sort(), ['access_token', 'expires_in', 'scope', 'token_type']);
  assert.deepEqual([reply.json.token_type, reply.json.scope], ['Bearer', 'read']);
  assert.ok(reply.json.expires_in > 890 && reply.json.expires_in <= 900);
  assert.equal(reply.headers.get('cache-control'), 'no-store');
  assert.equal(decodeProtectedHeader(reply.json.access_token).typ, 'at+jwt');
  const { jti, iat, exp, ...claims } = decodeJwt(reply.json.access_token);
  assert.deepEqual(claims, {
    iss: world.issuer,
    sub: client.id,
    client_id: client.id,
    aud: 'api',
    scope: 'read',
    tenant: 'acme',
    subject_type: 'client',
  });
  assert.equal(typeof jti, 'string');
  assert.equal((exp as number) - (iat as number), 900);
  assert.equal(await world.call(reply.json.access_token), 200);
  assert.equal(world.upstream.seen.at(-1)?.headers['x-auth-client'], client.id);
});

test('L2: without a scope asked the token carries all that the client may have; jti and times are ours', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const form = { grant_type: 'client_credentials', jti: 'mine', iat: '1', exp: '9999999999' };
  const { json } = await world.as(client, 'token', form);
  assert.equal(json.scope, 'openid read write');
  const claims = decodeJwt(json.access_token);
  assert.notEqual(claims.jti, 'mine');
  assert.ok(Math.abs((claims.exp as number) - (claims.iat as number) - 900) <= 1);
  assert.ok(Math.abs((claims.iat as number) - Date.now() / 1000) < 5);
});

test('H5 H6 H9: a code with its verifier gives access, refresh and ID token; the nonce is echoed', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const reply = await world.login(client, {
    nonce: 'n-1',
    session: 's-1',
    roles: ['editor'],
    scopes: ['openid', 'read'],
    auth_time: '2026-01-02T03:04:05Z',
    claims: { email: 'alice@example.com', name: 'Алиса' },
  });
  assert.equal(reply.status, 200, reply.text);
  const access = decodeJwt(reply.json.access_token);
  assert.deepEqual(
    [access.sub, access.client_id, access.scope, access.sid, access.roles, access.subject_type],
    ['alice', client.id, 'openid read', 's-1', ['editor'], 'user'],
  );
  assert.match(String(access.family), /^f_[A-Za-z0-9_-]{22}$/);
  const id = decodeJwt(reply.json.id_token);
  assert.deepEqual(
    [id.iss, id.sub, id.aud, id.nonce, id.sid, id.email, id.name, id.auth_time],
    [world.issuer, 'alice', client.id, 'n-1', 's-1', 'alice@example.com', 'Алиса', 1_767_323_045],
  );
  assert.deepEqual(
    [await world.call(reply.json.access_token), await world.call(reply.json.id_token)],
    [200, 401],
    'an ID token is no access token',
  );
});

test('H5: a code of another client, redirect URI or verifier is invalid_grant, and the rightful one still works', async () => {
  await using world = await openOAuthWorld();
  const [client, other] = [await world.addClient(), await world.addClient()];
  const { code, verifier } = await world.code(client);
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: verifier };
  const wrong = [
    await world.as(other, 'token', form),
    await world.as(client, 'token', { ...form, redirect_uri: `${REDIRECT}/` }),
    await world.as(client, 'token', { ...form, code_verifier: 'x'.repeat(43) }),
    await world.as(client, 'token', { ...form, code: `${code.slice(0, -1)}${code.endsWith('A') ? 'B' : 'A'}` }),
    // RFC 7636 7.2: the challenge itself is no verifier, as it would be under `plain`.
    await world.as(client, 'token', { ...form, code_verifier: challengeOf(verifier) }),
  ];
  for (const reply of wrong) {
    assert.equal(reply.status, 400);
    assert.equal(reply.text, wrong[0]?.text, 'one answer for all of them');
    assert.equal(reply.json.error, 'invalid_grant');
  }
  assert.equal((await world.as(client, 'token', form)).status, 200);
});

test('H6 attack 123: PKCE is a must, S256 alone, with 43 to 128 characters', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { code, verifier } = await world.code(client);
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT };
  for (const code_verifier of [undefined, '', 'short', 'x'.repeat(42), 'x'.repeat(129), `${'x'.repeat(42)}!`]) {
    const { status, json } = await world.as(client, 'token', { ...form, code_verifier });
    assert.deepEqual([status, json.error], [400, 'invalid_request'], String(code_verifier));
  }
  const plain = await world.code(client, { code_challenge: verifier, code_challenge_method: 'plain' });
  assert.equal(plain.status, 422);
  assert.equal((await world.code(client, { code_challenge: undefined })).status, 422);
});

test('attack 123: a second use of a code revokes all that came of the first, and is audited', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { code, verifier } = await world.code(client);
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: verifier };
  const first = await world.as(client, 'token', form);
  assert.equal(await world.call(first.json.access_token), 200);
  const second = await world.as(client, 'token', form);
  assert.deepEqual([second.status, second.json.error], [400, 'invalid_grant']);
  assert.equal(await world.call(first.json.access_token), 401);
  const refreshed = await world.as(client, 'token', {
    grant_type: 'refresh_token',
    refresh_token: first.json.refresh_token,
  });
  assert.deepEqual([refreshed.status, refreshed.json.error], [400, 'invalid_grant']);
  const events = world.sidecar.logged().filter(({ type }) => type === 'code.reuse_detected');
  assert.equal(events.length, 1);
});

test('attack 123: of 50 redemptions of one code at once one wins, none is a 500', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { code, verifier } = await world.code(client);
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: verifier };
  const replies = await Promise.all(Array.from({ length: 50 }, () => world.as(client, 'token', form)));
  const statuses = replies.map(({ status }) => status).sort();
  assert.deepEqual(
    [statuses.filter((status) => status === 200).length, statuses.filter((s) => s === 400).length],
    [1, 49],
  );
});

test('attack 119: 50 refreshes of one token at once get one successor, none is a 500', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { json } = await world.login(client);
  const form = { grant_type: 'refresh_token', refresh_token: json.refresh_token };
  const replies = await Promise.all(Array.from({ length: 50 }, () => world.as(client, 'token', form)));
  assert.deepEqual(new Set(replies.map(({ status }) => status)), new Set([200]));
  const successors = new Set(replies.map((reply) => reply.json.refresh_token));
  assert.equal(successors.size, 1);
  const [successor] = [...successors];
  assert.notEqual(successor, json.refresh_token);
  assert.equal((await world.as(client, 'token', { ...form, refresh_token: successor })).status, 200);
});

test('attack 118: a retry within the grace gets the same successor; reuse after it kills the family', async () => {
  await using world = await openOAuthWorld({ oauth: { refresh_grace: '1s' } });
  const client = await world.addClient();
  const { json: first } = await world.login(client);
  const refresh = (token: string) => world.as(client, 'token', { grant_type: 'refresh_token', refresh_token: token });
  const second = await refresh(first.refresh_token);
  const again = await refresh(first.refresh_token);
  assert.deepEqual([second.status, again.status], [200, 200]);
  assert.equal(again.json.refresh_token, second.json.refresh_token);
  assert.equal(await world.call(second.json.access_token), 200);
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const reused = await refresh(first.refresh_token);
  assert.deepEqual([reused.status, reused.json.error], [400, 'invalid_grant']);
  for (const token of [first.access_token, second.json.access_token, again.json.access_token]) {
    assert.equal(await world.call(token), 401);
  }
  assert.equal((await refresh(second.json.refresh_token)).json.error, 'invalid_grant');
  const [event] = world.sidecar.logged().filter(({ type }) => type === 'token.reuse_detected');
  assert.deepEqual([event?.subject, event?.client, event?.outcome], ['alice', client.id, 'failure']);
});

test('H8 C9: a refresh rotates; the second use of a spent one that is not the last kills the family, grace or not', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { json: first } = await world.login(client);
  const refresh = (token: string) => world.as(client, 'token', { grant_type: 'refresh_token', refresh_token: token });
  const second = await refresh(first.refresh_token);
  const third = await refresh(second.json.refresh_token);
  assert.equal(third.status, 200);
  assert.equal(await world.call(third.json.access_token), 200, 'beat-list 7: a refreshed token is accepted');
  assert.equal((await refresh(first.refresh_token)).json.error, 'invalid_grant');
  assert.equal((await refresh(third.json.refresh_token)).json.error, 'invalid_grant');
});

test('attack 120: another client, a wider scope, a forged number or MAC are refused and spend nothing', async () => {
  await using world = await openOAuthWorld();
  const [client, other] = [await world.addClient(), await world.addClient()];
  const { json } = await world.login(client, { scopes: ['openid', 'read'] });
  const token: string = json.refresh_token;
  const form = { grant_type: 'refresh_token', refresh_token: token };
  assert.equal((await world.as(other, 'token', form)).json.error, 'invalid_grant');
  assert.equal((await world.as(client, 'token', { ...form, scope: 'read write' })).json.error, 'invalid_scope');
  const forged = [token.replace('.0.', '.1.'), `${token.slice(0, -3)}AAA`, `${token}A`, 'dwf_', 'x'];
  for (const refresh_token of forged) {
    assert.equal(
      (await world.as(client, 'token', { ...form, refresh_token })).json.error,
      'invalid_grant',
      refresh_token,
    );
  }
  const narrowed = await world.as(client, 'token', { ...form, scope: 'read' });
  assert.deepEqual([narrowed.status, narrowed.json.scope, narrowed.json.id_token], [200, 'read', undefined]);
  const whole = await world.as(client, 'token', { ...form, refresh_token: narrowed.json.refresh_token });
  assert.equal(whole.json.scope, 'openid read', 'the grant itself is not narrowed');
  assert.equal(decodeJwt(whole.json.id_token).nonce, undefined);
});

test('attack 120: what is taken from a client, its old grants and codes do not give it either', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient({ audience: ['api', 'payments'], tenant: 'acme' });
  const change = async (body: object) =>
    assert.equal((await world.admin('PATCH', `/v1/clients/${client.id}`, body)).status, 200);
  let { json } = await world.login(client);
  const refresh = async () => {
    const form = { grant_type: 'refresh_token', refresh_token: json.refresh_token };
    const reply = await world.as(client, 'token', form);
    if (reply.status === 200) json = reply.json;
    return reply.status === 200 ? decodeJwt(json.access_token) : reply.json.error;
  };
  const redeem = async ({ code, verifier }: { readonly code: string; readonly verifier: string }) => {
    const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: verifier };
    const reply = await world.as(client, 'token', form);
    return reply.status === 200 ? decodeJwt(reply.json.access_token) : reply.json.error;
  };
  const minted = [await world.code(client), await world.code(client), await world.code(client)] as const;
  assert.deepEqual((await refresh()).aud, ['api', 'payments']);
  await change({ audience: ['api'], scopes: ['read'] });
  for (const claims of [await refresh(), await redeem(minted[0])])
    assert.deepEqual([claims.aud, claims.scope], ['api', 'read']);
  await change({ audience: ['other'] });
  assert.deepEqual([await refresh(), await redeem(minted[1])], ['invalid_grant', 'invalid_grant']);
  await change({ audience: ['api'], tenant: 'beta' });
  assert.deepEqual([await refresh(), await redeem(minted[2])], ['invalid_grant', 'invalid_grant']);
  await change({ tenant: 'acme' });
  assert.equal((await refresh()).aud, 'api', 'nothing was spent');
});

test('attack 120: a grant of a client that was nobody’s is refused once the client is a tenant’s, and good again after', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { json } = await world.login(client);
  const refresh = () => world.as(client, 'token', { grant_type: 'refresh_token', refresh_token: json.refresh_token });
  await world.admin('PATCH', `/v1/clients/${client.id}`, { tenant: 'acme' });
  assert.equal((await refresh()).json.error, 'invalid_grant');
  await world.admin('PATCH', `/v1/clients/${client.id}`, { tenant: null });
  assert.equal((await refresh()).status, 200);
});

test('resource narrows the token of a grant too (RFC 8707 2.2), and not the grant', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient({ audience: ['api', 'payments'] });
  const { code, verifier } = await world.code(client);
  const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: verifier };
  const foreign = await world.as(client, 'token', { ...form, resource: 'elsewhere' });
  assert.equal(foreign.json.error, 'invalid_target');
  const { json } = await world.as(client, 'token', { ...form, resource: 'payments' });
  assert.equal(decodeJwt(json.access_token).aud, 'payments');
  const again = { grant_type: 'refresh_token', refresh_token: json.refresh_token };
  assert.equal((await world.as(client, 'token', { ...again, resource: 'elsewhere' })).json.error, 'invalid_target');
  const narrowed = await world.as(client, 'token', { ...again, resource: 'api' });
  assert.equal(decodeJwt(narrowed.json.access_token).aud, 'api');
  const whole = await world.as(client, 'token', { ...again, refresh_token: narrowed.json.refresh_token });
  assert.deepEqual(decodeJwt(whole.json.access_token).aud, ['api', 'payments']);
});

test('attack 120: a grant ends at its absolute time however often it is refreshed, and when it is idle', async () => {
  await using world = await openOAuthWorld({ oauth: { refresh_lifetime: '4s', refresh_idle: '2s' } });
  const client = await world.addClient();
  const refresh = (token: string) => world.as(client, 'token', { grant_type: 'refresh_token', refresh_token: token });
  const beganMs = performance.now();
  let { json } = await world.login(client);
  const grantedMs = performance.now();
  const idle = await world.login(client);
  let refused: string | undefined;
  let [askedMs, refreshedMs] = [grantedMs, grantedMs];
  while (refused === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 400));
    const nowMs = performance.now();
    const reply = await refresh(json.refresh_token);
    if (reply.status === 200) [json, askedMs, refreshedMs] = [reply.json, nowMs, performance.now()];
    else refused = reply.json.error;
  }
  const endedMs = performance.now();
  assert.equal(refused, 'invalid_grant');
  assert.ok(askedMs - grantedMs <= 4000, `refreshed ${askedMs - grantedMs} ms after it was granted`);
  // On a machine that stands still for so long it ends because it was idle.
  assert.ok(endedMs - beganMs >= 4000 || endedMs - refreshedMs >= 2000, `ended after ${endedMs - beganMs} ms`);
  assert.equal((await refresh(idle.json.refresh_token)).json.error, 'invalid_grant');
});

test('a client without the grant, an unknown grant, password and implicit are refused by their names', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient({ grantTypes: ['client_credentials'] });
  const errors = async (grant_type: string | undefined) => (await world.as(client, 'token', { grant_type })).json.error;
  assert.equal(await errors('authorization_code'), 'unauthorized_client');
  assert.equal(await errors('refresh_token'), 'unauthorized_client');
  assert.equal(await errors(undefined), 'invalid_request');
  for (const grant of ['password', 'implicit', 'urn:ietf:params:oauth:grant-type:jwt-bearer', 'toString']) {
    assert.equal(await errors(grant), 'unsupported_grant_type', `attack 123: ${grant}`);
  }
  const asked = await world.as(client, 'token', { grant_type: 'client_credentials', scope: 'read admin' });
  assert.deepEqual([asked.status, asked.json.error], [400, 'invalid_scope']);
});

test('a public client redeems and refreshes by its id alone, and gets nothing of its own', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient({
    type: 'public',
    authMethod: 'none',
    grantTypes: ['authorization_code', 'refresh_token'],
  });
  const { status, json } = await world.login(client);
  assert.equal(status, 200);
  const form = { client_id: client.id, grant_type: 'refresh_token', refresh_token: json.refresh_token };
  assert.equal((await world.post('token', form)).status, 200);
  const own = await world.post('token', { client_id: client.id, grant_type: 'client_credentials' });
  assert.equal(own.json.error, 'unauthorized_client');
});

test('resource chooses one of the audiences of the client (RFC 8707), and no other', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient({ audience: ['api', 'https://reports.example'] });
  const ask = (resource?: string) => world.as(client, 'token', { grant_type: 'client_credentials', resource });
  assert.deepEqual(decodeJwt((await ask()).json.access_token).aud, ['api', 'https://reports.example']);
  assert.equal(decodeJwt((await ask('api')).json.access_token).aud, 'api');
  assert.equal((await ask('https://other.example')).json.error, 'invalid_target');
});

test('attack 86: revoking a subject, client, session or tenant ends the grants and codes concerned in the same call', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient({ tenant: 'acme' });
  const kinds = { subject: 'alice', client: client.id, session: 's-1', tenant: 'acme' };
  for (const [kind, id] of Object.entries(kinds)) {
    const who = kind === 'client' ? await world.addClient() : client;
    const { json } = await world.login(who, { session: 's-1' });
    const waiting = await world.code(who, { session: 's-1' });
    const { status, body } = await world.admin('POST', '/v1/revocations', {
      kind,
      id: kind === 'client' ? who.id : id,
      not_before: 'now',
    });
    assert.equal(status, 201);
    assert.equal((await world.database.sql`select 1 from authorization_code where redeemed_at is null`).length, 0);
    // The entry is taken back at once: what ended does not come back with it.
    assert.equal((await world.admin('DELETE', `/v1/revocations/${body.id}`)).status, 204);
    const refreshed = await world.as(who, 'token', { grant_type: 'refresh_token', refresh_token: json.refresh_token });
    assert.deepEqual([refreshed.status, refreshed.json.error], [400, 'invalid_grant'], kind);
    const form = { grant_type: 'authorization_code', redirect_uri: REDIRECT };
    const late = await world.as(who, 'token', { ...form, code: waiting.code, code_verifier: waiting.verifier });
    assert.equal(late.json.error, 'invalid_grant', kind);
    const fresh = await world.login(who, { session: 's-1' });
    assert.equal(fresh.status, 200, `${kind}: who logs in anew gets in`);
    await world.database.sql`update token_family set ended_at = now(), end_reason = 'operator' where ended_at is null`;
  }
});

test('grants are listed by subject and client, and one can be ended with its tokens', async () => {
  await using world = await openOAuthWorld();
  const [client, other] = [await world.addClient(), await world.addClient()];
  const { json } = await world.login(client);
  await world.login(other, { subject: 'bob' });
  await world.login(client, { subject: 'bob' });
  const list = async (query: string) => {
    const { body } = await world.admin('GET', `/v1/grants?${query}`);
    return body.items as { id: string; subject: string; client: string; refreshed: number }[];
  };
  assert.equal((await list('')).length, 3);
  assert.deepEqual(
    (await list('subject=bob')).map(({ client: id }) => id),
    [client.id, other.id],
  );
  const [grant] = await list(`client=${client.id}&subject=alice`);
  assert.deepEqual([grant?.subject, grant?.refreshed], ['alice', 0]);
  const page = await world.admin('GET', '/v1/grants?limit=2');
  const rest = await world.admin('GET', `/v1/grants?limit=2&cursor=${page.body.next}`);
  assert.equal((page.body.items as unknown[]).length + (rest.body.items as unknown[]).length, 3);
  assert.equal((await world.admin('DELETE', `/v1/grants/${grant?.id}`)).status, 204);
  assert.equal(await world.call(json.access_token), 401);
  const form = { grant_type: 'refresh_token', refresh_token: json.refresh_token };
  assert.equal((await world.as(client, 'token', form)).json.error, 'invalid_grant');
  assert.equal((await list('')).length, 2);
  assert.equal((await world.admin('DELETE', '/v1/grants/none')).status, 404);
});

test('5.4.6: a code is minted only for a client that may have it, for its redirect URIs, scopes and audiences', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const machine = await world.addClient({ grantTypes: ['client_credentials'] });
  const fieldOf = async (who: typeof client, more: object) => {
    const { status, body } = await world.code(who, more as never);
    return [status, ((body.errors ?? []) as { path: string }[]).map(({ path }) => path)];
  };
  assert.deepEqual(await fieldOf(client, { redirect_uri: 'https://evil.example/cb' }), [422, ['redirect_uri']]);
  assert.deepEqual(await fieldOf(client, { scopes: ['admin'] }), [422, ['scopes']]);
  assert.deepEqual(await fieldOf(client, { audience: ['other'] }), [422, ['audience']]);
  assert.deepEqual(await fieldOf(client, { client_id: 'c_nobody' }), [422, ['client_id']]);
  assert.deepEqual(await fieldOf(client, { code_challenge: 'x'.repeat(43) }), [422, ['code_challenge']]);
  assert.deepEqual(await fieldOf(machine, {}), [422, ['client_id']]);
  assert.deepEqual(await fieldOf(client, { claims: { aud: 'api' } }), [422, ['claims']]);
  assert.deepEqual(await fieldOf(client, { is_admin: true }), [422, ['is_admin']]);
});

test('H21: the database holds neither codes nor refresh tokens nor what is known about the person', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const waiting = await world.code(client, { claims: { email: 'alice@example.com' }, nonce: 'nonce-of-alice' });
  const { json } = await world.login(client, { claims: { email: 'alice@example.com' } });
  const next = await world.as(client, 'token', { grant_type: 'refresh_token', refresh_token: json.refresh_token });
  await eventually(async () => (await world.database.sql`select 1 from audit_event`).length > 3);
  const tables = await world.database.sql`select tablename from pg_tables where schemaname = 'doorward'`;
  let dump = '';
  for (const { tablename } of tables) {
    const rows = await world.database.sql`select t::text as text from ${world.database.sql(tablename)} t`;
    dump += rows.map(({ text }) => text).join('\n');
  }
  assert.ok(dump.includes(client.id), 'the dump sees rows');
  const tokens = [json, next.json].flatMap((one) => [one.access_token, one.refresh_token, one.id_token]);
  const macs = tokens.map((token: string) => token.split('.').at(-1) as string);
  for (const secret of [waiting.code, client.secret, 'alice@example.com', 'nonce-of-alice', ...macs]) {
    assert.ok(!dump.includes(secret));
    assert.ok(!dump.includes(Buffer.from(secret).toString('hex')));
    assert.ok(!world.sidecar.logText().includes(secret));
  }
});
