// Rows of the reference systems about the control plane: stores by configuration, roles, metrics, error words,
// tenants, a switch of stores. Where Doorward answers a row by other means, the test says which.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { oauthErrors } from '../../src/core/oauth-errors.ts';
import { reasons } from '../../src/core/reasons.ts';
import { type AdminSidecar, startAdminSidecar } from '../admin/admin-sidecar.ts';
import { documented } from '../admin/document.ts';
import { world } from '../attacks/world.ts';
import { runHere, scratchFolder } from '../cli/processes.ts';
import { openOAuthWorld } from '../identity/world.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { configFor, startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

async function statusOf({ proxyUrl }: TestSidecar, token: string, path = '/x'): Promise<number> {
  const response = await fetch(`${proxyUrl}${path}`, { headers: bearer(token) });
  await response.body?.cancel();
  return response.status;
}

test('K9: a store that is named without what it needs is a configuration error: exit 3, by its path', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  const problems = async (config: object) => {
    writeFileSync(file, JSON.stringify(configFor('http://127.0.0.1:1', config as never)));
    const { code, err, out } = await runHere(['check', '--config', file]);
    return [code, `${err}${out}`] as const;
  };
  const wrong: Readonly<Record<string, readonly [object, RegExp]>> = {
    'redis without url': [{ redis: {} }, /redis: needs url, sentinel or cluster/],
    'redis with an http url': [{ redis: { url: { value: 'http://r' } } }, /redis\.url: needs a redis:\/\//],
    'redis without a name of the application': [
      { name: undefined, redis: { url: { value: 'redis://r' } } },
      /redis: needs name/,
    ],
    'postgres without url': [{ postgres: {} }, /postgres: needs url/],
    'a database that is not named': [
      { postgres: { url: { value: 'postgres://h' } } },
      /postgres\.url: needs a postgres:\/\//,
    ],
    'one replica’s database for many': [
      { postgres: { embedded: true }, redis: { url: { value: 'redis://r' } } },
      /postgres\.embedded: is for one replica/,
    ],
    'OAuth without a durable store': [{ proxy: { endpoints: { oauth: true } } }, /needs postgres/],
  };
  for (const [what, [config, expected]] of Object.entries(wrong)) {
    const [code, text] = await problems(config);
    assert.equal(code, 3, `${what}: ${text}`);
    assert.match(text, expected, what);
  }
  assert.equal((await problems({ redis: { url: { value: 'redis://r' } } }))[0], 0);
});

test('K9: a session ended in memory, Redis or PostgreSQL is refused; what is shared counts elsewhere, what is durable stays', async () => {
  await using redis = await startRedis();
  // One each: the first sidecar on a database is the one whose operator it knows.
  await using database = await openTestDatabase();
  await using another = await openTestDatabase();
  await using upstream = await recordingUpstream();
  const shared = { redis: { url: { value: redis.url }, timeout: '1s' } };
  const stores = {
    memory: {},
    redis: shared,
    postgres: postgresConfig(database),
    both: { ...shared, ...postgresConfig(another) },
  };
  for (const [store, config] of Object.entries(stores)) {
    const token = tokenFor({ sid: `s-${store}` });
    const seen: Record<string, number> = {};
    {
      await using one = await startSidecar(upstream.url, config);
      await using other = await startSidecar(upstream.url, config);
      assert.equal(await statusOf(one, token), 200);
      const body = JSON.stringify({ kind: 'session', issuer: 'test', id: `s-${store}` });
      const revoked = await post(one, '/v1/revocations', body);
      assert.equal(revoked, 201, store);
      assert.equal(await statusOf(one, token), 401, store);
      seen.elsewhere = await statusOf(other, token);
    }
    if ('redis' in config) await flush(redis.url);
    await using later = await startSidecar(upstream.url, config);
    seen.afterRestart = await statusOf(later, token);
    const expected = {
      memory: { elsewhere: 200, afterRestart: 200 },
      redis: { elsewhere: 401, afterRestart: 200 },
      postgres: { elsewhere: 200, afterRestart: 401 },
      both: { elsewhere: 401, afterRestart: 401 },
    };
    assert.deepEqual(seen, expected[store as keyof typeof expected], store);
  }
});

async function flush(url: string): Promise<void> {
  const client = new Redis(url);
  await client.flushall();
  client.disconnect();
}

/** Status of a POST to the admin port. */
async function post({ adminUrl, adminTokenFile }: TestSidecar, path: string, body: string): Promise<number> {
  const token = readFileSync(adminTokenFile, 'utf8').trim();
  const headers = { ...bearer(token), 'content-type': 'application/json' };
  const response = await fetch(`${adminUrl}${path}`, { method: 'POST', headers, body });
  await response.body?.cancel();
  return response.status;
}

