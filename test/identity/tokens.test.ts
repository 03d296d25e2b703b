// Introspection, revocation and userinfo, over a running sidecar.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeJwt } from 'jose';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { startRedis } from '../support/redis-server.ts';
import { get, type OAuthWorld, openOAuthWorld, type TestClient } from './world.ts';

const credentials = { grant_type: 'client_credentials' };
const ownToken = async (world: OAuthWorld, client: TestClient): Promise<string> =>
  (await world.as(client, 'token', credentials)).json.access_token;

test('L5: an active token tells all it says; its own client, its audience and holders of `introspect` may ask', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient({ tenant: 'acme' });
  const gateway = await world.addClient({ scopes: ['introspect'] });
  const { json } = await world.login(client, { session: 's-1', roles: ['editor'] });
  const claims = decodeJwt(json.access_token);
  const expected = {
    active: true,
    iss: world.issuer,
    sub: 'alice',
    aud: 'api',
    client_id: client.id,
    scope: 'openid read write',
    token_type: 'Bearer',
    exp: claims.exp,
    iat: claims.iat,
    jti: claims.jti,
    subject_type: 'user',
    sid: 's-1',
    tenant: 'acme',
    roles: ['editor'],
  };
  for (const caller of [client, gateway]) {
    const reply = await world.as(caller, 'introspect', { token: json.access_token, token_type_hint: 'refresh_token' });
    assert.deepEqual([reply.status, reply.json], [200, expected]);
    assert.equal(reply.headers.get('cache-control'), 'no-store');
  }
  const audience = await world.addClient();
  const meant = await world.addClient({ audience: ['api', audience.id] });
  const token = await ownToken(world, meant);
  assert.equal((await world.as(audience, 'introspect', { token })).json.active, true);
});

test('L4 attack 93: unknown, expired, revoked, foreign, somebody else’s: the same bytes; without credentials 401', async () => {
  await using world = await openOAuthWorld({ issuers: { self: { clock_tolerance: '0s' } } });
  const [client, other] = [await world.addClient(), await world.addClient()];
  // The others must be good while they are asked about, however slow that is.
  const issued = await world.admin('POST', '/v1/tokens', { subject: 'alice', client: client.id, lifetime: '1s' });
  const expiring = (issued.body as { token: string }).token;
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const { json } = await world.login(client);
  const revoked = await ownToken(world, client);
  assert.equal((await world.as(client, 'introspect', { token: revoked })).json.active, true);
  assert.equal((await world.as(client, 'revoke', { token: revoked })).status, 200);
  const foreign = await ownToken(world, client);
  const asked: [TestClient, string][] = [
    [client, 'unknown'],
    [client, 'x'.repeat(10_000)],
    [client, expiring],
    [client, revoked],
    [other, foreign],
    [other, json.refresh_token],
    [client, json.id_token],
    [client, `${json.refresh_token.slice(0, -4)}AAAA`],
    [client, json.refresh_token.replace('.0.', '.9.')],
  ];
  for (const [caller, token] of asked) {
    const reply = await world.as(caller, 'introspect', { token });
    assert.deepEqual([reply.status, reply.text], [200, '{"active":false}'], token.slice(0, 20));
    assert.equal(reply.headers.get('content-length'), '16');
  }
  assert.equal((await world.post('introspect', { token: foreign })).status, 401);
  assert.equal(
    (await world.post('introspect', { token: foreign }, { authorization: `Bearer ${foreign}` })).status,
    401,
  );
});

test('a refresh token is active for its own client until it is redeemed; asking spends nothing', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { json } = await world.login(client);
  const ask = async (token: string) => (await world.as(client, 'introspect', { token })).json;
  const { exp, iat, ...rest } = await ask(json.refresh_token);
  assert.deepEqual(rest, {
    active: true,
    iss: world.issuer,
    sub: 'alice',
    client_id: client.id,
    scope: 'openid read write',
    token_type: 'refresh_token',
  });
  assert.ok(exp - iat > 6 * 86_400);
  const next = await world.as(client, 'token', { grant_type: 'refresh_token', refresh_token: json.refresh_token });
  assert.equal(next.status, 200);
  assert.deepEqual(
    [await ask(json.refresh_token), (await ask(next.json.refresh_token)).active],
    [{ active: false }, true],
  );
});

