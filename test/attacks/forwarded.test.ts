// Attacks 34 to 43: forwarded fields count only from peers that the operator trusts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../../src/config/problem.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';
import { ask, assertForwarded, assertRefused, bearer, head, valuesOf, world } from './world.ts';

const trusting = { proxy: { trusted_proxies: ['127.0.0.1', '10.0.0.0/8'] } };

test('attack 34: nobody is trusted unless named, so X-Forwarded-Uri opens nothing', async () => {
  await using at = await world();
  const fields = [
    'X-Forwarded-Uri: /public',
    'X-Original-URI: /public',
    'X-Forwarded-Method: OPTIONS',
    'X-Rewrite-URL: /public',
  ];
  await assertRefused(at, head('GET /admin', fields), 401);
  await using trusted = await world(trusting);
  await assertRefused(trusted, head('GET /admin', fields), 401, { what: 'and from a trusted peer neither' });
});

test('attack 35: X-Forwarded-Proto of a stranger is replaced', async () => {
  await using at = await world();
  const seen = await assertForwarded(at, head('GET /public', ['X-Forwarded-Proto: https', 'X-Forwarded-Host: evil']));
  assert.deepEqual(valuesOf(seen, 'x-forwarded-proto'), ['http']);
  assert.deepEqual(valuesOf(seen, 'x-forwarded-host'), ['app']);
  await using trusted = await world(trusting);
  const believed = await assertForwarded(
    trusted,
    head('GET /public', ['X-Forwarded-Proto: https', 'X-Forwarded-Host: shop.example']),
  );
  assert.deepEqual(valuesOf(believed, 'x-forwarded-proto'), ['https']);
  assert.deepEqual(valuesOf(believed, 'x-forwarded-host'), ['shop.example']);
});

const overrides = [
  'X-Forwarded-Prefix', 'X-Forwarded-Port', 'X-Forwarded-Server', 'X-Original-URL', 'X-Original-URI', 'X-Rewrite-URL',
  'X-Original-Method', 'X-Original-Host', 'X-Envoy-Original-Path', 'X-Envoy-Internal', 'X-Real-IP', 'Forwarded', 'X-Forwarded',
  'True-Client-IP', 'X-Client-IP', 'X-Cluster-Client-IP', 'X-Host', 'Proxy', 'Fastly-Client-IP', 'X-Azure-ClientIP', 'WL-Proxy-Client-IP',
]; // biome-ignore format: one line reads better

const callers = [
  'Remote-User', 'Remote_User', 'Remote-Groups', 'X-Remote-User', 'X-Remote-Extra-Scopes', 'X-Auth-Request-Email', 'X-WebAuth-User',
  'X-Forwarded-User', 'X-authentik-username', 'X-Goog-Authenticated-User-Email', 'X-MS-CLIENT-PRINCIPAL', 'X-MS-CLIENT-PRINCIPAL-NAME',
  'Tailscale-User-Login',
  'SSL-Client-Subject-DN', 'X-SSL-Client-Verify', 'X-SSL-Cert', 'X-Client-Cert-Chain', 'X-Client-DN', 'X-ARR-ClientCert', 'X-Amzn-Mtls-Clientcert-Subject',
]; // biome-ignore format: one line reads better

test('attack 19: what other proxies call the caller is not a client’s to say', async () => {
  await using at = await world();
  const fields = callers.map((name) => `${name}: evil`);
  await assertForwarded(at, head('GET /public', [...fields, 'X-Auth-Request: kept']));
  assert.ok(!at.upstream.bytes().includes('evil'));
  assert.ok(at.upstream.bytes().includes('kept'));
});

test('attack 19: an identity header may bear such a name, and says what we say', async () => {
  await using at = await world({ identity_headers: { 'X-Remote-User': 'subject' } });
  const seen = await assertForwarded(
    at,
    head('GET /admin', ['X-Remote-User: evil', bearer(tokenFor({ sub: 'alice' }))]),
  );
  assert.deepEqual(valuesOf(seen, 'x-remote-user'), ['alice']);
});

