// How clients prove themselves, and what those learn who do not.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { eventually } from '../rows/eventually.ts';
import { mintKey, mintRaw } from '../support/minting.ts';
import { rawRequest } from './raw.ts';
import { basicField, type OAuthWorld, openOAuthWorld, type TestClient } from './world.ts';

const grant = { grant_type: 'client_credentials' };
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

test('basic, with both words form-encoded, and post work for the client whose method they are, and for no other', async () => {
  await using world = await openOAuthWorld();
  const basic = await world.addClient();
  const post = await world.addClient({ authMethod: 'client_secret_post' });
  const inBody = ({ id, secret }: TestClient) => ({ ...grant, client_id: id, client_secret: secret });
  assert.equal((await world.as(basic, 'token', grant)).status, 200);
  assert.equal((await world.post('token', inBody(post))).status, 200);
  assert.equal((await world.post('token', inBody(basic))).json.error, 'invalid_client');
  assert.equal((await world.as(post, 'token', grant)).json.error, 'invalid_client');
  const percent = [...basic.secret].map((char) => `%${char.charCodeAt(0).toString(16)}`).join('');
  const encoded = `Basic ${Buffer.from(`${basic.id}:${percent}`).toString('base64')}`;
  assert.equal((await world.post('token', grant, { authorization: encoded })).status, 200, 'RFC 6749 2.3.1');
});

test('attack 121: unknown client, wrong secret, disabled client, wrong method: one status, body and challenge', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const disabled = await world.addClient({ disabled: true });
  const open = await world.addClient({ type: 'public', authMethod: 'none', grantTypes: ['authorization_code'] });
  const tries = [
    world.post('token', grant, { authorization: basicField('c_nobody', 'x') }),
    world.post('token', grant, { authorization: basicField(client.id, 'wrong') }),
    world.as(disabled, 'token', grant),
    world.post('token', { ...grant, client_id: client.id }),
    world.post('token', { ...grant, client_id: client.id, client_secret: client.secret }),
    world.post('token', grant),
    world.post('token', grant, { authorization: 'Basic !' }),
    world.post('token', grant, { authorization: `Bearer ${client.secret}` }),
    world.post('token', grant, { authorization: basicField(open.id, '') }),
    world.post('introspect', { client_id: open.id, token: 'x' }),
  ];
  const replies = await Promise.all(tries);
  for (const [at, reply] of replies.entries()) {
    assert.equal(reply.status, 401, `try ${at}`);
    assert.equal(reply.text, replies[0]?.text);
    assert.match(String(reply.headers.get('www-authenticate')), /^Basic realm=/);
    assert.equal(reply.headers.get('cache-control'), 'no-store');
  }
  assert.equal(replies[0]?.json.error, 'invalid_client');
});

test('two methods at once are invalid_client, though each of them is right', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const both = await world.as(client, 'token', { ...grant, client_id: client.id, client_secret: client.secret });
  assert.deepEqual([both.status, both.json.error], [401, 'invalid_client']);
  const assertion = { client_assertion: 'a.b.c', client_assertion_type: ASSERTION_TYPE };
  assert.equal((await world.as(client, 'token', { ...grant, ...assertion })).json.error, 'invalid_client');
  const other = await world.addClient();
  assert.equal((await world.as(client, 'token', { ...grant, client_id: other.id })).json.error, 'invalid_client');
  assert.equal((await world.as(client, 'token', { ...grant, client_id: client.id })).status, 200);
});

test('two secrets are good at once; a removed and an expired one are not', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { newClientSecret } = await import('../../src/clients/secrets.ts');
  const nowMs = Date.now();
  const second = newClientSecret(nowMs, nowMs + 1500);
  await world.clients.addSecret(world.issuer, client.id, second.kept, nowMs);
  const status = async (secret: string) => (await world.as({ ...client, secret }, 'token', grant)).status;
  assert.deepEqual([await status(client.secret), await status(second.secret)], [200, 200]);
  await world.clients.removeSecret(world.issuer, client.id, client.record.secrets[0]?.id as string, nowMs);
  assert.deepEqual([await status(client.secret), await status(second.secret)], [401, 200]);
  await new Promise((resolve) => setTimeout(resolve, 1600));
  assert.equal(await status(second.secret), 401);
});

