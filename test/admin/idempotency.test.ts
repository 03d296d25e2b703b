// Idempotency-Key and If-Match over a running sidecar: one creation however often it is asked for, by whom, and with what.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { type AdminSidecar, startAdminSidecar } from './admin-sidecar.ts';

async function world() {
  const database = await openTestDatabase();
  const start = () => startAdminSidecar((config) => ({ ...config, ...postgresConfig(database) }));
  return { database, start, [Symbol.asyncDispose]: () => database[Symbol.asyncDispose]() };
}

const add = (it: AdminSidecar, name: string, key: string | string[], token?: string) =>
  it.admin('POST', '/v1/operators', {
    body: { name, role: 'viewer' },
    headers: { 'idempotency-key': key },
    ...(token === undefined ? {} : { token }),
  });

test('the same key and body give the first answer again, secret included, on every replica, and one thing is made', async () => {
  await using w = await world();
  await using it = await w.start();
  await using other = await w.start();
  const first = await add(it, 'ci', 'k-1');
  assert.deepEqual([first.status, first.headers['idempotency-replayed']], [201, undefined]);
  const again = await add(other, 'ci', 'k-1', it.adminToken);
  assert.deepEqual([again.status, again.headers['idempotency-replayed']], [201, 'true']);
  assert.equal(again.text, first.text);
  assert.notEqual(again.headers['x-request-id'], first.headers['x-request-id']);
  const [row] = await w.database.sql`select count(*) from operator where name = 'ci'`;
  assert.equal(row?.count, 1);
  const added = await it.admin('GET', '/v1/audit?type=operator.added');
  assert.equal([...added.json.items].length, 1);
});

test('the same key with another body, path or query is 422; another operator may use it for itself', async () => {
  await using w = await world();
  await using it = await w.start();
  const { json } = await it.admin('POST', '/v1/operators', { body: { name: 'second', role: 'admin' } });
  assert.equal((await add(it, 'ci', 'k-1')).status, 201);
  const other = await add(it, 'cd', 'k-1');
  assert.deepEqual([other.status, other.json.code], [422, 'idempotency_mismatch']);
  const token = { body: { subject: 'alice', client: 'web' }, headers: { 'idempotency-key': 'k-1' } };
  assert.equal((await it.admin('POST', '/v1/tokens', token)).json.code, 'idempotency_mismatch');
  assert.equal((await add(it, 'cd', 'k-1', String(json.token))).status, 201);
});

test('20 at once with one key: one creation, and everybody gets its answer', async () => {
  await using w = await world();
  await using it = await w.start();
  const answers = await Promise.all(Array.from({ length: 20 }, () => add(it, 'ci', 'k-1')));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [201]);
  assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
});

test('a refused call leaves its key free; one that never ended keeps it, so that nothing is made twice', async () => {
  await using w = await world();
  await using it = await w.start();
  await add(it, 'ci', 'k-1');
  assert.equal((await add(it, 'ci', 'k-2')).json.code, 'conflict');
  assert.equal((await add(it, 'cd', 'k-2')).status, 201);
  await w.database.sql`update idempotency_key set sealed = null`;
  const unknown = await add(it, 'cd', 'k-2');
  assert.deepEqual([unknown.status, unknown.json.code], [409, 'idempotency_busy']);
});

test('without postgres answers are kept in memory', async () => {
  await using it = await startAdminSidecar();
  const issue = () =>
    it.admin('POST', '/v1/tokens', {
      body: { subject: 'alice', client: 'web' },
      headers: { 'idempotency-key': 'k-1' },
    });
  const [first, again] = [await issue(), await issue()];
  assert.deepEqual([again.status, again.text], [201, first.text]);
});

test('a malformed or repeated key is 400; where nothing is created the field means nothing', async () => {
  await using it = await startAdminSidecar();
  const body = { subject: 'alice', client: 'web' };
  for (const key of ['', 'a b', 'x'.repeat(256), ['a', 'b']]) {
    const { status } = await it.admin('POST', '/v1/tokens', { body, headers: { 'idempotency-key': key } });
    assert.equal(status, 400, String(key));
  }
  assert.equal((await it.admin('GET', '/v1/status', { headers: { 'idempotency-key': 'a b' } })).status, 200);
});

test('If-Match where nothing has a version is 412, a malformed one 400, and * passes', async () => {
  await using it = await startAdminSidecar();
  const cases: [string | string[], number][] = [
    ['"1"', 412],
    ['W/"1"', 400],
    ['1', 400],
    ['"1", "2"', 400],
    ['*', 200],
  ];
  for (const [tag, status] of cases) {
    const answer = await it.admin('POST', '/v1/config/reload', { headers: { 'if-match': tag } });
    assert.equal(answer.status, status, String(tag));
    if (status !== 200) assert.equal(answer.headers['content-type'], 'application/problem+json');
  }
});