test('attack 36: fields that override URL, method or address are removed', async () => {
  await using at = await world();
  const seen = await assertForwarded(
    at,
    head(
      'GET /public',
      overrides.map((name) => `${name}: for=evil`),
    ),
  );
  for (const name of overrides) assert.deepEqual(valuesOf(seen, name.toLowerCase()), [], name);
  assert.ok(!at.upstream.bytes().includes('evil'));
});

test('attack 37: look-alikes of forwarded fields are removed', async () => {
  await using at = await world();
  const names = [
    'X_Forwarded_Proto',
    'X_Forwarded_For',
    'x.forwarded.host',
    'X_Real_IP',
    'X_Original_URL',
    'Content_Length',
    'Transfer_Encoding',
  ];
  const seen = await assertForwarded(
    at,
    head(
      'GET /public',
      names.map((name) => `${name}: evil`),
    ),
  );
  assert.ok(!seen.rawHeaders.includes('evil'));
  assert.deepEqual(valuesOf(seen, 'x-forwarded-for'), ['127.0.0.1']);
});

/** The address that the decision log names for a request. */
async function clientOf(config: object, fields: readonly string[]): Promise<unknown> {
  await using at = await world({ ...config });
  const answer = await ask(at.port, head('GET /public', fields));
  // 431 is the upstream's own answer to the longest chain; it resets the connection behind it, so it may come cut off.
  assert.match(answer.text, /^HTTP\/1\.1 (?:200|431) /);
  return at.sidecar.logged().find(({ event }) => event === 'decision')?.address;
}

test('attack 38: the client is the right-most hop that is not trusted, over all field lines', async () => {
  assert.equal(await clientOf(trusting, ['X-Forwarded-For: 1.1.1.1, 203.0.113.7, 10.0.0.5']), '203.0.113.7');
  assert.equal(
    await clientOf(trusting, ['X-Forwarded-For: 1.1.1.1', 'X-Forwarded-For: 203.0.113.7, 10.0.0.5']),
    '203.0.113.7',
  );
  assert.equal(await clientOf(trusting, ['X-Forwarded-For: 203.0.113.7', 'X-Forwarded-For: 10.0.0.5']), '203.0.113.7');
  assert.equal(await clientOf({}, ['X-Forwarded-For: 1.1.1.1']), '127.0.0.1', 'an untrusted peer is the client itself');
});

test('attack 38: spoofed entries on the left change neither key nor limit', async () => {
  const limits = { limits: { per_ip: { key: 'ip', rate: '3/1m' } }, defaults: { limits: ['per_ip'] } };
  await using at = await world({ ...trusting, ...limits });
  const statuses: number[] = [];
  for (let spoofed = 1; spoofed <= 5; spoofed += 1) {
    const answer = await ask(at.port, head('GET /public', [`X-Forwarded-For: 9.9.9.${spoofed}, 203.0.113.7`]));
    statuses.push(answer.status);
  }
  assert.deepEqual(statuses, [200, 200, 200, 429, 429]);
  assert.equal((await ask(at.port, head('GET /public', ['X-Forwarded-For: 203.0.113.8']))).status, 200);
});

test('attack 39: what cannot be read falls back to the peer, and long chains are not searched', async () => {
  for (const value of ['unknown', '_hidden', 'garbage', '203.0.113.7, nonsense', '1.2.3', '0x7f000001', '', ',']) {
    assert.equal(await clientOf(trusting, [`X-Forwarded-For: ${value}`]), '127.0.0.1', value);
  }
  // RFC 9110 5.6.1: empty list elements do not count.
  assert.equal(await clientOf(trusting, ['X-Forwarded-For: 203.0.113.7,,']), '203.0.113.7');
  assert.equal(await clientOf(trusting, ['X-Forwarded-For: 203.0.113.7:4711']), '203.0.113.7');
  assert.equal(await clientOf(trusting, ['X-Forwarded-For: [2001:db8::1]:4711']), '2001:db8::1');
  assert.equal(await clientOf(trusting, ['X-Forwarded-For: 2001:db8::1']), '2001:db8::1');
  assert.equal(await clientOf(trusting, ['X-Forwarded-For: ::ffff:203.0.113.7']), '203.0.113.7');
  const roomy = { proxy: { ...trusting.proxy, header_size: '256KiB' } };
  const chain = Array.from({ length: 10_000 }, () => '10.0.0.1').join(', ');
  assert.equal(await clientOf(roomy, [`X-Forwarded-For: 203.0.113.7, ${chain}`]), '127.0.0.1');
});

