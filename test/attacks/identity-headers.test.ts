// Attacks 19 to 33: what the upstream reads about the caller comes from us alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startRedis } from '../support/redis-server.ts';
import { tokenFor } from '../support/sidecar.ts';
import { ask, assertForwarded, assertRefused, bearer, head, valuesOf, world } from './world.ts';

const identityNames = ['subject', 'issuer', 'client', 'scopes', 'roles', 'tenant', 'token-id'].map(
  (word) => `x-auth-${word}`,
);

test('attack 19: a public route forwards no identity header of the client', async () => {
  await using at = await world();
  const seen = await assertForwarded(
    at,
    head(
      'GET /public',
      identityNames.map((name) => `${name}: admin`),
    ),
  );
  for (const name of identityNames) assert.deepEqual(valuesOf(seen, name), [], name);
  assert.ok(!seen.rawHeaders.includes('admin'));
});

test('attack 20: a claim that the token lacks gives no header, whatever the client sent', async () => {
  await using at = await world();
  const token = tokenFor({ scope: undefined });
  const seen = await assertForwarded(
    at,
    head('GET /admin', [bearer(token), 'x-auth-scopes: admin', 'x-auth-roles: root']),
  );
  assert.deepEqual(valuesOf(seen, 'x-auth-scopes'), []);
  assert.deepEqual(valuesOf(seen, 'x-auth-roles'), []);
  assert.deepEqual(valuesOf(seen, 'x-auth-subject'), ['alice']);
});

/** A look-alike of an identity header beside a good token, before it and after it. */
async function lookAlikeRemoved(...names: readonly string[]): Promise<void> {
  await using at = await world();
  for (const name of names) {
    const fields = [`${name}: mallory`, bearer(tokenFor()), `${name}:mallory`];
    const seen = await assertForwarded(at, head('GET /admin', fields));
    assert.ok(!seen.rawHeaders.includes('mallory'), name);
    assert.deepEqual(valuesOf(seen, 'x-auth-subject'), ['alice'], name);
    assert.ok(!at.upstream.bytes().includes('mallory'), name);
    await assertRefused(at, head('GET /admin', [`${name}: mallory`]), 401, { what: `${name} alone` });
  }
}

test('attack 21: an identity header with underscores beside a valid token is removed', () =>
  lookAlikeRemoved('X_Auth_Subject', 'x-auth_subject', 'X_AUTH-SUBJECT'));

test('attack 22: an identity header with dots beside a valid token is removed', () =>
  lookAlikeRemoved('X.Auth.Subject', 'x.auth_subject', 'x-Auth.Subject'));

test('attack 22: an identity header with any other character where lighttpd reads a line is removed', () =>
  lookAlikeRemoved(...[..."!#$%&'*+^`|~"].map((char) => `X${char}Auth${char}Subject`), 'x-auth!subject'));

test('attack 23: an identity header in any case beside a valid token is replaced by ours', () =>
  lookAlikeRemoved('X-AUTH-SUBJECT', 'x-Auth-sUBJECT'));

test('attack 23: white space about a field name is refused, after a value it is no way round', async () => {
  await using at = await world();
  const token = bearer(tokenFor());
  for (const field of [
    'x-auth-subject : mallory',
    'x-auth-subject\t: mallory',
    ' x-auth-subject: mallory',
    '\tx-auth-subject: m',
  ]) {
    await assertRefused(at, head('GET /admin', ['A: b', field, token]), 400, { closed: true, what: field });
  }
  const seen = await assertForwarded(at, head('GET /admin', [token, 'x-auth-subject:  mallory \t', 'x-auth-subject:']));
  assert.deepEqual(valuesOf(seen, 'x-auth-subject'), ['alice']);
});

test('attack 24: naming our header in Connection does not take it away', async () => {
  await using at = await world();
  for (const connection of ['close, x-auth-subject', 'X-Auth-Subject', 'keep-alive, x-auth-subject, x-auth-scopes']) {
    const seen = await assertForwarded(at, head('GET /admin', [`Connection: ${connection}`, bearer(tokenFor())]));
    assert.deepEqual(valuesOf(seen, 'x-auth-subject'), ['alice'], connection);
    assert.deepEqual(valuesOf(seen, 'x-auth-scopes'), ['read write'], connection);
  }
  const seen = await assertForwarded(
    at,
    head('GET /admin', ['Connection: x-own, close', 'X-Own: 1', bearer(tokenFor())]),
  );
  assert.deepEqual(valuesOf(seen, 'x-own'), [], 'fields that Connection names end here');
});

