// Metadata, the key set, and registration.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { mintPrefixedSecret, secretDigest } from '../../src/core/prefixed-secret.ts';
import { MAX_SECRETS } from '../../src/stores/contracts/clients.ts';
import { PostgresInitialAccessTokens } from '../../src/stores/postgres/initial-access-tokens.ts';
import { mintKey } from '../support/minting.ts';
import { rawRequest } from './raw.ts';
import { get, type OAuthWorld, openOAuthWorld, REDIRECT } from './world.ts';

test('H11 L23: metadata of both kinds hold what is true: endpoints, methods, S256, no authorize page of ours', async () => {
  await using world = await openOAuthWorld();
  const [discovery, metadata] = [
    await get(`${world.issuer}/.well-known/openid-configuration`),
    await get(`${world.issuer}/.well-known/oauth-authorization-server`),
  ];
  assert.equal(discovery.text, metadata.text);
  const { json } = discovery;
  assert.equal(json.issuer, world.issuer);
  for (const name of ['token', 'introspection', 'revocation', 'registration', 'userinfo']) {
    const url = json[`${name}_endpoint`];
    assert.ok(url.startsWith(`${world.issuer}/.doorward/oauth/`), name);
    assert.notEqual((await fetch(url, { method: 'POST' })).status, 404, name);
  }
  assert.equal(json.jwks_uri, `${world.issuer}/.well-known/jwks.json`);
  assert.equal(json.authorization_endpoint, undefined);
  assert.deepEqual(json.code_challenge_methods_supported, ['S256']);
  assert.deepEqual(json.grant_types_supported, ['client_credentials', 'authorization_code', 'refresh_token']);
  assert.deepEqual(
    [json.id_token_signing_alg_values_supported, json.introspection_endpoint_auth_methods_supported.includes('none')],
    [['ES256'], false],
  );
  assert.deepEqual(
    [discovery.headers.get('cache-control'), discovery.headers.get('access-control-allow-origin')],
    ['public, max-age=300', '*'],
  );
});

test('L23: the login page of the application is published where sidecar.yaml names one', async () => {
  await using world = await openOAuthWorld({ oauth: { authorization_endpoint: 'https://app.example/login' } });
  const { json } = await get(`${world.issuer}/.well-known/openid-configuration`);
  assert.equal(json.authorization_endpoint, 'https://app.example/login');
});

