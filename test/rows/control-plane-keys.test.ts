// Rows of the reference systems about keys that are kept: those of operators and clients, and those that sign.
import assert from 'node:assert/strict';
import { generateKeyPairSync, hash } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { scratchFolder } from '../cli/processes.ts';
import { basicField, openOAuthWorld } from '../identity/world.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, type TestSidecar } from '../support/sidecar.ts';
import { eventually } from './eventually.ts';

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

async function statusOf({ proxyUrl }: TestSidecar, token: string): Promise<number> {
  const response = await fetch(`${proxyUrl}/x`, { headers: bearer(token) });
  await response.body?.cancel();
  return response.status;
}

test('K27: keys of operators are kept hashed, with permissions, expiry and last use, and can be made, listed and removed', async () => {
  await using database = await openTestDatabase();
  await using it = await startAdminSidecar((config) => ({ ...config, ...postgresConfig(database) }));
  const body = { name: 'ci', permissions: ['revocations:write', 'revocations:read'], expires: '1m' };
  const { status, json } = await it.admin('POST', '/v1/operators', { body });
  const token = String(json.token);
  assert.deepEqual([status, json.last_used_at], [201, null]);
  const kept = await database.sql`select o::text as text, token_digest from operator o where name = 'ci'`;
  assert.ok(!String(kept[0]?.text).includes(token));
  assert.ok(String(kept[0]?.text).includes(hash('sha256', token, 'hex')), 'a digest of the key');
  assert.equal((await it.admin('GET', '/v1/revocations', { token })).status, 200);
  assert.equal((await it.admin('GET', '/v1/status', { token })).status, 403, 'what is not among its permissions');
  const listed = async () =>
    [...(await it.admin('GET', '/v1/operators')).json.items].find(({ name }) => String(name) === 'ci');
  await eventually(async () => String((await listed())?.last_used_at) !== 'null', 5000);
  assert.ok(!JSON.stringify(await listed()).includes(token.slice(10)));
  await database.sql`update operator set expires_at = now() - interval '1 second' where name = 'ci'`;
  await eventually(async () => (await it.admin('GET', '/v1/revocations', { token })).status === 401, 10_000);
  assert.equal((await it.admin('DELETE', `/v1/operators/${json.id}`)).status, 204);
  assert.equal(await listed(), undefined);
});

test('K27: keys of clients are kept hashed, with scopes, expiry and last use; two live side by side', async () => {
  await using at = await openOAuthWorld();
  const made = await at.admin('POST', '/v1/clients', {
    name: 'batch',
    scopes: ['read'],
    grant_types: ['client_credentials'],
  });
  const { client_id: id, client_secret: first } = made.body as { client_id: string; client_secret: string };
  const second = await at.admin('POST', `/v1/clients/${id}/secrets`, { expires: '1h' });
  const ask = async (secret: string, scope = 'read') => {
    const form = { grant_type: 'client_credentials', scope };
    return (await at.post('token', form, { authorization: basicField(id, secret) })).status;
  };
  const other = String(second.body.client_secret);
  const asked = [await ask(first), await ask(other), await ask(`${first}x`), await ask(first, 'write')];
  assert.deepEqual(asked, [200, 200, 401, 400]);
  const dump = JSON.stringify(await at.database.sql`select s::text from client_secret s`);
  assert.ok(dump.includes(id) && dump.includes(hash('sha256', first, 'hex')), dump);
  for (const secret of [first, other]) assert.ok(!dump.includes(secret));
  await eventually(async () => {
    const { body } = await at.admin('GET', `/v1/clients/${id}`);
    return (body.secrets as { last_used_at: string | null }[]).every(({ last_used_at: used }) => used !== null);
  }, 5000);
  await at.database.sql`update client_secret set expires_at = now() - interval '1 second' where expires_at is not null`;
  await eventually(async () => (await ask(other)) === 401, 10_000);
  assert.equal(await ask(first), 200);
});

const ownIssuer = (sign: object) => ({
  issuers: { self: { issuer: 'http://doorward.localhost', audience: ['api'], sign } },
});