test('attack 40: one configured field names the client, the other is dropped', async () => {
  const both = ['X-Forwarded-For: 203.0.113.7', 'Forwarded: for=198.51.100.9;proto=https'];
  const forwarded = { proxy: { ...trusting.proxy, client_address: 'forwarded' } };
  assert.equal(await clientOf(trusting, both), '203.0.113.7');
  assert.equal(await clientOf(forwarded, both), '198.51.100.9');
  assert.equal(await clientOf(forwarded, ['Forwarded: for="[2001:db8::1]:80", for=10.0.0.1']), '2001:db8::1');
  assert.equal(await clientOf(forwarded, ['Forwarded: for=203.0.113.7;for=1.1.1.1']), '127.0.0.1');
  await using at = await world(forwarded);
  const seen = await assertForwarded(at, head('GET /public', both));
  assert.deepEqual(valuesOf(seen, 'forwarded'), []);
  assert.ok(
    !valuesOf(seen, 'x-forwarded-for').join().includes('203.0.113.7'),
    'the field that does not count goes no further',
  );
});

test('attack 41: a trusted peer that sends a forwarded field twice or malformed is refused', async () => {
  await using at = await world(trusting);
  const sets = [
    ['X-Forwarded-Host: a', 'X-Forwarded-Host: b'],
    ['X-Forwarded-Proto: http', 'X-Forwarded-Proto: https'],
    ['X-Forwarded-Host: a, b'],
    ['X-Forwarded-Proto: https, http'],
    ['X-Forwarded-Proto: gopher'],
    ['X-Forwarded-Host: a/b'],
  ];
  for (const fields of sets) await assertRefused(at, head('GET /public', fields), 400, { what: String(fields) });
});

test('attack 42: trusting everybody is refused when the configuration loads', async () => {
  await using upstream = await recordingUpstream();
  for (const cidr of ['0.0.0.0/0', '::/0', '::ffff:0:0/96']) {
    await assert.rejects(startSidecar(upstream.url, { proxy: { trusted_proxies: [cidr] } }), ConfigError, cidr);
  }
});

test('attack 43: the verdict endpoint believes descriptions of trusted peers only', async () => {
  const verdict = { endpoints: { verdict: true } };
  const fields = ['X-Original-URL: http://app/public', 'X-Original-URI: /public', 'X-Forwarded-Uri: /public'];
  await using at = await world({ proxy: verdict });
  const direct = await ask(at.port, head('GET /.doorward/verdict/nginx', fields));
  assert.equal(direct.status, 403, 'the real request line is no route');
  await using trusted = await world({ proxy: { ...verdict, trusted_proxies: ['127.0.0.1'] } });
  const verdictFor = async (...described: string[]) =>
    (await ask(trusted.port, head('GET /.doorward/verdict/nginx', ['X-Original-Method: GET', ...described]))).status;
  assert.equal(await verdictFor('X-Original-URL: http://app/public'), 200);
  assert.equal(await verdictFor('X-Original-URL: http://app/admin'), 401);
  assert.equal(await verdictFor('X-Original-URL: http://app/admin', bearer(tokenFor())), 200);
  assert.equal(await verdictFor('X-Original-URL: http://app/public/../admin'), 403);
  assert.equal(await verdictFor('X-Original-URL: http://app/public', 'X-Original-URL: http://app/admin'), 403);
  assert.equal(await verdictFor('X-Original-URI: /admin', 'X-Original-URL: http://app/public'), 403);
  assert.equal(await verdictFor(), 403);
  assert.equal(trusted.upstream.bytes() + at.upstream.bytes(), '', 'a verdict never reaches the application');
});