test('attack 25: naming Authorization or Host in Connection changes nothing', async () => {
  await using at = await world();
  await assertRefused(at, head('GET /admin', ['Connection: authorization']), 401);
  await assertRefused(at, head('GET /admin', ['Connection: authorization', bearer('nonsense')]), 401);
  const seen = await assertForwarded(at, head('GET /admin', ['Connection: authorization, host', bearer(tokenFor())]));
  assert.deepEqual(valuesOf(seen, 'host'), ['app']);
});

test('attack 25: what was checked is what arrives: Connection does not take Authorization away behind the check', async () => {
  await using at = await world({ routes: { api: { match: { prefix: '/admin' }, forward_token: true } } });
  const token = tokenFor();
  const seen = await assertForwarded(at, head('GET /admin', ['Connection: Authorization', bearer(token)]));
  assert.deepEqual(valuesOf(seen, 'authorization'), [`Bearer ${token}`]);
});

test('attack 26: an identity header as a trailer is dropped', async () => {
  await using at = await world();
  const fields = ['Transfer-Encoding: chunked', 'Trailer: x-auth-subject', bearer(tokenFor())];
  const seen = await assertForwarded(
    at,
    `${head('POST /admin', fields)}3\r\nabc\r\n0\r\nx-auth-subject: mallory\r\n\r\n`,
  );
  assert.equal(seen.body, 'abc');
  assert.deepEqual(valuesOf(seen, 'trailer'), []);
  assert.ok(!at.upstream.bytes().includes('mallory'));
});

test('attack 27: two Authorization values are refused as an invalid request', async () => {
  await using at = await world();
  const token = tokenFor();
  const sets = [
    [bearer(token), bearer(token)],
    [`Authorization: Bearer ${token}, Bearer ${token}`],
    ['Authorization: Basic YTpi', bearer(token)],
    [`Authorization: Bearer ${token} ${token}`],
    [`Authorization: Bearer`],
  ];
  for (const fields of sets) {
    const answer = await assertRefused(at, head('GET /admin', fields), 400, { what: String(fields.length) });
    assert.match(answer.headers['www-authenticate'] ?? '', /error="invalid_request"/);
  }
});

test('attack 28: many values are judged one by one, never as joined text', async () => {
  const routes = {
    admin: { match: { prefix: '/admin' }, require: { roles: ['admin'], claims: { tenant: ['acme'] } } },
  };
  await using at = await world({ routes });
  const get = (claims: object) =>
    head('GET /admin', ['x-auth-roles: admin', 'x-role: user', 'x-role: admin', bearer(tokenFor({ ...claims }))]);
  await assertRefused(at, get({ roles: ['user,admin'], tenant: 'acme' }), 403);
  await assertRefused(at, get({ roles: ['user'], tenant: 'acme' }), 403);
  await assertRefused(at, get({ roles: ['admin'], tenant: 'acme,evil' }), 403);
  await assertRefused(at, get({ roles: ['admin'] }), 403);
  await assertRefused(at, get({ roles: ['admin'], tenant: ['acme'] }), 401);
  const seen = await assertForwarded(at, get({ roles: ['user', 'admin'], tenant: 'acme' }));
  assert.deepEqual(valuesOf(seen, 'x-auth-roles'), ['user,admin']);
});

test('attack 29: no claim value breaks out of its header', async () => {
  await using at = await world({ proxy: { header_size: '256KiB' } });
  for (const sub of [
    'a\r\nx-auth-roles: admin',
    'a\nb',
    'a\x01b',
    'a\x7fb',
    'Zo\u00eb',
    '\u202eadmin',
    'a\u2028b',
    '\u{1f600}',
    ' alice',
    'alice ',
    '  ',
    ' ',
    'a b',
    'a,b',
    '100%',
  ]) {
    const seen = await assertForwarded(at, head('GET /admin', [bearer(tokenFor({ sub }))]));
    const [value = ''] = valuesOf(seen, 'x-auth-subject');
    assert.equal(decodeURIComponent(value), sub, JSON.stringify(sub));
    assert.match(value, /^[\x20-\x7e]*$/);
    assert.deepEqual(valuesOf(seen, 'x-auth-roles'), []);
  }
  // What PostgreSQL cannot hold could not be revoked.
  for (const sub of ['a'.repeat(65_536), 'a\0b', '\0'])
    await assertRefused(at, head('GET /admin', [bearer(tokenFor({ sub }))]), 401);
});

