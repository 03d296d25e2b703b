// How the admin port answers what is wrong: never 500, always the status that says what to mend, nothing for strangers.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as nodeRequest } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { startRedis } from '../support/redis-server.ts';
import { type AdminSidecar, startAdminSidecar } from './admin-sidecar.ts';

const JSON_TYPE = { 'content-type': 'application/json' };

async function rawExchange(it: AdminSidecar, bytes: string): Promise<string> {
  const { hostname, port } = new URL(it.sidecar.adminUrl as string);
  const socket = connect(Number(port), hostname);
  socket.write(bytes);
  const answer = await text(socket);
  return answer;
}

const head = (it: AdminSidecar, start: string, ...fields: string[]) =>
  [start, `Host: ${new URL(it.sidecar.adminUrl as string).host}`, `Authorization: Bearer ${it.adminToken}`, ...fields]
    .map((line) => `${line}\r\n`)
    .join('');

test('bodies: 415 for other types and codings, 400 for what is no strict JSON object, 422 for fields, 413 above 64 KiB', async () => {
  await using it = await startAdminSidecar();
  const path = '/v1/tokens/introspect';
  const cases: [number, Parameters<AdminSidecar['admin']>[2]][] = [
    [415, { raw: 'token=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } }],
    [415, { raw: '{"token":"x"}', headers: { 'content-type': 'text/plain' } }],
    [415, { raw: '{"token":"x"}', headers: { 'content-type': 'application/json; charset=utf-16' } }],
    [415, { raw: '{"token":"x"}', headers: { ...JSON_TYPE, 'content-encoding': 'gzip' } }],
    [400, { raw: '{"token":', headers: JSON_TYPE }],
    [400, { raw: '["token"]', headers: JSON_TYPE }],
    [400, { raw: '{"token":"a","token":"b"}', headers: JSON_TYPE }],
    [400, { raw: Buffer.from([0x7b, 0xff, 0x7d]), headers: JSON_TYPE }],
    [400, { raw: `{"token":${'['.repeat(5000)}${']'.repeat(5000)}}`, headers: JSON_TYPE }],
    [422, { body: { token: 5 } }],
    [422, { body: {} }],
    [413, { raw: JSON.stringify({ token: 'x'.repeat(64 * 1024) }), headers: JSON_TYPE }],
    [200, { raw: '{"token":"x"}', headers: { 'content-type': 'Application/JSON; charset="UTF-8"' } }],
  ];
  for (const [status, call] of cases) {
    const answer = await it.admin('POST', path, call);
    assert.equal(answer.status, status, JSON.stringify(call).slice(0, 80));
    if (status !== 200) assert.equal(answer.headers['content-type'], 'application/problem+json');
  }
});

test('a chunked body that announces nothing is counted while it arrives, and its 413 can be read', async () => {
  await using it = await startAdminSidecar();
  const start = head(
    it,
    'POST /v1/tokens/introspect HTTP/1.1',
    'Content-Type: application/json',
    'Transfer-Encoding: chunked',
  );
  const chunk = `2000\r\n${'x'.repeat(0x2000)}\r\n`;
  const answer = await rawExchange(it, `${start}\r\n${chunk.repeat(9)}`);
  assert.match(answer, /^HTTP\/1\.1 413 /);
  assert.match(answer, /\r\nConnection: close\r\n/i);
});

test('every wrong field is named with its path, and no value is echoed', async () => {
  await using it = await startAdminSidecar();
  const body = { subject: 1, client: '', scopes: 'read', surprise: 'hunter2' };
  const { status, text: answer, json } = await it.admin('POST', '/v1/tokens', { body });
  assert.equal(status, 422);
  assert.deepEqual([...json.errors].map((error) => String(error.path)).sort(), [
    'client',
    'scopes',
    'subject',
    'surprise',
  ]);
  assert.doesNotMatch(answer, /hunter2/);
});

test('W10: unknown query parameters and repeated ones are 422', async () => {
  await using it = await startAdminSidecar();
  for (const path of ['/v1/status?verbose=1', '/v1/revocations?limit=1&limit=2', '/v1/revocations?limit=0']) {
    assert.equal((await it.admin('GET', path)).status, 422, path);
  }
});

test('paths: 404 for unknown ones, 405 with Allow, 501 for rooms that are not configured, 400 for a body on GET', async () => {
  await using it = await startAdminSidecar();
  for (const path of ['/', '/v1', '/v2/tokens', '/v1/tokens/', '/v1/revocations/a/b', '/v1/limits/x/%E0%A4%A']) {
    assert.equal((await it.admin('GET', path)).status, 404, path);
  }
  const wrong = await it.admin('DELETE', '/v1/tokens');
  assert.deepEqual([wrong.status, wrong.headers.allow], [405, 'POST']);
  const list = await it.admin('PUT', '/v1/revocations');
  assert.deepEqual([list.status, list.headers.allow], [405, 'POST, GET, HEAD']);
  assert.equal((await it.admin('GET', '/v1/clients')).json.code, 'not_configured');
  assert.equal((await it.admin('GET', '/v1/status', { body: {} })).status, 400);
  const options = await it.admin('OPTIONS', '/v1/tokens');
  assert.deepEqual([options.status, options.headers['access-control-allow-origin']], [405, undefined]);
});

test('strangers get 401 with a challenge on every path but the three that kubelet needs', async () => {
  await using it = await startAdminSidecar();
  for (const path of ['/v1/status', '/v1/nothing', '/', '/v1/tokens']) {
    const { status, headers } = await it.admin('GET', path, { token: null });
    assert.equal(status, 401, path);
    assert.equal(headers['www-authenticate'], 'Bearer realm="doorward-admin"', path);
    assert.equal(headers['cache-control'], 'no-store', path);
  }
  for (const path of ['/healthz', '/readyz', '/metrics']) {
    assert.equal((await it.admin('GET', path, { token: null })).status, 200, path);
  }
});

test('a repeated Authorization field is refused, also when one of the two is right', async () => {
  await using it = await startAdminSidecar();
  const start = head(it, 'GET /v1/status HTTP/1.1', 'Authorization: Bearer other', 'Connection: close');
  assert.match(await rawExchange(it, `${start}\r\n`), /^HTTP\/1\.1 400 /);
});

test('after ten wrong tokens an address gets 429, and the socket still works', async () => {
  await using it = await startAdminSidecar();
  const statuses: number[] = [];
  for (let at = 0; at < 12; at += 1) statuses.push((await it.admin('GET', '/v1/status', { token: `no${at}` })).status);
  assert.deepEqual(statuses, [...Array(10).fill(401), 429, 429]);
  const right = await it.admin('GET', '/v1/status');
  assert.deepEqual([right.status, right.headers['retry-after']], [429, '60']);
  assert.equal((await it.socket('GET', '/v1/status')).status, 200);
});

test('HEAD answers like GET without a body, and every answer is no-store and carries its request id', async () => {
  await using it = await startAdminSidecar();
  const answer = await it.admin('HEAD', '/v1/status');
  assert.deepEqual([answer.status, answer.text, answer.headers['cache-control']], [200, '', 'no-store']);
  assert.match(String(answer.headers['x-request-id']), /^[A-Za-z0-9_.]{20}$/);
});

test('a client that waits for 100 gets it once its head has passed, and a stranger does not', async () => {
  await using it = await startAdminSidecar();
  const ask = async (token: string) => {
    const call = nodeRequest(`${it.sidecar.adminUrl}/v1/tokens/introspect`, {
      method: 'POST',
      headers: { ...JSON_TYPE, expect: '100-continue', authorization: `Bearer ${token}` },
    });
    const first = Promise.race([
      once(call, 'continue').then(() => 100),
      once(call, 'response').then(([r]) => r.statusCode),
    ]);
    call.flushHeaders();
    const seen = await first;
    if (seen !== 100) {
      call.destroy();
      return seen;
    }
    call.end('{"token":"x"}');
    const [response] = await once(call, 'response');
    response.resume();
    return response.statusCode;
  };
  assert.equal(await ask(it.adminToken), 200);
  assert.equal(await ask('stranger'), 401);
});

test('every way to be refused is problem+json with its status and code', async () => {
  await using redis = await startRedis();
  await using database = await openTestDatabase();
  await using it = await startAdminSidecar((config) => ({
    ...config,
    ...postgresConfig(database, { timeout: '500ms' }),
    name: 'manners_test',
    redis: { url: { value: redis.url }, timeout: '200ms' },
  }));
  const { json: reader } = await it.admin('POST', '/v1/operators', {
    body: { name: 'r', permissions: ['status:read'] },
  });
  const { json: client } = await it.admin('POST', '/v1/clients', { body: { name: 'c' } });
  const large = JSON.stringify({ token: 'x'.repeat(64 * 1024) });
  const typed = (type: string, raw: string) => ({ raw, headers: { 'content-type': type } });
  const table: [number, string, string, string, Parameters<AdminSidecar['admin']>[2]?][] = [
    [400, 'invalid_request', 'POST', '/v1/tokens', typed('application/json', '{')],
    [401, 'unauthorized', 'GET', '/v1/status', { token: null }],
    [401, 'invalid_token', 'GET', '/v1/status', { token: 'dwa_wrong' }],
    [403, 'forbidden', 'POST', '/v1/tokens', { token: String(reader.token), body: {} }],
    [404, 'not_found', 'GET', '/v1/clients/none'],
    [405, 'method_not_allowed', 'PUT', '/v1/status'],
    [409, 'conflict', 'POST', '/v1/operators', { body: { name: 'r', role: 'viewer' } }],
    [
      412,
      'precondition_failed',
      'PATCH',
      `/v1/clients/${client.client_id}`,
      { body: {}, headers: { 'if-match': '"9"' } },
    ],
    [413, 'body_too_large', 'POST', '/v1/tokens/introspect', typed('application/json', large)],
    [415, 'unsupported_media_type', 'POST', '/v1/tokens', typed('text/plain', '{}')],
    [422, 'invalid_fields', 'POST', '/v1/tokens', { body: {} }],
    [501, 'not_configured', 'GET', '/v1/grants'],
  ];
  const check = async ([status, code, method, path, call]: (typeof table)[number]) => {
    const { headers, json, ...answer } = await it.admin(method, path, call);
    const what = `${method} ${path}`;
    assert.deepEqual([answer.status, json.code, json.status], [status, code, status], what);
    assert.equal(headers['content-type'], 'application/problem+json', what);
    assert.equal(headers['cache-control'], 'no-store', what);
    assert.equal(headers['x-request-id'], json.request_id as unknown, what);
    assert.equal(headers.allow, status === 405 ? 'GET, HEAD' : undefined, what);
    assert.equal(headers['retry-after'], status === 503 ? '1' : status === 429 ? '60' : undefined, what);
  };
  for (const row of table) await check(row);
  await database.cut();
  await check([503, 'temporarily_unavailable', 'GET', '/v1/clients']);
  assert.match(String((await it.admin('GET', '/v1/clients')).json.detail), /PostgreSQL/, 'which store is away');
  await database.mend();
  for (let n = 0; n < 12; n += 1) await it.admin('GET', '/v1/status', { token: 'wrong' });
  await check([429, 'rate_limited', 'GET', '/v1/status']);
});

test('K26: the scrape tells how often calls succeeded and failed, and how long each operation took', async () => {
  await using it = await startAdminSidecar();
  await it.issue();
  await it.admin('POST', '/v1/tokens', { body: {} });
  await it.proxy('/', await it.issue());
  await it.proxy('/', 'wrong');
  const { text: scrape } = await it.observe('GET', '/metrics');
  assert.match(scrape, /^doorward_admin_seconds_count\{operation="issueToken"\} 3$/m);
  assert.match(scrape, /^doorward_admin_requests_total\{status="201"\} 2$/m);
  assert.match(scrape, /^doorward_admin_requests_total\{status="422"\} 1$/m);
  assert.match(scrape, /^doorward_decisions_total\{outcome="allow",reason="ok",route="all"\} 1$/m);
  assert.match(scrape, /^doorward_decisions_total\{outcome="deny",reason="token_malformed",route="all"\} 1$/m);
  assert.match(scrape, /^doorward_overhead_seconds_count 2$/m);
});

test('L25: records in PostgreSQL, its pool, its calls and our signing keys stand in the scrape', async () => {
  await using database = await openTestDatabase();
  await database.sql`insert into operator (id, name, token_digest, permissions, created_at, created_by)
    values ('op_x', 'x', ${'0'.repeat(64)}, '{}', now(), 'test')`;
  await using it = await startAdminSidecar((config) => ({ ...config, ...postgresConfig(database) }));
  let scrape = '';
  for (let tries = 0; !/^doorward_records\{what="operators"\} 1$/m.test(scrape); tries += 1) {
    assert.ok(tries < 500, 'the operators were never counted');
    scrape = (await it.observe('GET', '/metrics')).text;
  }
  for (const what of ['clients', 'token_families', 'credentials', 'revocations']) {
    assert.match(scrape, new RegExp(`^doorward_records\\{what="${what}"\\} 0$`, 'm'), what);
  }
  assert.match(scrape, /^doorward_postgres_pool_size\{state="open"\} [1-9]/m);
  assert.match(scrape, /^doorward_postgres_query_seconds_count\{operation="statistics.count"\} [1-9]/m);
  assert.match(scrape, /^doorward_signing_keys\{issuer="self",state="active"\} 1$/m);
});
