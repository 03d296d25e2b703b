// One run of the control plane with every kind of secret that it makes or takes, and a search for all of them in everything
// that leaves the program: log, metrics, configuration, every column of PostgreSQL, every value of Redis, private files.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { get, type OAuthWorld, openOAuthWorld } from './identity/world.ts';
import { Captured } from './support/captured.ts';
import { dumpRedis } from './support/redis-dump.ts';
import { startRedis } from './support/redis-server.ts';

/** Files of the state folder that hold a secret because that is what they are for; all are 0600. */
const KEEPERS = new Set(['admin.token', 'admin.sock']);

/** Every row of every table as text, `bytea` in hex. */
async function dumpDatabase({ database }: OAuthWorld): Promise<string> {
  const tables = await database.sql`select table_name as name from information_schema.tables
    where table_schema = current_schema() and table_type = 'BASE TABLE'`;
  assert.ok(tables.length > 10);
  const texts = await Promise.all(
    tables.map(({ name }) => database.sql`select t::text as row from ${database.sql(name)} as t`),
  );
  return texts.flatMap((rows) => rows.map(({ row }) => row)).join('\n');
}

function filesOf(folder: string): string {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && !KEEPERS.has(entry.name))
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
    .join('\n');
}

test('attack 129: no secret that the control plane made or took stands in log, metrics, configuration, database or Redis', async () => {
  const kek = randomBytes(32).toString('base64url');
  await using redis = await startRedis();
  await using at = await openOAuthWorld({
    redis: { url: { value: redis.url }, timeout: '1s' },
    sealing: { kek: { key: { value: kek } } },
    log: { level: 'debug', decisions: { allow: 1, deny: 1 }, subject: 'plain' },
  });
  const secrets: Record<string, string> = { 'key-encryption key': kek };
  const call = async (method: string, path: string, body?: unknown) => {
    const answer = await at.admin(method, path, body);
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
    return answer.body as any;
  };

  secrets['first operator token'] = readFileSync(at.sidecar.adminTokenFile, 'utf8').trim();
  secrets['operator token'] = (await call('POST', '/v1/operators', { name: 'second', role: 'viewer' })).token;
  const added = await call('POST', '/v1/clients', {
    name: 'billing',
    grant_types: ['client_credentials'],
    scopes: ['read'],
  });
  secrets['client secret'] = added.client_secret;
  secrets['second client secret'] = (await call('POST', `/v1/clients/${added.client_id}/secrets`, {})).client_secret;
  const initial = (await call('POST', '/v1/clients/initial-access-tokens', {})).token;
  secrets['initial access token'] = initial;
  const metadata = JSON.stringify({ redirect_uris: ['https://app.example/cb'] });
  const registered = await fetch(at.url('register'), {
    method: 'POST',
    headers: { authorization: `Bearer ${initial}`, 'content-type': 'application/json' },
    body: metadata,
  });
  assert.equal(registered.status, 201);
  const { client_secret, registration_access_token } = (await registered.json()) as Record<string, string>;
  Object.assign(secrets, {
    'registered secret': client_secret,
    'registration access token': registration_access_token,
  });

  const client = await at.addClient();
  secrets['secret of the web client'] = client.secret;
  const minted = await at.code(client, { scopes: ['openid', 'read'], nonce: 'n-0S6_WzA2Mj' });
  Object.assign(secrets, { code: minted.code, verifier: minted.verifier });
  const redeemed = await at.as(client, 'token', {
    grant_type: 'authorization_code',
    code: minted.code,
    redirect_uri: 'https://app.example/cb',
    code_verifier: minted.verifier,
  });
  assert.equal(redeemed.status, 200, redeemed.text);
  const { access_token, refresh_token, id_token } = redeemed.json;
  const refreshed = await at.as(client, 'token', { grant_type: 'refresh_token', refresh_token });
  const again = await at.as(client, 'token', { grant_type: 'refresh_token', refresh_token });
  assert.deepEqual([refreshed.status, again.status], [200, 200]);
  Object.assign(secrets, {
    access_token,
    refresh_token,
    id_token,
    'second refresh token': refreshed.json.refresh_token,
  });
  secrets['second access token'] = refreshed.json.access_token;
  const machine = await at.as(client, 'token', { grant_type: 'client_credentials', scope: 'read' });
  secrets['machine token'] = machine.json.access_token;
  secrets['issued token'] = (await call('POST', '/v1/tokens', { subject: 'root', client: 'ops' })).token;

  assert.equal(await at.call(access_token), 200);
  await at.as(client, 'introspect', { token: access_token });
  await at.as(client, 'introspect', { token: refreshed.json.refresh_token });
  await at.as(client, 'token', { grant_type: 'refresh_token', refresh_token: 'not one of ours' });
  await at.post('token', {
    grant_type: 'client_credentials',
    client_id: client.id,
    client_secret: 'a wrong guess of it',
  });
  secrets['guessed secret'] = 'a wrong guess of it';
  await call('POST', '/v1/keys', {});
  await call('POST', '/v1/data-keys', {}).catch(() => undefined);
  await call('POST', '/v1/revocations', { token: machine.json.access_token, reason: 'leaked' });
  await at.as(client, 'revoke', { token: refreshed.json.refresh_token });
  await at.call(access_token);

  const captured = new Captured();
  captured.add('log', at.sidecar.logText());
  captured.add('metrics', (await get(`${at.sidecar.observeUrl}/metrics`)).text);
  captured.add('configuration', JSON.stringify(await call('GET', '/v1/config')));
  captured.add('audit', JSON.stringify(await call('GET', '/v1/audit?limit=200')));
  captured.add('clients', JSON.stringify(await call('GET', '/v1/clients?limit=200')));
  captured.add('decisions', JSON.stringify(await call('GET', '/v1/decisions')));
  captured.add('statistics', JSON.stringify(await call('GET', '/v1/statistics')));
  captured.add('PostgreSQL', await dumpDatabase(at));
  captured.add('Redis', await dumpRedis(redis.url));
  captured.add('files', filesOf(at.sidecar.stateDir));
  for (const where of ['log', 'metrics', 'PostgreSQL', 'Redis', 'audit'])
    assert.ok(captured.get(where).length > 1000, where);
  // What is no secret does stand there: the search looks in the right places.
  for (const where of ['PostgreSQL', 'audit', 'clients']) assert.ok(captured.get(where).includes(client.id), where);
  for (const [name, secret] of Object.entries(secrets)) {
    assert.ok(typeof secret === 'string' && secret.length >= 16, `${name} was not captured`);
    captured.assertWithout(name, secret);
  }
  assert.doesNotMatch(captured.get('PostgreSQL'), /PRIVATE KEY/);
});
