// Operators with PostgreSQL: added, limited to what they may do, refused everywhere at once when removed; what works while
// PostgreSQL is away; what the audit log says of all that.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { endpoints } from '../../src/admin/endpoints.ts';
import { permissionNames, roles } from '../../src/admin/roles.ts';
import { openTestDatabase, postgresConfig, startPostgres } from '../support/postgres-server.ts';
import { type AdminSidecar, startAdminSidecar } from './admin-sidecar.ts';

async function world() {
  const database = await openTestDatabase();
  const durable = postgresConfig(database);
  const start = () => startAdminSidecar((config) => ({ ...config, ...durable }));
  return { database, start, [Symbol.asyncDispose]: () => database[Symbol.asyncDispose]() };
}

const add = async (it: AdminSidecar, body: object) => {
  const { status, json, text } = await it.admin('POST', '/v1/operators', { body });
  assert.equal(status, 201, text);
  return { id: String(json.id), token: String(json.token) };
};

/** Events are durable when a call answers, and in PostgreSQL a moment later. */
async function eventually(holds: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 20_000;
  while (!(await holds())) {
    assert.ok(performance.now() < deadlineMs, `never: ${holds}`);
    await sleep(20);
  }
}

const audited = async (it: AdminSidecar, query: string) =>
  [...((await it.admin('GET', `/v1/audit?${query}`)).json.items ?? [])].map(({ type, outcome, reason }) => [
    type,
    outcome,
    reason,
  ]);

test('who may do something for a while grants it for no longer', async () => {
  await using at = await world();
  await using it = await at.start();
  const { token } = await add(it, { name: 'guest', role: 'admin', expires: '1h' });
  const grant = (body: object) =>
    it.admin('POST', '/v1/operators', { token, body: { name: 'friend', role: 'viewer', ...body } });
  for (const body of [{}, { expires: '61m' }, { expires: '90d' }]) {
    const { status, json } = await grant(body);
    assert.deepEqual([status, json.code], [403, 'forbidden'], JSON.stringify(body));
  }
  assert.equal((await grant({ expires: '30m' })).status, 201);
});

test('every permission of an endpoint is in the closed list, and every write says what its audit event is', () => {
  assert.deepEqual(
    endpoints.filter(({ permission }) => !permissionNames.includes(permission)),
    [],
  );
  assert.ok(
    Object.values(roles)
      .flat()
      .every((permission) => permissionNames.includes(permission)),
  );
});

test('K24, K27: an operator is added with a role and an expiry, its token shown once and kept as a digest only', async () => {
  await using w = await world();
  await using it = await w.start();
  const { id, token } = await add(it, { name: 'ci', role: 'viewer', expires: '90d' });
  assert.match(token, /^dwa_[A-Za-z0-9_-]{43}_[A-Za-z0-9_-]{6}$/);
  assert.equal((await it.admin('GET', '/v1/revocations', { token })).status, 200);
  const shownIn = async () => {
    const list = await it.admin('GET', '/v1/operators');
    return { list, shown: [...list.json.items].find((item) => String(item.id) === id) };
  };
  // No call waits for the time of its use to be written.
  await eventually(async () => Date.parse(String((await shownIn()).shown?.last_used_at)) > 0);
  const { list, shown } = await shownIn();
  assert.deepEqual([shown?.name, shown?.role, shown?.token_prefix], ['ci', 'viewer', token.slice(0, 10)]);
  assert.ok(Math.abs(Date.parse(String(shown?.expires_at)) - Date.now() - 90 * 86_400_000) < 60_000);
  assert.doesNotMatch(list.text, new RegExp(token.slice(12)));
  const dump = await w.database.sql`select o::text as row from operator o union all select e::text from audit_event e`;
  for (const { row } of dump) assert.ok(!row.includes(token.slice(5, 40)));
  assert.ok(!it.logText().includes(token.slice(5, 40)));
});