test('a refresh token says what it can still obtain: not what its client has lost since, and nothing once it can obtain nothing', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { json } = await world.login(client);
  const ask = async () => (await world.as(client, 'introspect', { token: json.refresh_token })).json;
  const change = async (body: object) =>
    assert.equal((await world.admin('PATCH', `/v1/clients/${client.id}`, body)).status, 200);
  await change({ scopes: ['read'] });
  assert.equal((await ask()).scope, 'read');
  for (const [taken, back] of [
    [{ audience: ['other'] }, { audience: [] }],
    [{ tenant: 'acme' }, { tenant: null }],
    [{ grant_types: ['authorization_code'] }, { grant_types: ['authorization_code', 'refresh_token'] }],
  ] as const) {
    await change(taken);
    assert.deepEqual(await ask(), { active: false }, JSON.stringify(taken));
    await change(back);
    assert.equal((await ask()).active, true);
  }
});

test('attack 94: a token that was active a moment ago is not any more once it, its client or its subject is revoked', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const gateway = await world.addClient({ scopes: ['introspect'] });
  const active = async (token: string) => (await world.as(gateway, 'introspect', { token })).json.active;
  const { json } = await world.login(client);
  assert.equal(await active(json.access_token), true);
  await world.admin('POST', '/v1/revocations', { kind: 'subject', id: 'alice', not_before: 'now' });
  assert.equal(await active(json.access_token), false);
  const own = await ownToken(world, client);
  assert.equal(await active(own), true);
  const { version: _, clientId, issuer, ...properties } = client.record;
  await world.clients.update(issuer, clientId, { ...properties, disabled: true }, { nowMs: Date.now() });
  assert.equal(await active(own), false);
});

test('attack 87: revoking what is expired, unknown or no token is 200, and says nothing', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { json } = await world.login(client);
  for (const token of ['unknown', 'a.b.c', json.id_token, `dwf_${'A'.repeat(22)}.0.${'A'.repeat(43)}`]) {
    const reply = await world.as(client, 'revoke', { token, token_type_hint: 'nonsense' });
    assert.deepEqual([reply.status, reply.text], [200, '']);
  }
  assert.equal((await world.as(client, 'revoke', {})).json.error, 'invalid_request');
  assert.equal((await world.post('revoke', { token: json.access_token })).status, 401);
  assert.equal(await world.call(json.access_token), 200);
});

test('attack 88: a client cannot revoke the tokens of another; they stay good', async () => {
  await using world = await openOAuthWorld();
  const [client, other] = [await world.addClient(), await world.addClient()];
  const { json } = await world.login(client);
  for (const token of [json.access_token, json.refresh_token]) {
    const reply = await world.as(other, 'revoke', { token });
    assert.deepEqual([reply.status, reply.json.error], [400, 'unauthorized_client']);
  }
  assert.equal(await world.call(json.access_token), 200);
  const form = { grant_type: 'refresh_token', refresh_token: json.refresh_token };
  assert.equal((await world.as(client, 'token', form)).status, 200);
});

test('attack 89: revoking a refresh token ends its access tokens; revoking an access token leaves its grant', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { json } = await world.login(client);
  assert.equal((await world.as(client, 'revoke', { token: json.access_token })).status, 200);
  assert.equal(await world.call(json.access_token), 401);
  const form = { grant_type: 'refresh_token', refresh_token: json.refresh_token };
  const next = (await world.as(client, 'token', form)).json;
  assert.equal(await world.call(next.access_token), 200);
  assert.equal((await world.as(client, 'revoke', { token: next.refresh_token })).status, 200);
  assert.equal(await world.call(next.access_token), 401);
  const again = await world.as(client, 'token', { ...form, refresh_token: next.refresh_token });
  assert.equal(again.json.error, 'invalid_grant');
  const types = world.sidecar.logged().filter(({ type }) => type === 'token.revoked');
  assert.equal(types.length, 2);
});

test('H10 attack 86: what is revoked on one replica is refused by another from the next request on, and is gone after exp', async () => {
  await using redis = await startRedis();
  await using world = await openOAuthWorld({ redis: { url: { value: redis.url }, timeout: '1s' } });
  const replica = await world.replica();
  const client = await world.addClient();
  const token = await ownToken(world, client);
  assert.equal(await world.call(token, replica), 200);
  assert.equal((await world.as(client, 'revoke', { token })).status, 200);
  assert.equal(await world.call(token, replica), 401);
  const { body } = await world.admin('GET', '/v1/revocations');
  const [entry] = body.items as { jti: string; until: string }[];
  const { jti, exp } = decodeJwt(token);
  assert.equal(entry?.jti, jti);
  assert.equal(Date.parse(entry?.until ?? ''), (exp as number) * 1000 + 60_000, 'exp and the clock tolerance');
});