test('attack 121: failures count per address, above them the address is not heard, and a good client elsewhere is', async () => {
  const oauth = { limits: { failures: undefined } };
  await using world = await openOAuthWorld({
    limits: { hard: { key: 'ip', rate: '3/1h', algorithm: 'log' } },
    oauth: { limits: { ...oauth.limits, failures: 'hard' } },
    proxy: { trusted_proxies: ['127.0.0.1'] },
  });
  const client = await world.addClient();
  const from = (ip: string, secret: string) =>
    world.post('token', grant, { authorization: basicField(client.id, secret), 'x-forwarded-for': ip });
  for (let tries = 0; tries < 3; tries += 1) assert.equal((await from('203.0.113.1', 'wrong')).status, 401);
  const refused = await from('203.0.113.1', 'wrong');
  assert.deepEqual([refused.status, refused.json.error], [429, 'rate_limited']);
  assert.ok(Number(refused.headers.get('retry-after')) > 1000);
  assert.equal((await from('203.0.113.1', client.secret)).status, 429, 'not even with the right one');
  assert.equal(
    (await from('203.0.113.2', client.secret)).status,
    200,
    'nobody locks a client out by failing in its name',
  );
});

test('calls are limited per client and address, and each endpoint on its own', async () => {
  await using world = await openOAuthWorld({ oauth: { limits: {} } });
  const [one, two] = [await world.addClient(), await world.addClient()];
  const statuses: number[] = [];
  for (let calls = 0; calls < 32; calls += 1) statuses.push((await world.as(one, 'token', grant)).status);
  assert.deepEqual([statuses.filter((s) => s === 200).length, statuses.filter((s) => s === 429).length], [30, 2]);
  assert.equal((await world.as(two, 'token', grant)).status, 200);
  assert.equal((await world.as(one, 'introspect', { token: 'x' })).status, 200);
});

const assertionOf = (
  world: OAuthWorld,
  client: TestClient,
  key: ReturnType<typeof mintKey>,
  claims = {},
  header = {},
) => {
  const now = Math.floor(Date.now() / 1000);
  const good = { iss: client.id, sub: client.id, aud: world.issuer, exp: now + 60, iat: now, jti: randomUUID() };
  return mintRaw(key, { alg: key.alg, kid: key.kid, typ: 'JWT', ...header }, { ...good, ...claims });
};

test('attack 122: private_key_jwt: audience, times, parties, key, algorithm, and each jti once', async () => {
  await using world = await openOAuthWorld();
  const [key, stranger, mac] = [mintKey('ES256', 'k1'), mintKey('ES256', 'k1'), mintKey('HS256', 'k1')];
  const client = await world.addClient({ authMethod: 'private_key_jwt', jwks: { keys: [key.jwk] } });
  const other = await world.addClient();
  const send = (client_assertion: string, more: object = {}, endpoint = 'token') =>
    world.post(endpoint, { ...grant, client_assertion, client_assertion_type: ASSERTION_TYPE, ...more });
  const status = async (claims: object, header: object = {}, signer = key) =>
    (await send(assertionOf(world, client, signer, claims, header))).status;
  const now = Math.floor(Date.now() / 1000);
  assert.equal(await status({}), 200);
  assert.equal(await status({ aud: world.url('token') }), 200);
  assert.equal(await status({ aud: [world.issuer] }), 200);
  const refused: Record<string, object> = {
    'other endpoint': { aud: world.url('introspect') },
    'other server': { aud: 'https://other.example' },
    'ours and theirs': { aud: [world.issuer, 'https://other.example'] },
    'no audience': { aud: undefined },
    'empty audience': { aud: [] },
    expired: { exp: now - 60 },
    'no exp': { exp: undefined },
    'too long': { exp: now + 3600 },
    'not yet': { nbf: now + 300 },
    'from the future': { iat: now + 300 },
    'other subject': { sub: other.id },
    'other issuer': { iss: other.id },
    'no jti': { jti: undefined },
    'jti of no text': { jti: 7 },
  };
  for (const [name, claims] of Object.entries(refused)) assert.equal(await status(claims), 401, name);
  assert.equal(await status({}, {}, stranger), 401, 'another key under the same kid');
  assert.equal(await status({}, { alg: 'none' }), 401);
  assert.equal(await status({}, { crit: ['x'], x: 1 }), 401);
  assert.equal(await status({}, {}, mac), 401);
  const once = assertionOf(world, client, key);
  const replies = await Promise.all(Array.from({ length: 10 }, () => send(once)));
  assert.equal(replies.filter((reply) => reply.status === 200).length, 1, 'attack 122: replay');
  assert.equal((await send(assertionOf(world, client, key), { client_id: other.id })).status, 401);
  assert.equal((await send(assertionOf(world, client, key), { client_assertion_type: 'other' })).status, 401);
  assert.equal((await send('x'.repeat(12_000))).status, 401);
});