test('K17: a route that lists roles needs all of them: 403 for one that is missing, and the upstream sees nothing', async () => {
  const routes = {
    all: { match: { path: '/all' }, require: { roles: ['auditor', 'admin'] } },
    any: { match: { path: '/any' }, require: { roles: { any: ['auditor', 'admin'] } } },
  };
  await using it = await world({ routes });
  const ask = async (roles: unknown, path = '/all') => statusOf(it.sidecar, tokenFor({ roles }), path);
  assert.equal(await ask(['admin', 'auditor', 'staff']), 200);
  it.upstream.clear();
  for (const roles of [
    ['admin'],
    ['auditor'],
    [],
    undefined,
    ['Admin', 'auditor'],
    ['admin,auditor'],
    'admin,auditor',
  ]) {
    assert.equal(await ask(roles), 403, JSON.stringify(roles));
  }
  assert.equal(it.upstream.bytes(), '');
  assert.equal(await ask(['admin'], '/any'), 200, 'any of them is another word');
  const refused = it.sidecar
    .logged()
    .filter(({ event, reason }) => event === 'decision' && reason === 'role_insufficient');
  assert.equal(refused.length, 7);
});

/** Value of a metric; 0 before it was counted. */
async function metric(it: AdminSidecar, name: string): Promise<number> {
  const { text } = await it.observe('GET', '/metrics');
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  return line === undefined ? 0 : Number(line.slice(name.length + 1));
}

test('K26: a scrape shows successes, failures by reason, and processing time, each counted once', async () => {
  await using it = await startAdminSidecar();
  const good = 'doorward_decisions_total{outcome="allow",reason="ok",route="all"}';
  const bad = 'doorward_decisions_total{outcome="deny",reason="token_malformed",route="all"}';
  const admin = (status: number) => `doorward_admin_requests_total{status="${status}"}`;
  const names = [good, bad, 'doorward_overhead_seconds_count', admin(200), admin(401)];
  const all = async () => Promise.all(names.map((name) => metric(it, name)));
  const token = await it.issue();
  const before = await all();
  const secondsBefore = await metric(it, 'doorward_overhead_seconds_sum');
  for (let at = 0; at < 3; at += 1) assert.equal((await it.proxy('/', token)).status, 200);
  for (let at = 0; at < 2; at += 1) assert.equal((await it.proxy('/', 'no.token.here')).status, 401);
  assert.equal((await it.admin('GET', '/v1/status')).status, 200);
  assert.equal((await it.admin('GET', '/v1/status', { token: 'dwa_wrong' })).status, 401);
  const after = await all();
  assert.deepEqual(
    after.map((value, at) => value - (before[at] as number)),
    [3, 2, 5, 1, 1],
  );
  const seconds = (await metric(it, 'doorward_overhead_seconds_sum')) - secondsBefore;
  assert.ok(seconds > 0 && seconds < 3, `${seconds} s`);
});

test('H22: public codes and their statuses do not change: what is here once, clients have written code for', () => {
  const stable: Readonly<Record<string, readonly number[]>> = {
    body_too_large: [413],
    client_aborted: [499],
    config_refused: [422],
    conflict: [409],
    draining: [503],
    expectation_failed: [417],
    forbidden: [403],
    headers_too_large: [431],
    idempotency_busy: [409],
    idempotency_mismatch: [422],
    insufficient_scope: [403],
    internal: [500],
    invalid_fields: [422],
    invalid_request: [400],
    invalid_token: [401],
    method_not_allowed: [405],
    misdirected_request: [421],
    not_configured: [501],
    not_found: [404],
    not_implemented: [501],
    ok: [200],
    origin_refused: [403],
    precondition_failed: [412],
    rate_limited: [429],
    request_timeout: [408],
    temporarily_unavailable: [503],
    unauthorized: [401],
    unsupported_media_type: [415],
    upstream_busy: [503],
    upstream_invalid: [502],
    upstream_reset: [502],
    upstream_timeout: [504],
    upstream_unavailable: [503],
    upstream_unreachable: [502],
  };
  const now = Map.groupBy(Object.values(reasons), ({ code }) => code);
  for (const [code, statuses] of Object.entries(stable)) {
    const rows = now.get(code as never) ?? [];
    assert.deepEqual([...new Set(rows.map(({ status }) => status as number))], statuses, code);
  }
  assert.deepEqual(
    [...now.keys()].filter((code) => !Object.hasOwn(stable, code)),
    [],
    'new codes: add them here',
  );
});