test('the token of state_dir becomes the first operator of an empty table, and is one of many afterwards', async () => {
  await using w = await world();
  await using it = await w.start();
  await using other = await w.start();
  const { json } = await it.admin('GET', '/v1/operators');
  assert.deepEqual(
    [...json.items].map(({ name, role, created_by }) => [name, role, created_by]),
    [['first', 'admin', 'state_dir']],
  );
  // The second replica came later: its own state folder lets nobody in, the token of the first does.
  assert.equal((await other.admin('GET', '/v1/status')).status, 401);
  assert.equal((await other.admin('GET', '/v1/status', { token: it.adminToken })).status, 200);
  assert.deepEqual(JSON.parse(readFileSync(join(other.sidecar.stateDir, 'operators.json'), 'utf8')).operators, []);
});

test('attack 127: clients:read calling token issue is 403, nothing is issued, and the audit log has it', async () => {
  await using w = await world();
  await using it = await w.start();
  const { id, token } = await add(it, { name: 'reader', permissions: ['clients:read'] });
  const body = { subject: 'alice', client: 'web' };
  const refused = await it.admin('POST', '/v1/tokens', { body, token });
  assert.deepEqual([refused.status, refused.json.code, refused.json.token], [403, 'forbidden', undefined]);
  await eventually(async () => (await audited(it, `actor=${id}`)).length > 0);
  assert.deepEqual(await audited(it, `actor=${id}`), [['auth.forbidden', 'failure', 'operator_forbidden']]);
  assert.deepEqual(await audited(it, `request_id=${refused.headers['x-request-id']}`), [
    ['auth.forbidden', 'failure', 'operator_forbidden'],
  ]);
});

test('nobody grants or removes what it does not have', async () => {
  await using w = await world();
  await using it = await w.start();
  const { token } = await add(it, { name: 'hr', role: 'viewer', permissions: ['operators:write'] });
  for (const body of [
    { name: 'a', role: 'admin' },
    { name: 'b', role: 'editor' },
    { name: 'c', permissions: ['*'] },
    { name: 'd', permissions: ['tokens:write'] },
  ]) {
    assert.equal((await it.admin('POST', '/v1/operators', { body, token })).status, 403, body.name);
  }
  assert.equal((await it.admin('POST', '/v1/operators', { body: { name: 'e', role: 'viewer' }, token })).status, 201);
  assert.equal((await it.admin('DELETE', '/v1/operators/first', { token })).status, 403);
  assert.equal((await it.admin('DELETE', '/v1/operators/e', { token })).status, 204);
});

test('the last operator that can manage the others stays, also when two remove each other at once', async () => {
  await using w = await world();
  await using it = await w.start();
  await add(it, { name: 'viewer', role: 'viewer' });
  const last = await it.admin('DELETE', '/v1/operators/first');
  assert.deepEqual([last.status, last.json.code], [409, 'conflict']);
  const { token } = await add(it, { name: 'second', role: 'admin' });
  const both = await Promise.all([
    it.admin('DELETE', '/v1/operators/first', { token }),
    it.admin('DELETE', '/v1/operators/second'),
  ]);
  // The loser is told either that it would be the last one, or, when it came a moment later, that it is nobody any more.
  const [won, lost] = both.map(({ status }) => status).sort();
  assert.equal(won, 204);
  assert.ok(lost === 401 || lost === 409, String(lost));
  const left = await w.database.sql`select name from operator where name in ('first', 'second')`;
  assert.equal(left.length, 1);
});

test('a removed operator is refused at once on every replica, and so is an expired one, like one that never was', async () => {
  await using w = await world();
  await using it = await w.start();
  await using other = await w.start();
  const { token } = await add(it, { name: 'gone', role: 'viewer' });
  const short = await add(it, { name: 'short', role: 'viewer', expires: '1m' });
  assert.equal((await other.admin('GET', '/v1/status', { token })).status, 200);
  await it.admin('DELETE', '/v1/operators/gone');
  await w.database.sql`update operator set expires_at = now() - interval '1 second' where id = ${short.id}`;
  const answers = [];
  for (const shown of [token, short.token, 'dwa_nobody'])
    answers.push(await other.admin('GET', '/v1/status', { token: shown }));
  const bodies = answers.map(({ status, json }) => [status, json.code, json.title, json.detail]);
  assert.deepEqual(bodies, Array(3).fill([401, 'invalid_token', 'Unauthorized', undefined]));
});

