// The configuration over the admin port: shown masked, reloaded whole or not at all; explanations; the audit lines.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { startAdminSidecar } from './admin-sidecar.ts';

const SECRET = 'wJ8z-4kQ2v-Lp7Xr-9sTn3-bHc6-mVf1-yGd5';

test('attack 129: the effective configuration shows every default and its source, and no secret', async () => {
  await using it = await startAdminSidecar((config) => ({
    ...config,
    issuers: {
      ...config.issuers,
      shared: { issuer: 'https://shared.example/', audience: ['api'], keys: { secret: { value: SECRET } } },
    },
  }));
  const { status, json, text } = await it.admin('GET', '/v1/config');
  assert.equal(status, 200);
  assert.doesNotMatch(text, new RegExp(SECRET));
  assert.equal(json.config.issuers?.shared?.keys?.secret?.value, '[secret]');
  assert.equal(json.config.proxy?.keep_alive, '75s');
  assert.match(String(json.yaml), /keep_alive: 75s # default/);
  assert.match(String(json.yaml), /listen: 127\.0\.0\.1:0 # .*sidecar\.yaml:\d+:\d+/);
});

test('a good file takes effect on reload, a bad one changes nothing and every problem is named with its place', async () => {
  await using it = await startAdminSidecar();
  const before = readFileSync(it.file, 'utf8');
  assert.deepEqual((await it.admin('POST', '/v1/config/reload')).json.changed, false);
  writeFileSync(it.file, before.replace('rate: 2/1h', 'rate: 2 per hour').replace('prefix: /', 'prefix: api'));
  const bad = await it.admin('POST', '/v1/config/reload');
  assert.deepEqual([bad.status, bad.json.code], [422, 'config_refused']);
  assert.equal([...bad.json.errors].length, 2);
  assert.match(bad.text, /sidecar\.yaml:\d+:\d+ limits\.tight\.rate/);
  assert.equal((await it.proxy('/', await it.issue())).status, 200);
  assert.match((await it.observe('GET', '/metrics')).text, /^doorward_config_reload_success 0$/m);
  writeFileSync(it.file, before.replace('path: /limited', 'path: /renamed'));
  const good = await it.admin('POST', '/v1/config/reload');
  assert.equal(good.status, 200);
  assert.match((await it.admin('GET', '/v1/status')).text, /\/renamed/);
});

test('explain refuses a method that the parser of HTTP/1.1 refuses, as the request itself is', async () => {
  await using it = await startAdminSidecar();
  const { hostname, port } = new URL(it.sidecar.proxyUrl);
  for (const [method, reason, status] of [
    ['FOO', 'request_malformed', 400],
    ['CONNECT', 'connect_unsupported', 501],
    ['GET', 'credential_missing', 401],
  ] as const) {
    const { json } = await it.admin('POST', '/v1/explain', { body: { method, url: '/' } });
    assert.deepEqual([json.allowed, json.reason, json.status], [false, reason, status] as unknown[]);
    const socket = connect(Number(port), hostname);
    const target = method === 'CONNECT' ? 'a.test:443' : '/';
    socket.write(`${method} ${target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n`);
    assert.match(await text(socket), new RegExp(`^HTTP/1.1 ${status} `), method);
  }
  const body = { method: 'FOO', url: '/', verdict: 'nginx' };
  const asked = (await it.admin('POST', '/v1/explain', { body })).json;
  assert.notEqual(asked.reason, 'request_malformed' as unknown, 'a front may know other methods');
});

test('explain judges a described request, charges nothing, and does not hand the token back', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue({ client: 'web' });
  const body = { method: 'GET', url: 'http://app.example.com/limited?x=1', token, peer: '203.0.113.9' };
  for (let at = 0; at < 4; at += 1) {
    const { json, text } = await it.admin('POST', '/v1/explain', { body });
    assert.deepEqual(
      [json.allowed, json.route, json.subject, json.client_address],
      [true, 'limited', 'alice', '203.0.113.9'],
    );
    assert.doesNotMatch(text, new RegExp(token));
  }
  const refused = (await it.admin('POST', '/v1/explain', { body: { method: 'GET', url: '/..%2f' } })).json;
  assert.deepEqual([refused.allowed, refused.status, refused.reason], [false, 400, 'path_malformed']);
  assert.equal(it.upstream.bytes(), '');
});

test('a refusal is found by the request id that the caller got, with reason, stage and remedy', async () => {
  await using it = await startAdminSidecar();
  const refused = await it.proxy('/secret-place');
  const id = String(refused.json.request_id);
  const { json } = await it.admin('GET', `/v1/decisions?request_id=${id}`);
  const [decision, ...others] = [...json.items];
  assert.equal(others.length, 0);
  assert.deepEqual([decision?.reason, decision?.path, decision?.status], ['credential_missing', '/secret-place', 401]);
  assert.match(String(decision?.remedy), /Send a token/);
  assert.equal([...(await it.admin('GET', '/v1/decisions?reason=rate_limited')).json.items].length, 0);
});

test('H13: every change is one audit line with who, what, from where and request id; looking leaves none', async () => {
  await using it = await startAdminSidecar();
  const { headers } = await it.admin('POST', '/v1/revocations', {
    body: { kind: 'session', issuer: 'self', id: 's1' },
  });
  await it.socket('POST', '/v1/config/reload');
  await it.admin('GET', '/v1/revocations');
  await it.admin('POST', '/v1/revocations', { body: { kind: 'nonsense' } });
  const lines = it.log().filter(({ event }) => event === 'audit');
  assert.deepEqual(
    lines.map(({ type, what, from, outcome, reason }) => [type, what, from, outcome, reason]),
    [
      ['revocation.added', 'POST /v1/revocations', '127.0.0.1', 'success', undefined],
      ['config.reloaded', 'POST /v1/config/reload', 'socket', 'success', undefined],
      ['revocation.added', 'POST /v1/revocations', '127.0.0.1', 'failure', 'fields_invalid'],
    ],
  );
  assert.equal(lines[0]?.request_id, headers['x-request-id']);
  assert.match(String(lines[0]?.who), /^op_/);
  assert.equal(lines[1]?.who, 'socket');
});

test('attack 129: no token, operator token or secret of a run stands in its log or metrics', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue();
  await it.proxy('/', token);
  await it.proxy('/', `${token.slice(0, -4)}AAAA`);
  for (const path of ['/v1/tokens/introspect', '/v1/revocations']) await it.admin('POST', path, { body: { token } });
  await it.admin('POST', '/v1/explain', { body: { method: 'GET', url: '/', token } });
  await it.admin('POST', '/v1/tokens', { body: { subject: token } });
  const written = it.logText() + (await it.observe('GET', '/metrics')).text;
  for (const secret of [it.adminToken, token, ...token.split('.').slice(1)]) assert.ok(!written.includes(secret));
});