test('H17: a key that is kept in a file is 0600; one that is damaged is named at the start and never written over', async () => {
  await using upstream = await recordingUpstream();
  using folder = scratchFolder();
  const state = folder.file('state');
  const start = () => startSidecar(upstream.url, { state_dir: state, ...ownIssuer({}) });
  const file = join(state, 'signing-key.pem');
  {
    await using _ = await start();
    assert.equal((statSync(file).mode & 0o777).toString(8), '600');
  }
  const whole = readFileSync(file, 'utf8');
  // The reference makes a new key of its own accord; every token in the wild would be refused, and nobody told.
  for (const damaged of ['', whole.slice(0, 80), '{"keys": [']) {
    writeFileSync(file, damaged);
    await assert.rejects(start(), (error: Error) => error.message.includes(file));
    assert.equal(readFileSync(file, 'utf8'), damaged);
  }
  writeFileSync(file, whole);
  await using again = await start();
  assert.equal(readFileSync(file, 'utf8'), whole);
  assert.equal(await statusOf(again, await issue(again)), 200);
});

test('H17: a key from before is loaded from its PEM, and what it signed is good again under its kid', async () => {
  await using upstream = await recordingUpstream();
  const legacy = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const sign = {
    algorithm: 'RS256' as const,
    key: { value: legacy.export({ type: 'pkcs8', format: 'pem' }) as string },
  };
  const config = ownIssuer(sign);
  let token: string;
  {
    await using first = await startSidecar(upstream.url, config);
    token = await issue(first);
  }
  await using second = await startSidecar(upstream.url, config);
  assert.equal(await statusOf(second, token), 200);
  assert.equal(kidOf(await issue(second)), kidOf(token));
});

async function issue({ adminUrl, adminTokenFile }: TestSidecar): Promise<string> {
  const headers = { ...bearer(readFileSync(adminTokenFile, 'utf8').trim()), 'content-type': 'application/json' };
  const body = JSON.stringify({ subject: 'alice', client: 'web' });
  const response = await fetch(`${adminUrl}/v1/tokens`, { method: 'POST', headers, body });
  return ((await response.json()) as { token: string }).token;
}

const kidOf = (token: string) =>
  JSON.parse(String(Buffer.from(token.split('.')[0] as string, 'base64url'))).kid as string;

test('H17: keys turn after 90 days by default, and of those retired at most three are kept', async () => {
  await using database = await openTestDatabase();
  await using it = await startAdminSidecar((config) => ({
    ...config,
    ...postgresConfig(database),
    issuers: { self: { issuer: 'http://doorward.localhost', audience: ['api'], sign: { publish_before: '0ms' } } },
    defaults: { issuers: ['self'] },
  }));
  const keys = async () => [...(await it.admin('GET', '/v1/keys')).json.items] as unknown as Record<string, string>[];
  /** Once the old key is gone there is nothing to wait for but the next rotation. */
  const retire = async (wanted: string) => {
    const kid = (await keys()).find(({ state }) => state === wanted)?.kid;
    const { status, json } = await it.admin('POST', `/v1/keys/${kid}/retire`);
    assert.equal(status, 200);
    return String(json.next_step_at);
  };
  for (let round = 0; round < 5; round += 1) {
    await retire('active');
    const nextAt = await retire('retiring');
    const active = (await keys()).find(({ state }) => state === 'active');
    assert.equal(Date.parse(nextAt) - Date.parse(String(active?.signs_from)), 90 * 86_400_000);
  }
  const count = (await keys()).filter(({ state }) => state === 'retired').length;
  assert.equal(count, 3);
  const [row] = await database.sql`select count(*)::int as kept from signing_key where private_key is not null`;
  assert.equal(row?.kept, 1, 'a retired key is a record without its private part');
});

test('H17: a key that is damaged in PostgreSQL is named in the log and signs nothing; an operator replaces it, nobody else does', async () => {
  await using database = await openTestDatabase();
  const start = () =>
    startAdminSidecar((config) => ({
      ...config,
      ...postgresConfig(database),
      issuers: { self: { issuer: 'http://doorward.localhost', audience: ['api'], sign: {} } },
      defaults: { issuers: ['self'] },
    }));
  {
    await using it = await start();
    await it.issue();
  }
  await database.sql`update signing_key set private_key = set_byte(private_key, 40, get_byte(private_key, 40) # 1)`;
  const [row] = await database.sql`select kid from signing_key`;
  await using it = await start();
  const body = { subject: 'alice', client: 'web' };
  await eventually(() => it.log().some(({ event, kid }) => event === 'signing_key_unusable' && kid === row?.kid), 5000);
  assert.equal((await it.socket('POST', '/v1/tokens', { body })).status, 503);
  assert.equal((await it.observe('GET', '/readyz')).status, 503);
  assert.equal((await it.socket('POST', `/v1/keys/${row?.kid}/ban`)).status, 200);
  await eventually(async () => (await it.socket('POST', '/v1/tokens', { body })).status === 201, 10_000);
  assert.equal((await it.observe('GET', '/readyz')).status, 200);
});