test('L21 attack 85: the key set is public for an hour, open to any origin, without private members', async () => {
  await using world = await openOAuthWorld();
  const reply = await get(`${world.issuer}/.well-known/jwks.json`);
  assert.equal(reply.headers.get('cache-control'), 'public, max-age=3600');
  assert.equal(reply.headers.get('access-control-allow-origin'), '*');
  assert.equal(reply.headers.get('content-type'), 'application/jwk-set+json');
  assert.ok(reply.json.keys.length >= 1);
  for (const key of reply.json.keys) {
    assert.deepEqual(Object.keys(key).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
    assert.deepEqual([key.kty, key.use, key.alg], ['EC', 'sig', 'ES256']);
  }
  const etag = reply.headers.get('etag') as string;
  const held = await get(`${world.issuer}/.well-known/jwks.json`, { 'if-none-match': `"x", W/${etag}` });
  assert.deepEqual([held.status, held.text, held.headers.get('etag')], [304, '', etag]);
  assert.equal((await get(`${world.issuer}/.well-known/jwks.json`, { 'if-none-match': '"x"' })).status, 200);
  const head = await fetch(`${world.issuer}/.well-known/jwks.json`, { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(Buffer.byteLength(reply.text))]);
});

test('L21: a key shorter published may be kept shorter: half of publish_before', async () => {
  await using world = await openOAuthWorld({ issuers: { self: { sign: { publish_before: '10m' } } } });
  const reply = await get(`${world.issuer}/.well-known/jwks.json`);
  assert.equal(reply.headers.get('cache-control'), 'public, max-age=300');
});

test('without proxy.endpoints.oauth none of it is there', async () => {
  await using world = await openOAuthWorld({ proxy: { endpoints: { oauth: false } } });
  for (const path of ['/.well-known/jwks.json', '/.doorward/oauth/token', '/.well-known/openid-configuration']) {
    assert.notEqual((await get(`${world.issuer}${path}`)).status, 200, path);
  }
  const { status, body } = await world.admin('GET', '/v1/grants');
  assert.deepEqual([status, body.code], [501, 'not_configured']);
});

async function initialToken(world: OAuthWorld, usesLeft = 1): Promise<string> {
  const token = mintPrefixedSecret('dwi');
  const nowMs = Date.now();
  const times = { createdAtMs: nowMs, expiresAtMs: nowMs + 60_000, createdBy: 'test' };
  const tokens = new PostgresInitialAccessTokens(world.database.open());
  await tokens.add({ id: `it_${nowMs}_${Math.random()}`, digest: secretDigest(token), usesLeft, ...times });
  return token;
}

const send = async (url: string, method: string, token: string | undefined, body?: unknown) => {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(url, {
    method,
    headers: { 'content-type': 'application/json', ...authorization },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, json: text === '' ? {} : JSON.parse(text), text };
};

const tiers = { tiers: { free: { scopes: ['openid', 'read'] }, paid: { scopes: ['write'] } }, default_tier: 'free' };
const metadata = {
  client_name: 'shop',
  redirect_uris: [REDIRECT],
  grant_types: ['authorization_code', 'refresh_token'],
};

test('H1 H11: a client registers with an initial token, logs people in, reads, changes and removes itself', async () => {
  await using world = await openOAuthWorld(tiers);
  const made = await send(world.url('register'), 'POST', await initialToken(world), metadata);
  assert.equal(made.status, 201, made.text);
  const { client_id, client_secret, registration_access_token: own, registration_client_uri: uri } = made.json;
  assert.deepEqual(
    [made.json.client_secret_expires_at, made.json.scope, uri],
    [0, 'openid read', `${world.url('register')}/${client_id}`],
  );
  assert.match(client_secret, /^dws_/);
  const record = await world.clients.get(world.issuer, client_id);
  assert.ok(record !== undefined && record.secrets.length < MAX_SECRETS);
  const client = { id: client_id as string, secret: client_secret as string, record };
  const tokens = await world.login(client);
  assert.equal(tokens.status, 200);
  const read = await send(uri, 'GET', own);
  assert.deepEqual([read.status, read.json.client_name, read.json.client_secret], [200, 'shop', undefined]);
  const changed = await send(uri, 'PUT', own, { ...metadata, client_id, client_secret, client_name: 'new shop' });
  assert.deepEqual([changed.status, changed.json.client_name], [200, 'new shop']);
  const chosen = await send(uri, 'PUT', own, { ...metadata, client_id, client_secret: 'my own' });
  assert.deepEqual([chosen.status, chosen.json.error], [400, 'invalid_client_metadata']);
  assert.equal((await send(uri, 'DELETE', own)).status, 204);
  assert.equal((await send(uri, 'GET', own)).status, 401);
  assert.equal((await world.as(client, 'token', { grant_type: 'client_credentials' })).status, 401);
  assert.equal(await world.call(tokens.json.access_token), 401, 'its tokens are cut');
  for (const secret of [client_secret, own]) assert.ok(!world.sidecar.logText().includes(secret));
});

test('attack 124: without an initial token, or with a spent one, 401; metadata that reach too far are refused', async () => {
  await using world = await openOAuthWorld(tiers);
  const url = world.url('register');
  assert.equal((await send(url, 'POST', undefined, metadata)).status, 401);
  assert.equal((await send(url, 'POST', mintPrefixedSecret('dwi'), metadata)).status, 401);
  const token = await initialToken(world, 1);
  const cases: [object, string][] = [
    [{ redirect_uris: ['javascript:alert(1)'] }, 'invalid_redirect_uri'],
    [{ redirect_uris: ['https://app.example/cb#x'] }, 'invalid_redirect_uri'],
    [{ redirect_uris: ['https://*.example/cb'] }, 'invalid_redirect_uri'],
    [{ redirect_uris: ['http://app.example/cb'] }, 'invalid_redirect_uri'],
    [{ jwks: { keys: [] }, jwks_uri: 'https://app.example/jwks' }, 'invalid_client_metadata'],
    [
      { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://169.254.169.254/latest' },
      'invalid_client_metadata',
    ],
    [{ scope: 'write' }, 'invalid_client_metadata'],
    [{ grant_types: ['password'] }, 'invalid_client_metadata'],
  ];
  for (const [change, error] of cases) {
    const reply = await send(url, 'POST', token, { ...metadata, ...change });
    assert.deepEqual([reply.status, reply.json.error], [400, error], JSON.stringify(change));
  }
  const promised = { payment_proof: '{"tier":"premium"}', tier: 'paid', disabled: false };
  const made = await send(url, 'POST', token, { ...metadata, ...promised });
  assert.equal(made.status, 201, 'refused metadata spend nothing');
  const record = await world.clients.get(world.issuer, made.json.client_id);
  assert.deepEqual([record?.tier, record?.scopes], [undefined, ['openid', 'read']], '5.4.5: no tier by itself');
  assert.equal((await send(url, 'POST', token, metadata)).status, 401, 'spent');
});

test('attack 125: the registration token of another client is 401 and taken back; an update needs client_id', async () => {
  await using world = await openOAuthWorld(tiers);
  const token = await initialToken(world, 2);
  const one = (await send(world.url('register'), 'POST', token, metadata)).json;
  const two = (await send(world.url('register'), 'POST', token, metadata)).json;
  const [mine, theirs] = [one.registration_access_token, two.registration_client_uri];
  assert.deepEqual(
    (await send(one.registration_client_uri, 'PUT', mine, metadata)).json.error,
    'invalid_client_metadata',
  );
  assert.equal((await send(one.registration_client_uri, 'GET', mine)).status, 200);
  assert.equal((await send(theirs, 'GET', mine)).status, 401);
  assert.equal((await send(one.registration_client_uri, 'GET', mine)).status, 401, 'taken back');
  assert.equal((await send(theirs, 'GET', two.registration_access_token)).status, 200);
});

test('attack 125: a disabled client can neither read, change nor remove itself, and stays disabled', async () => {
  await using world = await openOAuthWorld(tiers);
  const made = (await send(world.url('register'), 'POST', await initialToken(world), metadata)).json;
  const { client_id, registration_access_token: own, registration_client_uri: uri } = made;
  const disable = (disabled: boolean) => world.admin('PATCH', `/v1/clients/${client_id}`, { disabled });
  assert.equal((await disable(true)).status, 200);
  const acts = [
    await send(uri, 'GET', own),
    await send(uri, 'PUT', own, { ...metadata, client_id }),
    await send(uri, 'DELETE', own),
  ];
  const stranger = await send(uri, 'GET', mintPrefixedSecret('dwr'));
  for (const act of acts) assert.deepEqual([act.status, act.text], [401, stranger.text]);
  assert.equal((await world.clients.get(world.issuer, client_id))?.disabled, true, 'the record is still there');
  assert.equal((await disable(false)).status, 200);
  assert.equal((await send(uri, 'DELETE', own)).status, 204);
});

test('a client that signs assertions cannot leave that for a secret that it has not: nor by leaving the method out', async () => {
  await using world = await openOAuthWorld(tiers);
  const signing = {
    ...metadata,
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [mintKey('ES256').jwk] },
  };
  const made = (await send(world.url('register'), 'POST', await initialToken(world), signing)).json;
  const { client_id, registration_access_token: own, registration_client_uri: uri } = made;
  for (const update of [metadata, { ...metadata, token_endpoint_auth_method: 'client_secret_post' }]) {
    const { status, json } = await send(uri, 'PUT', own, { ...update, client_id });
    assert.deepEqual([status, json.error], [400, 'invalid_client_metadata']);
  }
  const kept = await send(uri, 'PUT', own, { ...signing, client_id, client_name: 'new' });
  assert.deepEqual([kept.status, kept.json.token_endpoint_auth_method], [200, 'private_key_jwt']);
});

test('50 registrations at once with a token for three make three clients', async () => {
  await using world = await openOAuthWorld(tiers);
  const token = await initialToken(world, 3);
  const replies = await Promise.all(
    Array.from({ length: 50 }, () => send(world.url('register'), 'POST', token, metadata)),
  );
  assert.equal(replies.filter(({ status }) => status === 201).length, 3);
  assert.equal(replies.filter(({ status }) => status === 401).length, 47);
});

test('Expect: 100-continue is answered, and a HEAD of metadata has no body', async () => {
  await using world = await openOAuthWorld();
  const reply = await rawRequest(
    world.sidecar.port,
    'POST /.doorward/oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 12\r\n\r\ngrant_type=x',
  );
  assert.match(reply, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 401 /);
  const head = await rawRequest(
    world.sidecar.port,
    'HEAD /.well-known/openid-configuration HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n',
  );
  assert.match(head, /^HTTP\/1\.1 200 [\s\S]*\r\n\r\n$/);
});

test('while sign.algorithm changes the metadata name what ID tokens are signed with now, and what they will be', async () => {
  await using world = await openOAuthWorld();
  const algorithms = async () =>
    (await get(`${world.issuer}/.well-known/openid-configuration`)).json.id_token_signing_alg_values_supported;
  assert.deepEqual(await algorithms(), ['ES256']);
  const config = parse(readFileSync(world.sidecar.file, 'utf8'));
  config.issuers.self.sign.algorithm = 'EdDSA';
  writeFileSync(world.sidecar.file, stringify(config));
  assert.equal((await world.admin('POST', '/v1/config/reload', {})).status, 200);
  assert.deepEqual(await algorithms(), ['EdDSA', 'ES256']);
});