test('H22: every code that an operation of the admin API may answer is in docs/reasons.md with that status, and every OAuth error', () => {
  const page = readFileSync(new URL('../../docs/reasons.md', import.meta.url), 'utf8').split('\n');
  const rows = page.map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')));
  const coded = new Set(rows.map(([, , status, code]) => `${status} ${code}`));
  let seen = 0;
  for (const { operationId, responses } of documented) {
    for (const [status, { 'x-codes': codes = [] }] of Object.entries(responses)) {
      if (Number(status) >= 400) assert.ok(codes.length > 0, `${operationId} ${status} names no code`);
      for (const code of codes) {
        assert.ok(coded.has(`${status} ${code}`), `${operationId}: ${status} ${code}`);
        seen += 1;
      }
    }
  }
  assert.ok(seen > 300, `${seen} codes`);
  for (const [error, { statuses }] of Object.entries(oauthErrors)) {
    assert.ok(
      rows.some(([, word, status]) => word === error && status === statuses.join(', ')),
      error,
    );
  }
});

test('L27: no flag switches a store: the block `postgres` does, and going back and forth loses nothing durable', async () => {
  await using database = await openTestDatabase();
  await using upstream = await recordingUpstream();
  using folder = scratchFolder();
  mkdirSync(folder.file('state'), { mode: 0o700 });
  const state = { state_dir: folder.file('state') };
  const token = tokenFor({ sub: 'mallory' });
  const durable = { ...state, ...postgresConfig(database) };
  {
    await using on = await startSidecar(upstream.url, durable);
    const body = JSON.stringify({ kind: 'subject', issuer: 'test', id: 'mallory' });
    assert.equal(await post(on, '/v1/revocations', body), 201);
    assert.equal(await statusOf(on, token), 401);
  }
  {
    await using off = await startSidecar(upstream.url, state);
    assert.equal(
      await statusOf(off, token),
      200,
      'the store without it knows nothing: rolling back forgets, and says so',
    );
    assert.equal(await post(off, '/v1/clients', '{"name":"x"}'), 501);
  }
  await using again = await startSidecar(upstream.url, durable);
  assert.equal(await statusOf(again, token), 401);
});

test('K16: tenants do not meet: routes, revocations, and the lists of clients, grants and audit events are each of one', async () => {
  const routes = {
    acme: { match: { prefix: '/acme' }, require: { claims: { tenant: ['acme'] } } },
    all: { match: { prefix: '/' } },
  };
  await using at = await openOAuthWorld({ routes });
  const tenants = ['acme', 'globex'] as const;
  const tokens: Record<string, string> = {};
  const clients: Record<string, string> = {};
  for (const tenant of tenants) {
    const client = await at.addClient({ tenant });
    clients[tenant] = client.id;
    tokens[tenant] = (await at.login(client, { session: `s-${tenant}` })).json.access_token;
    await at.admin('PATCH', `/v1/clients/${client.id}`, { name: `of ${tenant}` });
  }
  const ask = (tenant: string, path: string) => statusOf(at.sidecar, String(tokens[tenant]), path);
  assert.deepEqual([await ask('acme', '/acme/x'), await ask('globex', '/acme/x')], [200, 403]);
  at.upstream.clear();
  await ask('globex', '/x');
  assert.match(at.upstream.bytes(), /x-auth-tenant: globex\r\n/i, 'the upstream is told whose it is');
  const listed = async (path: string, name: string) => {
    const { status, body } = await at.admin('GET', path);
    assert.equal(status, 200);
    return (body.items as Record<string, unknown>[]).map((item) => item[name]);
  };
  for (const tenant of tenants) {
    assert.deepEqual(await listed(`/v1/clients?tenant=${tenant}`, 'client_id'), [clients[tenant]]);
    assert.deepEqual(await listed(`/v1/grants?tenant=${tenant}`, 'client'), [clients[tenant]]);
    const about = await listed(`/v1/audit?tenant=${tenant}&limit=1000`, 'client');
    assert.ok(about.length >= 2, `${about.length} events of ${tenant}`);
    assert.deepEqual([...new Set(about)], [clients[tenant]]);
  }
  const own = { id: clients.acme } as Parameters<typeof at.code>[0];
  const foreign = await at.code(own, { tenant: 'globex' });
  assert.deepEqual([foreign.status, foreign.body.errors[0].path], [422, 'tenant'], 'a client brings nobody elsewhere');
  assert.equal((await at.code(own, { tenant: 'acme' })).status, 201);
  assert.equal((await at.admin('POST', '/v1/revocations', { kind: 'tenant', id: 'acme' })).status, 201);
  assert.deepEqual([await ask('acme', '/x'), await ask('globex', '/x')], [401, 200]);
  assert.deepEqual(await listed('/v1/grants', 'tenant'), ['globex']);
});