test('requests that are no form, hold a parameter twice, are too large or carry secrets in the URL are refused', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const authorization = basicField(client.id, client.secret);
  const json = await world.post('token', '{"grant_type":"client_credentials"}', {
    authorization,
    'content-type': 'application/json',
  });
  assert.deepEqual([json.status, json.json.error], [415, 'invalid_request']);
  const cases: Record<string, number> = {
    'grant_type=client_credentials&grant_type=client_credentials': 400,
    'grant_type=client_credentials&scope=read&scope=': 400,
    'grant_type=client_credentials&scope=%zz': 400,
    'grant_type=client_credentials&scope=%ff': 400,
    [`grant_type=client_credentials&x=${'y'.repeat(17_000)}`]: 413,
    'grant_type=client_credentials&scope=': 200,
    'grant_type=client_credentials&unknown=1': 200,
  };
  for (const [body, status] of Object.entries(cases)) {
    assert.equal((await world.post('token', body, { authorization })).status, status, body.slice(0, 60));
  }
  const inUrl = await world.post(`token?client_id=${client.id}&client_secret=${client.secret}`, grant);
  assert.deepEqual([inUrl.status, inUrl.json.error], [400, 'invalid_request']);
  assert.ok(!world.sidecar.logText().includes(client.secret));
  const coded = await world.post('token', 'grant_type=client_credentials', {
    authorization,
    'content-encoding': 'gzip',
  });
  assert.equal(coded.status, 415);
  const wrongMethod = await fetch(world.url('token'));
  assert.deepEqual([wrongMethod.status, wrongMethod.headers.get('allow')], [405, 'POST']);
});

test('a chunked body that announces nothing is bounded as it arrives', async () => {
  await using world = await openOAuthWorld();
  const chunk = `${(8192).toString(16)}\r\n${'x'.repeat(8192)}\r\n`;
  const reply = await rawRequest(
    world.sidecar.port,
    `POST /.doorward/oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(3)}`,
  );
  assert.match(reply, /^HTTP\/1\.1 413 /);
  assert.match(reply, /connection: close/i);
});

test('the endpoints are there on the host of the issuer alone, by their exact paths, and never reach the application', async () => {
  await using world = await openOAuthWorld();
  const ask = (path: string, host: string, method = 'GET') =>
    rawRequest(world.sidecar.port, `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  assert.match(await ask('/.well-known/jwks.json', '127.0.0.1'), /^HTTP\/1\.1 200 /);
  assert.match(await ask('/.well-known/jwks.json', '127.0.0.1:9'), /^HTTP\/1\.1 200 /);
  world.upstream.clear();
  for (const path of [
    '/.doorward/oauth/token',
    '/.doorward/oauth/x',
    '/.doorward/oauth/token/',
    '/.doorward/OAUTH/token',
  ]) {
    assert.doesNotMatch(await ask(path, 'other.example', 'POST'), /^HTTP\/1\.1 2/, path);
  }
  assert.deepEqual(world.upstream.seen, []);
  assert.match(await ask('/.well-known/jwks.json', 'other.example'), /^HTTP\/1\.1 401 /, 'a route of that host');
  assert.match(await ask('/.well-known/jwks.json', 'a,b'), /^HTTP\/1\.1 400 /);
});

test('a secret or token that was put where the client id belongs is in no log and no audit event', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { json } = await world.login(client);
  const { code } = await world.code(client);
  const misplaced = [client.secret, json.refresh_token as string, json.access_token as string, code];
  for (const secret of misplaced) {
    assert.equal((await world.post('token', { ...grant, client_id: secret, client_secret: 'x' })).status, 401);
    assert.equal((await world.post('token', grant, { authorization: basicField(secret, 'x') })).status, 401);
  }
  const events = () => world.database.sql`select client from audit_event where type = 'client.auth_failed'`;
  await eventually(async () => (await events()).length === 2 * misplaced.length, 10_000);
  const told = JSON.stringify(await events()) + world.sidecar.logText();
  for (const secret of misplaced) assert.ok(!told.includes(secret.slice(0, 40)), secret.slice(0, 4));
});