test('what makes no operator is 422 with the field, and a taken name 409', async () => {
  await using w = await world();
  await using it = await w.start();
  const cases: [object, string][] = [
    [{ name: 'x y', role: 'viewer' }, 'name'],
    [{ name: 'x' }, 'role'],
    [{ name: 'x', permissions: ['client:read'] }, 'permissions.0'],
    [{ name: 'x', role: 'root' }, 'role'],
    [{ name: 'x', role: 'viewer', expires: '5' }, 'expires'],
    [{ name: 'x', role: 'viewer', certificate: 'CN=x' }, 'certificate'],
  ];
  for (const [body, path] of cases) {
    const { status, json } = await it.admin('POST', '/v1/operators', { body });
    assert.deepEqual([status, json.errors?.[0]?.path], [422, path], JSON.stringify(body));
  }
  await add(it, { name: 'taken', role: 'viewer' });
  assert.equal((await it.admin('POST', '/v1/operators', { body: { name: 'taken', role: 'viewer' } })).status, 409);
  assert.equal((await it.admin('DELETE', '/v1/operators/nobody')).status, 404);
});

test('with PostgreSQL away: 503 for everybody but the socket and the registered token of state_dir, which is audited', async () => {
  await using server = await startPostgres();
  await using database = await openTestDatabase({ server });
  const durable = postgresConfig(database);
  await using it = await startAdminSidecar((config) => ({ ...config, ...durable }));
  const { token } = await add(it, { name: 'other', role: 'admin' });
  await server.stop('SIGKILL');
  assert.equal((await it.admin('GET', '/v1/status', { token })).status, 503);
  assert.equal((await it.admin('GET', '/v1/status')).status, 200);
  assert.equal((await it.socket('GET', '/v1/status')).status, 200);
  assert.equal((await it.admin('GET', '/v1/status', { token: 'dwa_wrong' })).status, 401);
  const said = (wanted: string) => it.log().find(({ event }) => event === wanted);
  assert.partialDeepStrictEqual(said('operator_break_glass'), { level: 'warn', from: '127.0.0.1' });
  assert.match(String(said('operator_break_glass')?.who), /^op_/);
  await eventually(async () => said('audit_trouble') !== undefined);
  assert.partialDeepStrictEqual(said('audit_trouble'), { level: 'warn', trouble: 'store_away' });
  await server.start();
  await eventually(async () => (await it.admin('GET', '/v1/status', { token })).status === 200);
  await eventually(async () => (await audited(it, 'type=operator.break_glass')).length > 0);
});

test('a first operator that was removed does not come back with an outage', async () => {
  await using server = await startPostgres();
  await using database = await openTestDatabase({ server });
  const durable = postgresConfig(database);
  await using it = await startAdminSidecar((config) => ({ ...config, ...durable }));
  const { token } = await add(it, { name: 'second', role: 'admin' });
  assert.equal((await it.admin('DELETE', '/v1/operators/first', { token })).status, 204);
  await server.stop('SIGKILL');
  assert.equal((await it.admin('GET', '/v1/status')).status, 503);
});

test('wrong tokens are audited, bounded by the tries of an address', async () => {
  await using w = await world();
  await using it = await w.start();
  for (let at = 0; at < 15; at += 1) await it.admin('GET', '/v1/status', { token: `no${at}` });
  const types = async () => {
    const { json } = await it.socket('GET', '/v1/audit?limit=50');
    return [...json.items].map(({ type }) => String(type)).filter((type) => type.startsWith('auth.'));
  };
  // Durable at once, in PostgreSQL a moment later.
  await eventually(async () => (await types()).length >= 11);
  assert.deepEqual((await types()).sort(), [...Array(10).fill('auth.failed'), 'auth.limited']);
});