test('attack 29: an element with a blank in front is not its namesake without', async () => {
  await using at = await world({ identity_headers: { 'X-Roles': 'roles', 'X-Groups': { claim: 'groups' } } });
  const claims = { roles: ['user', ' admin'], groups: ['staff ', ' root'] };
  const seen = await assertForwarded(at, head('GET /admin', [bearer(tokenFor(claims))]));
  assert.deepEqual(valuesOf(seen, 'x-roles'), ['user,%20admin']);
  assert.deepEqual(valuesOf(seen, 'x-groups'), ['staff%20,%20root']);
});

test('attack 30: an array is told from a string with a comma, and an object needs its own format', async () => {
  const identity_headers = {
    'X-Groups': { claim: 'groups' },
    'X-Address': { claim: 'address' },
    'X-Address-Json': { claim: 'address', format: 'json_base64url' },
  };
  await using at = await world({ identity_headers });
  const seenFor = async (claims: object) =>
    assertForwarded(at, head('GET /admin', ['X-Groups: x', bearer(tokenFor({ ...claims }))]));
  assert.deepEqual(valuesOf(await seenFor({ groups: 'a,b' }), 'x-groups'), ['a%2Cb']);
  assert.deepEqual(valuesOf(await seenFor({ groups: ['a', 'b'] }), 'x-groups'), ['a,b']);
  assert.deepEqual(valuesOf(await seenFor({ groups: ['a', ['b']] }), 'x-groups'), [], 'no half of a nested array');
  assert.deepEqual(valuesOf(await seenFor({ groups: [] }), 'x-groups'), []);
  const seen = await seenFor({ address: { city: 'Ghent' } });
  assert.deepEqual(valuesOf(seen, 'x-address'), []);
  assert.deepEqual(valuesOf(seen, 'x-address-json'), [Buffer.from('{"city":"Ghent"}').toString('base64url')]);
});

test('attack 31: a header that is no UTF-8 and a store that is away together never open the door', async () => {
  await using redis = await startRedis();
  await using at = await world({
    redis: { url: { value: redis.url } },
    revocation: { on_store_down: 'deny' },
  });
  const request = head('GET /admin', ['X-Odd: \xff\xfe\x80', bearer(tokenFor())]);
  const seen = await assertForwarded(at, request);
  assert.deepEqual(valuesOf(seen, 'x-odd'), ['\xff\xfe\x80'], 'bytes pass as they are');
  await redis.stop();
  await assertRefused(at, request, 503);
  await assertRefused(at, head('GET /admin', ['X-Odd: \xff', bearer('\xff\xfe')]), [400, 401]);
});

test('attack 32: an assertion header of the client is removed in every spelling', async () => {
  await using at = await world();
  for (const name of ['x-auth-assertion', 'X_Auth_Assertion', 'x.auth.assertion']) {
    const seen = await assertForwarded(at, head('GET /admin', [`${name}: forged`, bearer(tokenFor())]));
    assert.ok(!seen.rawHeaders.includes('forged'), name);
  }
});

test('attack 33: the token goes nowhere: not upstream, not into log, metrics or error bodies', async () => {
  const routes = {
    admin: {
      match: { prefix: '/admin' },
      credentials: ['bearer', { cookie: 'session' }, { query: 't' }, { header: 'X-Token' }],
    },
    open: { match: { prefix: '/open' }, forward_token: true },
  };
  await using at = await world({ routes, proxy: { error_detail: 'reason' } });
  const token = tokenFor();
  const ways = [
    head('GET /admin', [bearer(token)]),
    head('GET /admin', [`Cookie: a=1; session=${token}; b=2`]),
    head(`GET /admin?x=1&t=${token}&y=2`),
    head('GET /admin', [`X-Token: ${token}`]),
  ];
  for (const way of ways) {
    await assertForwarded(at, way);
    assert.ok(!at.upstream.bytes().includes(token), way.slice(0, 60));
  }
  const bad = `${token.slice(0, -4)}AAAA`;
  const answers = [bad, `${token}x`, tokenFor({ exp: 1 })].map((wrong) =>
    ask(at.port, head('GET /admin', [bearer(wrong)])),
  );
  for (const answer of await Promise.all(answers)) {
    assert.equal(answer.status, 401);
    assert.ok(!answer.text.includes(token.slice(40, 80)));
  }
  const metrics = await (await fetch(`${at.sidecar.observeUrl}/metrics`)).text();
  for (const part of token.split('.')) {
    assert.ok(!at.sidecar.logText().includes(part), 'log');
    assert.ok(!metrics.includes(part), 'metrics');
  }
  const seen = await assertForwarded(at, head('GET /open', [bearer(token)]));
  assert.deepEqual(valuesOf(seen, 'authorization'), [`Bearer ${token}`], 'only where configured');
});