test('attack 94: a refresh token is not active once its subject is revoked on a replica that has no PostgreSQL', async () => {
  await using redis = await startRedis();
  const stores = { redis: { url: { value: redis.url }, timeout: '5s' } };
  await using world = await openOAuthWorld(stores);
  const client = await world.addClient();
  const { json } = await world.login(client);
  await using elsewhere = openRedis({ url: redis.url, prefix: 'doorward', timeoutMs: 5000 });
  assert.ok(await elsewhere.ready(10_000));
  const asked = async () => (await world.as(client, 'introspect', { token: json.refresh_token })).json.active;
  assert.equal(await asked(), true);
  const named = { kind: 'subject', issuer: world.issuer, id: 'alice' } as const;
  await elsewhere.revocations.append({ ...named, untilMs: 'forever', reason: 'elsewhere' });
  assert.equal(await asked(), false);
});

test('attack 118: reuse on one replica refuses the access tokens of the family on another', async () => {
  await using redis = await startRedis();
  await using world = await openOAuthWorld({ redis: { url: { value: redis.url }, timeout: '1s' } });
  const replica = await world.replica();
  const client = await world.addClient();
  const { json } = await world.login(client);
  const form = { grant_type: 'refresh_token' };
  const next = await world.as(client, 'token', { ...form, refresh_token: json.refresh_token });
  const last = await world.as(client, 'token', { ...form, refresh_token: next.json.refresh_token });
  assert.equal(await world.call(last.json.access_token, replica), 200);
  assert.equal((await world.as(client, 'token', { ...form, refresh_token: json.refresh_token })).status, 400);
  assert.equal(await world.call(last.json.access_token, replica), 401);
});

test('H11: userinfo tells what the application said, for the scope openid alone, until the grant ends', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const url = world.url('userinfo');
  const ask = (token: string) => get(url, { authorization: `Bearer ${token}` });
  const { json } = await world.login(client, { claims: { email: 'alice@example.com' } });
  assert.deepEqual((await ask(json.access_token)).json, { email: 'alice@example.com', sub: 'alice' });
  const form = { grant_type: 'refresh_token', refresh_token: json.refresh_token };
  const next = (await world.as(client, 'token', form)).json;
  assert.deepEqual((await ask(next.access_token)).json, { email: 'alice@example.com', sub: 'alice' });
  const without = await world.login(client, { scopes: ['read'] });
  const narrow = await ask(without.json.access_token);
  assert.equal(narrow.status, 403);
  assert.match(String(narrow.headers.get('www-authenticate')), /error="insufficient_scope", scope="openid"/);
  for (const token of [await ownToken(world, client), json.id_token, json.refresh_token, 'x']) {
    assert.equal((await ask(token)).status, 401);
  }
  const none = await get(url);
  assert.deepEqual([none.status, none.headers.get('www-authenticate')], [401, 'Bearer realm="doorward"']);
  await world.as(client, 'revoke', { token: next.refresh_token });
  assert.equal((await ask(next.access_token)).status, 401);
});

test('with PostgreSQL away clients are told to try again, good tokens still pass, and nothing is a 500', async () => {
  await using world = await openOAuthWorld({});
  const client = await world.addClient();
  const { json } = await world.login(client);
  await world.database.cut();
  const replies = [
    await world.as(client, 'token', credentials),
    await world.as(client, 'token', { grant_type: 'refresh_token', refresh_token: json.refresh_token }),
    await world.as(client, 'introspect', { token: json.access_token }),
    await world.as(client, 'revoke', { token: json.access_token }),
  ];
  for (const reply of replies) {
    assert.deepEqual(
      [reply.status, reply.json.error, reply.headers.get('retry-after')],
      [503, 'temporarily_unavailable', '1'],
    );
  }
  assert.equal(await world.call(json.access_token), 200);
  assert.equal((await get(`${world.issuer}/.well-known/jwks.json`)).status, 200);
  await world.database.mend();
  const form = { grant_type: 'refresh_token', refresh_token: json.refresh_token };
  for (let tries = 0; ; tries += 1) {
    const reply = await world.as(client, 'token', form);
    if (reply.status === 200) break;
    assert.ok(tries < 100, reply.text);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});
