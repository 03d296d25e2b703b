// The clients resource over the real admin port and PostgreSQL.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isPrefixedSecret } from '../../src/core/prefixed-secret.ts';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { FOREIGN, type Loose, startAdminSidecar } from './admin-sidecar.ts';

const OWN = 'http://doorward.localhost';

async function world() {
  const database = await openTestDatabase();
  const it = await startAdminSidecar((config) => ({
    ...config,
    ...postgresConfig(database, { timeout: '5s' }),
    limits: {
      ...config.limits,
      per_client: { key: 'client', tiers: { free: '100/1h', paid: '1000/1h' }, default_tier: 'free' },
    },
    tiers: { free: { scopes: ['read_limited'] }, paid: { scopes: ['read', 'read_limited'] } },
    default_tier: 'free',
  }));
  return {
    ...it,
    database,
    add: async (body: object = {}) => {
      const answer = await it.admin('POST', '/v1/clients', { body: { name: 'billing', ...body } });
      assert.equal(answer.status, 201, answer.text);
      return answer.json as Loose & { readonly client_id: string; readonly client_secret: string };
    },
    async [Symbol.asyncDispose]() {
      await it[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

const problems = (json: Loose) => [...json.errors].map(({ path }) => `${path}`).sort();

test('H1: a client is registered whole, and its secret is shown once and kept nowhere', async () => {
  await using it = await world();
  const { client_secret: secret, applied, ...client } = await it.add({ scopes: ['read'], tier: 'paid' });
  assert.equal(applied as unknown, 'all');
  assert.ok(isPrefixedSecret('dws', secret));
  assert.match(client.client_id, /^c_[A-Za-z0-9_-]{22}$/);
  const shown = await it.admin('GET', `/v1/clients/${client.client_id}`);
  assert.deepEqual([shown.status, shown.json], [200, client]);
  assert.equal(shown.headers.etag, '"1"');
  const { secrets, created_at, updated_at, client_id, ...rest } = client as unknown as Record<string, unknown>;
  assert.deepEqual(rest, {
    ...{ issuer: OWN, external: false, name: 'billing', type: 'confidential', grant_types: ['client_credentials'] },
    ...{ response_types: [], token_endpoint_auth_method: 'client_secret_basic', jwks: null, jwks_uri: null },
    ...{ redirect_uris: [], scopes: ['read'], tier: 'paid', limits: {}, tenant: null, audience: [], disabled: false },
    ...{ registered_by: 'operator', version: 1 },
  });
  assert.deepEqual([(secrets as unknown[]).length, created_at], [1, updated_at]);
  const rows = JSON.stringify(await it.database.sql`select * from client_secret, client, audit_event`);
  assert.ok(rows.includes(`${client_id}`) && !rows.includes(secret.slice(10, 40)));
  assert.ok(!it.logText().includes(secret.slice(10, 40)));
});

test('unknown fields, and every field that does not hold, are told by name: 422', async () => {
  await using it = await world();
  const refused = async (body: object) => {
    const { status, json } = await it.admin('POST', '/v1/clients', { body });
    assert.equal(status, 422);
    return problems(json);
  };
  assert.deepEqual(await refused({ name: 'a', roles: ['admin'], client_secret: 'x' }), ['client_secret', 'roles']);
  assert.deepEqual(await refused({ name: 'a', issuer: 'nobody' }), ['issuer']);
  assert.deepEqual(await refused({}), ['name']);
  assert.deepEqual(await refused({ name: 'a', client_id: '-x' }), ['client_id']);
  assert.deepEqual(await refused({ name: 'a', client_id: 'initial-access-tokens' }), ['client_id']);
  assert.deepEqual(await refused({ name: 'a\n', tier: 'gold', limits: { nope: '1/1m' } }), [
    'limits.nope',
    'name',
    'tier',
  ]);
  assert.deepEqual(await refused({ name: 'a', limits: { per_client: 'many' } }), ['limits.per_client']);
  assert.deepEqual(await refused({ name: 'a', tier: 'free', scopes: ['read_limited', 'read'] }), ['scopes.1']);
  assert.deepEqual(await refused({ name: 'a', issuer: 'corp' }), ['client_id']);
  assert.deepEqual(await refused({ issuer: 'corp', client_id: 'x', scopes: ['read'] }), ['scopes']);
  assert.deepEqual((await it.admin('GET', '/v1/clients')).json.items as unknown, []);
});

test('an id twice is a conflict, a foreign issuer may have the same one, and then the issuer must be said', async () => {
  await using it = await world();
  await it.add({ client_id: 'billing' });
  assert.equal((await it.admin('POST', '/v1/clients', { body: { name: 'b', client_id: 'billing' } })).status, 409);
  assert.equal((await it.admin('GET', '/v1/clients/billing')).status, 200);
  await it.add({ client_id: 'billing', issuer: 'corp' });
  const which = await it.admin('GET', '/v1/clients/billing');
  assert.deepEqual([which.status, which.json.code as unknown], [409, 'conflict']);
  const own = await it.admin('GET', '/v1/clients/billing?issuer=self');
  const foreign = await it.admin('GET', `/v1/clients/billing?issuer=${encodeURIComponent(FOREIGN)}`);
  assert.deepEqual([own.json.external, foreign.json.external] as unknown[], [false, true]);
  assert.deepEqual(foreign.json.secrets as unknown, []);
});

test('PATCH changes what is given, null takes away, PUT replaces all', async () => {
  await using it = await world();
  const { client_id } = await it.add({
    tier: 'paid',
    scopes: ['read'],
    tenant: 'acme',
    limits: { per_client: '5/1m' },
  });
  const path = `/v1/clients/${client_id}`;
  const patch = await it.admin('PATCH', path, { body: { tenant: null, limits: { per_client: ['7/1m', '70/1h'] } } });
  assert.deepEqual(
    [patch.status, patch.json.tenant, patch.json.tier, patch.json.limits, patch.json.version] as unknown[],
    [200, null, 'paid', { per_client: ['7/1m', '70/1h'] }, 2],
  );
  const put = await it.admin('PUT', path, { body: { name: 'new' } });
  assert.deepEqual(
    [put.status, put.json.name, put.json.tier, put.json.scopes, put.json.limits, put.json.version] as unknown[],
    [200, 'new', null, [], {}, 3],
  );
  assert.equal([...(put.json.secrets as Loose)].length, 1, 'secrets are no property');
});

test('PATCH of the method changes the type with it, and the other way round', async () => {
  await using it = await world();
  const spa = { grant_types: ['authorization_code'], redirect_uris: ['https://app.test/cb'] };
  const { client_id } = await it.add(spa);
  const patch = async (body: object) => {
    const { json } = await it.admin('PATCH', `/v1/clients/${client_id}`, { body });
    return [json.type, json.token_endpoint_auth_method, json.response_types] as unknown[];
  };
  assert.deepEqual(await patch({ type: 'public' }), ['public', 'none', ['code']]);
  assert.deepEqual(await patch({ type: 'confidential' }), ['confidential', 'client_secret_basic', ['code']]);
  assert.deepEqual(await patch({ token_endpoint_auth_method: 'none' }), ['public', 'none', ['code']]);
  const machine = { type: 'confidential', grant_types: ['client_credentials'], redirect_uris: [] };
  assert.deepEqual(await patch(machine), ['confidential', 'client_secret_basic', []]);
});

test('dry_run=true judges a registration and a change as the call itself would, and changes nothing', async () => {
  await using it = await world();
  const post = (body: object) => it.admin('POST', '/v1/clients?dry_run=true', { body });
  const sound = await post({ name: 'billing' });
  assert.deepEqual([sound.status, sound.json], [200, { dry_run: true, issuer: OWN, client_id: null }]);
  assert.equal((await post({ name: 'billing', tier: 'gold' })).status, 422);
  assert.deepEqual((await it.admin('GET', '/v1/clients')).json.items, []);
  const { client_id } = await it.add({ client_id: 'known', limits: { per_client: '5/1m' } });
  assert.equal((await post({ name: 'other', client_id })).status, 409);
  const patch = (body: object, headers = {}) =>
    it.admin('PATCH', `/v1/clients/${client_id}?dry_run=true`, { body, headers });
  const judged = await patch({ limits: { per_client: ['5/60s'] }, name: 'other' });
  assert.deepEqual([judged.status, judged.json], [200, { dry_run: true, issuer: OWN, client_id, changed: ['name'] }]);
  assert.equal((await patch({ scopes: ['write'] })).status, 422);
  assert.equal((await patch({ name: 'other' }, { 'if-match': '"7"' })).status, 412);
  const shown = await it.admin('GET', `/v1/clients/${client_id}`);
  assert.deepEqual([shown.json.name, shown.json.version], ['billing', 1] as unknown[]);
  assert.equal((await it.admin('PUT', `/v1/clients/${client_id}?dry_run=true`, { body: {} })).status, 422);
});

test('If-Match that names another version is 412 and changes nothing', async () => {
  await using it = await world();
  const { client_id } = await it.add();
  const path = `/v1/clients/${client_id}`;
  const stale = { headers: { 'if-match': '"7"' } };
  assert.equal((await it.admin('PATCH', path, { ...stale, body: { name: 'x' } })).status, 412);
  assert.equal((await it.admin('PUT', path, { ...stale, body: { name: 'x' } })).status, 412);
  assert.equal((await it.admin('DELETE', path, stale)).status, 412);
  const held = { headers: { 'if-match': '"1"' } };
  const changed = await it.admin('PATCH', path, { ...held, body: { name: 'x' } });
  assert.deepEqual([changed.status, changed.headers.etag], [200, '"2"']);
  assert.equal((await it.admin('PATCH', path, { ...held, body: { name: 'y' } })).status, 412);
});

test('of 20 PATCHes at once without If-Match none is lost', async () => {
  await using it = await world();
  const { client_id } = await it.add();
  const statuses = await Promise.all(
    Array.from({ length: 20 }, async (_, at) => {
      const body = at % 2 === 0 ? { tenant: 'acme' } : { name: 'renamed' };
      return (await it.admin('PATCH', `/v1/clients/${client_id}`, { body })).status;
    }),
  );
  const { json } = await it.admin('GET', `/v1/clients/${client_id}`);
  assert.deepEqual([json.tenant, json.name] as unknown[], ['acme', 'renamed']);
  assert.ok(statuses.every((status) => status === 200 || status === 412));
});

test('PUT makes the record of a foreign client, and makes it again without harm', async () => {
  await using it = await world();
  const put = (body: object) => it.admin('PUT', '/v1/clients/partner?issuer=corp', { body });
  const made = await put({ tier: 'paid' });
  assert.deepEqual([made.status, made.json.external, made.json.name, made.json.tier] as unknown[], [
    200,
    true,
    'partner',
    'paid',
  ]);
  assert.equal((await put({ tier: 'free', disabled: true })).json.version as unknown, 2);
  assert.deepEqual(problems((await put({ redirect_uris: [] })).json), ['redirect_uris']);
  assert.equal((await it.admin('PUT', '/v1/clients/c_nobody?issuer=self', { body: { name: 'x' } })).status, 404);
});

test('two secrets may live, the third is a conflict, and a removed one is gone', async () => {
  await using it = await world();
  const { client_id, client_secret } = await it.add();
  const path = `/v1/clients/${client_id}/secrets`;
  const second = await it.admin('POST', path, { body: { expires: '90d' } });
  assert.equal(second.status, 201);
  assert.notEqual(second.json.client_secret as unknown, client_secret);
  assert.equal((await it.admin('POST', path, { body: {} })).status, 409);
  const shown = (await it.admin('GET', `/v1/clients/${client_id}`)).json;
  const [first] = [...(shown.secrets as Loose)];
  assert.equal([...(shown.secrets as Loose)].length, 2);
  assert.equal((await it.admin('DELETE', `${path}/${first?.id}`)).status, 204);
  assert.equal((await it.admin('DELETE', `${path}/${first?.id}`)).status, 404);
  assert.equal((await it.admin('POST', path, { body: {} })).status, 201);
});

test('a client without secrets gets none', async () => {
  await using it = await world();
  const spa = { type: 'public', grant_types: ['authorization_code'], redirect_uris: ['https://app.test/cb'] };
  const made = await it.add(spa);
  assert.equal(made.client_secret as unknown, undefined);
  assert.equal((await it.admin('POST', `/v1/clients/${made.client_id}/secrets`, { body: {} })).status, 409);
});

test('H2: pages and filters', async () => {
  await using it = await world();
  for (const name of ['a', 'b', 'c', 'd', 'e']) await it.add({ name, tier: name < 'c' ? 'paid' : 'free' });
  await it.admin('PUT', '/v1/clients/partner?issuer=corp', { body: { disabled: true } });
  const names = async (query: string) => {
    const { json } = await it.admin('GET', `/v1/clients?${query}`);
    return { names: [...json.items].map(({ name }) => `${name}`), next: json.next as unknown as string | undefined };
  };
  const whole = await names('');
  assert.deepEqual(whole, { names: ['partner', 'e', 'd', 'c', 'b', 'a'], next: undefined });
  const seen: string[] = [];
  for (let query: string | undefined = 'limit=4'; query !== undefined; ) {
    const page = await names(query);
    seen.push(...page.names);
    query = page.next && `limit=4&cursor=${page.next}`;
  }
  assert.deepEqual(seen, whole.names);
  assert.deepEqual((await names('tier=paid&issuer=self')).names, ['b', 'a']);
  assert.deepEqual((await names('disabled=true')).names, ['partner']);
  assert.deepEqual((await names('name=c')).names, ['c']);
  for (const wrong of [
    'cursor=x',
    'cursor=W10',
    `cursor=${Buffer.from('[1e300,"a","b"]').toString('base64url')}`,
    'a=b',
  ])
    assert.equal((await it.admin('GET', `/v1/clients?${wrong}`)).status, 422, wrong);
});

test('every change is an audit event that a search for the client finds', async () => {
  await using it = await world();
  const { client_id } = await it.add({ tenant: 'acme' });
  const path = `/v1/clients/${client_id}`;
  await it.admin('PATCH', path, { body: { disabled: true } });
  await it.admin('PATCH', path, { body: { disabled: false } });
  await it.admin('PATCH', path, { body: { name: 'x' } });
  const { json } = await it.admin('POST', `${path}/secrets`, { body: {} });
  await it.admin('DELETE', `${path}/secrets/${json.id}`);
  await it.admin('DELETE', path);
  let events: string[] = [];
  // Events are durable in the spool first, and in PostgreSQL soon after.
  await eventually(async () => {
    events = [...(await it.admin('GET', `/v1/audit?client=${client_id}`)).json.items].map(({ type }) => `${type}`);
    return events.includes('client.removed');
  }, 5000);
  assert.deepEqual(events.toReversed(), [
    'client.registered',
    'client.disabled',
    'client.enabled',
    'client.updated',
    'client.secret_added',
    'client.secret_removed',
    'client.removed',
  ]);
});

test('attack 124: initial access tokens are shown once, listed without themselves, and withdrawn', async () => {
  await using it = await world();
  const path = '/v1/clients/initial-access-tokens';
  const made = await it.admin('POST', path, { body: { uses: 3, expires: '1h' } });
  assert.equal(made.status, 201);
  const { token, ...rest } = made.json as Loose & { readonly token: string; readonly id: string };
  assert.ok(isPrefixedSecret('dwi', token));
  assert.deepEqual([...(await it.admin('GET', path)).json.items] as unknown[], [rest]);
  assert.equal((await it.admin('DELETE', `${path}/${rest.id}`)).status, 204);
  assert.equal((await it.admin('DELETE', `${path}/${rest.id}`)).status, 404);
  assert.deepEqual((await it.admin('GET', path)).json.items as unknown, []);
});

test('attack 127: an operator who may only read clients cannot change them', async () => {
  await using it = await world();
  const { client_id } = await it.add();
  const viewer = { name: 'reader', permissions: ['clients:read'] };
  const token = (await it.admin('POST', '/v1/operators', { body: viewer })).json.token as unknown as string;
  assert.equal((await it.admin('GET', `/v1/clients/${client_id}`, { token })).status, 200);
  const calls: readonly [string, string, object | undefined][] = [
    ['POST', '/v1/clients', { name: 'x' }],
    ['PATCH', `/v1/clients/${client_id}`, { disabled: true }],
    ['PUT', `/v1/clients/${client_id}`, { name: 'x' }],
    ['DELETE', `/v1/clients/${client_id}`, undefined],
    ['POST', `/v1/clients/${client_id}/secrets`, {}],
    ['POST', '/v1/clients/initial-access-tokens', {}],
  ];
  for (const [method, path, body] of calls) {
    const call = body === undefined ? { token } : { token, body };
    assert.equal((await it.admin(method, path, call)).status, 403, `${method} ${path}`);
  }
});

test('without postgres the room is not configured: 501, which names what is missing', async () => {
  await using it = await startAdminSidecar();
  const answer = await it.admin('GET', '/v1/clients');
  assert.deepEqual([answer.status, answer.json.detail], [501, 'clients need `postgres` in sidecar.yaml'] as unknown[]);
  for (const room of ['keys', 'audit', 'operators', 'grants', 'statistics', 'data-keys']) {
    const { status, json } = await it.admin('GET', `/v1/${room}`);
    assert.deepEqual([room, status], [room, 501]);
    assert.match(String(json.detail), /`postgres`/, room);
  }
  assert.equal((await it.admin('POST', '/v1/clients', { body: { name: 'x' } })).status, 501);
});
