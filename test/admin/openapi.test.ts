// The OpenAPI document: valid, served, complete, and true of a running sidecar with PostgreSQL and Redis.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { apiReference } from '../../src/admin/api-reference.ts';
import { endpoints, operations } from '../../src/admin/endpoints.ts';
import { permissionNames, roles } from '../../src/admin/roles.ts';
import { freePort } from '../support/free-port.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { startRedis } from '../support/redis-server.ts';
import { type AdminSidecar, type Answer, startAdminSidecar } from './admin-sidecar.ts';
import { type ApiCall, operationCalls } from './calls.ts';
import { document, documented, holdAgainstDocument } from './document.ts';

async function world() {
  const closing = new AsyncDisposableStack();
  try {
    const database = closing.use(await openTestDatabase());
    const redis = closing.use(await startRedis());
    const port = await freePort();
    const it = await startAdminSidecar((config) => ({
      ...config,
      ...postgresConfig(database, { timeout: '2s' }),
      name: 'api_test',
      redis: { url: { value: redis.url }, timeout: '1s' },
      proxy: { ...config.proxy, listen: `127.0.0.1:${port}`, endpoints: { oauth: true } },
      issuers: { ...config.issuers, self: { issuer: `http://127.0.0.1:${port}`, audience: ['api'], sign: {} } },
    }));
    return { it: closing.use(it), [Symbol.asyncDispose]: () => closing.disposeAsync() };
  } catch (error) {
    await closing.disposeAsync();
    throw error;
  }
}

test('the document is valid OpenAPI 3.1', async () => {
  const result = await new Validator().validate(structuredClone(document) as Record<string, unknown>);
  assert.deepEqual(result, { valid: true });
});

test('docs/api.md is what npm run schema makes', () => {
  assert.equal(readFileSync(new URL('../../docs/api.md', import.meta.url), 'utf8'), apiReference(document));
});

test('every endpoint is an operation with its answers, and every POST that makes something takes Idempotency-Key', () => {
  assert.equal(documented.length, endpoints.length);
  const without = Object.entries(operations).filter(([, { answers = {} }]) => Object.keys(answers).length === 0);
  assert.deepEqual(
    without.map(([name]) => name),
    [],
    'rows without `answers`',
  );
  const paths = endpoints.map(({ method, path }) => `${method} ${path.replaceAll(/\{\w+\}/g, '{}')}`);
  assert.equal(new Set(paths).size, paths.length);
});

test('every endpoint needs one permission of the closed list; viewers read everything and change nothing', () => {
  for (const { method, path, permission } of endpoints) {
    assert.ok(permissionNames.includes(permission) && permission !== '*', `${method} ${path} ${permission}`);
    if (permission.endsWith(':write')) assert.ok(!roles.viewer.includes(permission), permission);
    else assert.ok(roles.viewer.includes(permission), permission);
    if (method === 'GET') assert.match(permission, /:read$/, path);
    if (method === 'DELETE' || method === 'PUT' || method === 'PATCH') assert.match(permission, /:write$/, path);
  }
  const used = new Set(endpoints.map(({ permission }) => permission));
  assert.deepEqual(
    roles.editor.filter((name) => name.startsWith('operators:') || name.startsWith('audit:')),
    ['operators:read', 'audit:read'],
  );
  assert.ok(used.size > 10);
});

