// Statistics and cleanup over a running sidecar: the figures are those of what was really done, in the words of the closed
// lists, and what has expired goes, with counts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { auditTypeNames } from '../../src/core/audit-types.ts';
import { freePort } from '../support/free-port.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { startAdminSidecar } from './admin-sidecar.ts';
import { operationCalls } from './calls.ts';

async function world() {
  const closing = new AsyncDisposableStack();
  const database = closing.use(await openTestDatabase());
  const port = await freePort();
  const start = async () => {
    const own = `http://127.0.0.1:${port}`;
    return startAdminSidecar((config) => ({
      ...config,
      ...postgresConfig(database, { timeout: '5s' }),
      proxy: { ...config.proxy, listen: `127.0.0.1:${port}`, endpoints: { oauth: true } },
      issuers: { ...config.issuers, self: { issuer: own, audience: ['api'], sign: {} } },
      limits: {
        ...config.limits,
        per_client: { key: 'client', tiers: { free: '100/1h', paid: '9/1h' }, default_tier: 'free' },
      },
      tiers: { free: { scopes: ['read'] }, paid: { scopes: ['read', 'write'] } },
      default_tier: 'free',
    }));
  };
  const it = closing.use(await start());
  const post = async (path: string, body: object, method = 'POST') => {
    const answer = await it.admin(method, path, { body });
    assert.ok(answer.status < 300, answer.text);
    return answer.json;
  };
  return {
    database,
    it,
    post,
    issuer: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

/** Figures as they are once the audit events of all calls so far are in PostgreSQL. */
async function figures(
  it: Awaited<ReturnType<typeof world>>['it'],
  enough: (json: Figures) => boolean,
): Promise<Figures> {
  for (;;) {
    const { status, json, text } = await it.admin('GET', '/v1/statistics');
    assert.equal(status, 200, text);
    if (enough(json as unknown as Figures)) return json as unknown as Figures;
  }
}

type Row = Readonly<Record<string, unknown>>;
type Figures = Readonly<
  Record<'clients' | 'grants' | 'tokens' | 'revocations' | 'signing_keys' | 'operators' | 'audit', readonly Row[]>
>;
const eventsOf = (rows: readonly Row[], type: string, outcome: string) =>
  rows.find((row) => row.type === type && row.outcome === outcome)?.events;

test('K20, 4.3.3, 5.4.10: statistics are what was really done', { timeout: 60_000 }, async () => {
  await using w = await world();
  const { it, post, issuer } = w;
  for (let n = 0; n < 3; n += 1) await it.issue();
  assert.equal(
    (await it.admin('POST', '/v1/tokens', { body: { subject: 'a', client: 'b', issuer: 'none' } })).status,
    422,
  );
  for (const tier of ['free', 'paid', 'paid']) await post('/v1/clients', { name: 'c', tier });
  const off = await post('/v1/clients', { name: 'c', tier: 'paid' });
  await post(`/v1/clients/${off.client_id}`, { disabled: true }, 'PATCH');
  await post('/v1/clients', { name: 'ext', issuer: 'corp', client_id: 'theirs', tier: 'free' });
  await post('/v1/revocations', { kind: 'subject', issuer: 'self', id: 'mallory' });
  await post('/v1/revocations', { kind: 'subject', issuer: 'self', id: 'eve', until: '1s' });
  const undone = await post('/v1/revocations', { kind: 'session', issuer: 'self', id: 's1' });
  assert.equal((await it.admin('DELETE', `/v1/revocations/${undone.id}`)).status, 204);
  await post('/v1/operators', { name: 'ci', role: 'viewer' });
  await operationCalls.listGrants?.success(it);
  const code = await operationCalls.mintCode?.success(it);
  await post('/v1/codes', code?.body as object);
  await w.database.sql`update revocation set until = now() - interval '1 second' where revoked_id = 'eve'`;
  const found = await figures(it, ({ audit }) => eventsOf(audit, 'code.minted', 'success') === 2);

  assert.deepEqual(
    found.clients.filter(({ tier, external }) => tier === 'paid' || external),
    [
      { issuer, tier: 'paid', state: 'disabled', external: false, clients: 1 },
      { issuer, tier: 'paid', state: 'enabled', external: false, clients: 2 },
      { issuer: 'https://id.example.com/', tier: 'free', state: 'enabled', external: true, clients: 1 },
    ].sort((a, b) => a.issuer.localeCompare(b.issuer)),
  );
  assert.deepEqual(found.grants, [{ issuer, families: 1, codes: 1 }]);
  const active = Object.fromEntries(found.revocations.map(({ kind, active: number }) => [kind, number]));
  // A disabled client is revoked too.
  assert.deepEqual(active, { client: 1, family: 0, key: 0, session: 0, subject: 1, tenant: 0, token: 0 });
  assert.deepEqual(found.signing_keys, [{ issuer, state: 'active', keys: 1 }]);
  assert.deepEqual(found.operators, [
    { role: 'admin', state: 'active', operators: 1 },
    { role: 'viewer', state: 'active', operators: 1 },
  ]);
  assert.deepEqual(
    [eventsOf(found.audit, 'token.issued', 'success'), eventsOf(found.audit, 'token.issued', 'failure')],
    [3, 1],
  );
  assert.equal(eventsOf(found.audit, 'client.registered', 'success'), 7 + 1);
  assert.equal(eventsOf(found.audit, 'revocation.added', 'success'), 3);
  const today = new Date().toISOString().slice(0, 10);
  assert.equal(found.tokens.find(({ type, outcome }) => type === 'token.issued' && outcome === 'failure')?.day, today);
  assert.equal(eventsOf(found.tokens, 'code.redeemed', 'success'), 1);
});

test('every audit event there is has its two rows in the statistics, spelled as the program spells it', async () => {
  await using w = await world();
  const { json } = await w.it.admin('GET', '/v1/statistics');
  const names = [...json.audit!].map(({ type, outcome }) => `${type} ${outcome}`).sort();
  assert.deepEqual(names, auditTypeNames.flatMap((type) => [`${type} failure`, `${type} success`]).sort());
});

test('K20: cleanup removes what has expired, and only that, and counts it in answer, log, metric and audit log', async () => {
  await using w = await world();
  const { it, post } = w;
  const { sql } = w.database;
  await post('/v1/revocations', { kind: 'subject', issuer: 'self', id: 'kept' });
  await post('/v1/revocations', { kind: 'subject', issuer: 'self', id: 'gone', until: '1s' });
  await post('/v1/clients/initial-access-tokens', { uses: 1 });
  await post('/v1/clients/initial-access-tokens', { uses: 2 });
  for (const key of ['kept', 'gone-1', 'gone-2']) {
    const body = { subject: 'a', client: 'b' };
    assert.equal((await it.admin('POST', '/v1/tokens', { body, headers: { 'idempotency-key': key } })).status, 201);
  }
  const code = await operationCalls.mintCode?.success(it);
  await post('/v1/codes', code?.body as object);
  await sql`update revocation set until = now() - interval '3 hours' where revoked_id = 'gone'`;
  await sql`update initial_access_token set expires_at = now() - interval '1 hour' where uses_left = 1`;
  await sql`update idempotency_key set until = now() - interval '1 hour'
    where ctid in (select ctid from idempotency_key order by created_at desc limit 2)`;
  await sql`update authorization_code set expires_at = now() - interval '40 days', created_at = now() - interval '41 days'`;
  await sql`insert into used_value values (${'A'.repeat(43)}, now() - interval '3 hours'), (${'B'.repeat(43)}, now() + interval '1 hour')`;
  const removed = { revocations: 1, grants: 1, one_time_values: 1, idempotency_keys: 2, initial_access_tokens: 1 };
  const first = await it.admin('POST', '/v1/cleanup');
  assert.deepEqual([first.status, first.json as unknown], [200, { removed, total: 6 }]);
  const second = await it.admin('POST', '/v1/cleanup', { body: {} });
  assert.equal(second.json.total as unknown, 0);
  const left =
    await sql`select (select count(*) from revocation) as revocations, (select count(*) from used_value) as used,
    (select count(*) from initial_access_token) as tokens, (select count(*) from idempotency_key) as keys`;
  assert.deepEqual({ ...left[0] }, { revocations: 1, used: 1, tokens: 1, keys: 1 });
  assert.deepEqual(
    it.log().find(({ msg, event }) => msg === 'cleanup_done' || event === 'cleanup_done')?.removed,
    removed,
  );
  const scrape = await it.observe('GET', '/metrics');
  assert.match(scrape.text, /^doorward_cleanup_total\{what="idempotency_keys"\} 2$/m);
});

test('K20: one replica cleans at a time; the other is told so', async () => {
  await using w = await world();
  const held = Promise.withResolvers<void>();
  const locked = Promise.withResolvers<void>();
  const holding = w.database.sql.begin(async (sql) => {
    await sql`select pg_advisory_xact_lock('idempotency_key'::regclass::oid::bigint)`;
    locked.resolve();
    await held.promise;
  });
  await locked.promise;
  const busy = await w.it.admin('POST', '/v1/cleanup');
  assert.deepEqual([busy.status, busy.json.code], [409, 'conflict']);
  held.resolve();
  await holding;
  assert.equal((await w.it.admin('POST', '/v1/cleanup')).status, 200);
});

test('without postgres both are 501, and with PostgreSQL away 503', async () => {
  await using plain = await startAdminSidecar();
  assert.equal((await plain.admin('GET', '/v1/statistics')).status, 501);
  assert.equal((await plain.admin('POST', '/v1/cleanup')).status, 501);
  await using w = await world();
  await w.database.cut();
  assert.equal((await w.it.socket('GET', '/v1/statistics')).status, 503);
  assert.equal((await w.it.socket('POST', '/v1/cleanup')).status, 503);
});