test('the check of answers can fail: another status, a missing member, a member too many, another code', () => {
  const answer = (status: number, json: unknown, type = 'application/json'): Answer => ({
    status,
    headers: { 'content-type': type },
    text: JSON.stringify(json),
    json: json as Answer['json'],
  });
  const good = { id: 'x', until: 'forever', applied: 'all' };
  const sent = { kind: 'key', issuer: 'self', id: 'x' };
  const hold = (given: Answer, body: unknown = sent) => holdAgainstDocument('POST', '/v1/revocations', body, given);
  hold(answer(201, good));
  assert.throws(() => hold(answer(202, good)), /not in the document/);
  assert.throws(() => hold(answer(201, { ...good, applied: undefined })), /applied/);
  assert.throws(() => hold(answer(201, { ...good, more: 1 })), /additional/);
  assert.throws(() => hold(answer(201, good, 'text/plain')));
  assert.throws(() => hold(answer(201, good), { ...sent, kind: 'word' }), /sent/);
  const refusal = { type: 'about:blank', title: 't', status: 409, code: 'conflict', request_id: 'r' };
  hold(answer(409, { ...refusal, code: 'idempotency_busy' }, 'application/problem+json'));
  assert.throws(() => hold(answer(409, refusal, 'application/problem+json')), /code conflict/);
});

test('the served document is this document', async () => {
  await using it = await startAdminSidecar();
  const { json } = await it.admin('GET', '/v1/openapi.json');
  assert.deepEqual(json.paths, JSON.parse(JSON.stringify(document.paths)));
});

test('W10: every operation of the document succeeds and refuses as the document says', {
  timeout: 120_000,
}, async (t) => {
  assert.deepEqual(documented.map(({ operationId }) => operationId).sort(), Object.keys(operationCalls).sort());
  await using w = await world();
  const { it } = w;
  const nobody = await it.admin('POST', '/v1/operators', { body: { name: 'nobody', permissions: ['ledger:read'] } });
  for (const [operationId, { status, success, refused }] of Object.entries(operationCalls)) {
    await t.test(operationId, async () => {
      await assertStrangersRefused(it, operationId, String(nobody.json.token));
      if (refused) assert.equal((await send(it, operationId, await refused[1](it))).status, refused[0]);
      const call = await success(it);
      await assertNoFurtherFields(it, operationId, call);
      const answer = await send(it, operationId, call);
      assert.equal(answer.status, status, answer.text);
    });
  }
});

const rowOf = (operationId: string) => {
  const found = documented.find((row) => row.operationId === operationId);
  assert.ok(found);
  return found;
};

function send(it: AdminSidecar, operationId: string, call: { path?: string; body?: unknown; headers?: object }) {
  const { method, path } = rowOf(operationId);
  const { path: target = path, body, headers } = call;
  return it.admin(method.toUpperCase(), target, {
    ...(body === undefined ? {} : { body }),
    ...(headers && { headers }),
  } as never);
}

/** W10: a field that the operation does not know is refused by name, whatever it promises. */
async function assertNoFurtherFields(it: AdminSidecar, operationId: string, call: ApiCall): Promise<void> {
  if (rowOf(operationId).requestBody === undefined) return;
  for (const extra of ['is_admin', 'constructor', 'toString', '__proto__', 'kid']) {
    const raw = `${JSON.stringify({ ...call.body }).slice(0, -1)}${call.body && Object.keys(call.body).length > 0 ? ',' : ''}"${extra}":true}`;
    const headers = { 'content-type': 'application/json', ...call.headers };
    const answer = await it.admin(rowOf(operationId).method.toUpperCase(), call.path ?? rowOf(operationId).path, {
      raw,
      headers,
    });
    if (extra === '__proto__') assert.ok([400, 422].includes(answer.status), answer.text);
    else
      assert.deepEqual([answer.status, [...answer.json.errors].map(({ path }) => path)], [422, [extra]], operationId);
  }
}

/** Nobody gets further than the permission; whoever has it does not get past a parameter that the operation does not know. */
async function assertStrangersRefused(it: AdminSidecar, operationId: string, token: string): Promise<void> {
  const { method, path } = rowOf(operationId);
  const target = path.replaceAll(/\{\w+\}/g, 'x');
  const ask = async (call: object, query = '') => (await it.admin(method.toUpperCase(), target + query, call)).status;
  assert.deepEqual([await ask({ token: null }), await ask({ token }), await ask({}, '?stray=1')], [401, 403, 422]);
}
