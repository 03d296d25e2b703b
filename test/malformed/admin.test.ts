// Arbitrary bodies, queries and paths on every endpoint of the admin port: refused in words or done, never a 500.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { endpoints } from '../../src/admin/endpoints.ts';
import type { SidecarInput } from '../../src/config/schema.ts';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { mintRaw, mintToken } from '../support/minting.ts';
import { startRedis } from '../support/redis-server.ts';

const RUNS = 150;

/** Every field name that any endpoint knows. */
const names = [
  ...['subject', 'client', 'scopes', 'roles', 'tenant', 'session', 'audience', 'lifetime', 'claims', 'issuer'],
  ...['token', 'token_type_hint', 'kind', 'id', 'until', 'not_before', 'reason', 'dry_run', 'method', 'url', 'peer'],
  ...['headers', 'wait', 'cursor', 'limit', 'request_id', 'outcome', 'route', 'constructor', '__proto__x'],
];
const times = ['forever', 'now', '1s', '999999999d', '0s', '0000-01-01T00:00:00Z', '9999-12-31T23:59:59.999999999Z'];
const words = [
  'alice',
  'self',
  'corp',
  'token',
  'subject',
  'key',
  'GET',
  'TRACE',
  '/',
  '//',
  '/%00',
  '/..',
  'http://a b',
];
const odd = ['', ' ', '\u0000', '\ud800', '\r\nX: y', '%', 'é'.repeat(600), 'x'.repeat(2000), '::1', '127.0.0.1', '-0'];

/** Values that are right somewhere, wrong everywhere, or merely odd. */
const valueOver = (tokens: readonly string[]) =>
  fc.oneof(
    fc.constantFrom(...times, ...words, ...odd, ...tokens),
    fc.array(fc.constantFrom(...words, ...odd), { maxLength: 4 }),
    fc.array(fc.tuple(fc.constantFrom('Host', 'a b', 'X-A'), fc.constantFrom(...words, ...odd)), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('jti', 'x', 'sub', 'roles'), fc.jsonValue(), { maxKeys: 3 }),
    fc.jsonValue({ maxDepth: 3 }),
    fc.boolean(),
    fc.double(),
  );

test('no body, query, path or media type on any admin endpoint is a 500, and every refusal is a problem document', async () => {
  await using redis = await startRedis();
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const SIGN = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  const change = (config: SidecarInput): SidecarInput => ({
    ...config,
    name: 'fuzzed',
    issuers: {
      ...config.issuers,
      self: { issuer: 'http://doorward.localhost', audience: ['api'], sign: { key: { env: 'SIGN' } } },
    },
    redis: { url: { value: redis.url }, timeout: '2s' },
  });
  await using it = await startAdminSidecar(change, { SIGN });
  const header = { alg: 'ES256', kid: 'es256', typ: 'at+jwt' };
  const tokens = [
    mintToken(it.key, 'https://id.example.com/', Date.now()),
    ...[
      {},
      { iss: 7 },
      { iss: 'https://id.example.com/', exp: 1e308 },
      { iss: 'https://id.example.com/', exp: -1, jti: '\u0000' },
    ].map((claims) => mintRaw(it.key, header, claims)),
    mintRaw(it.key, { ...header, kid: 'unknown' }, { iss: 'https://id.example.com/', exp: 'x', jti: 'y'.repeat(3000) }),
    mintRaw(it.key, 'null', 'null'),
    'a.b.c',
  ];
  const value = valueOver(tokens);
  const object = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 6 });
  const text = fc.oneof(
    object.map((body) => JSON.stringify(body)),
    fc.string({ maxLength: 200 }),
    fc.constantFrom(
      'null',
      '[]',
      '{',
      '{"a":1,"a":2}',
      '\ufeff{}',
      `${'{"a":'.repeat(40)}1${'}'.repeat(40)}`,
      '{"__proto__":1}',
    ),
  );
  const media = fc.constantFrom(
    'application/json',
    'application/json',
    'application/json',
    'text/plain',
    'application/json;x',
  );
  const query = fc.dictionary(fc.constantFrom(...names), fc.constantFrom(...times, ...words, ...odd), { maxKeys: 2 });
  const segment = fc.constantFrom(
    'x',
    '%00',
    '%2F',
    '%2e%2e',
    'tight',
    'self%2Fweb',
    'corp%2F',
    '%ED%A0%80',
    'é',
    '__proto__',
  );
  for (const endpoint of endpoints) {
    const call = fc.record({ raw: text, media, query, segments: fc.array(segment, { minLength: 2, maxLength: 2 }) });
    await fc.assert(
      fc.asyncProperty(call, async ({ raw, media, query, segments }) => {
        // An empty object would begin the drain.
        if (endpoint.path === '/v1/drain' && (raw === '{}' || !raw.startsWith('{'))) return;
        const path = endpoint.path
          .replace('{name}', segments[0] as string)
          .replace(/\{(?:id|key)\}/, segments[1] as string);
        const search = new URLSearchParams(query).toString();
        const target = encodeURI(path).replaceAll('%25', '%') + (search === '' ? '' : `?${search}`);
        const hasBody = endpoint.method === 'POST';
        const answer = await it.admin(
          endpoint.method,
          target,
          hasBody ? { raw, headers: { 'content-type': media } } : {},
        );
        const what = `${endpoint.method} ${target} ${raw}: ${answer.status} ${answer.text}`;
        assert.ok(answer.status < 500 || answer.status === 501, what);
        if (answer.status < 400) return;
        assert.equal(answer.headers['content-type'], 'application/problem+json', what);
        assert.equal(answer.json.request_id, answer.headers['x-request-id'], what);
      }),
      { numRuns: endpoint.method === 'POST' ? RUNS : RUNS / 3 },
    );
  }
  assert.deepEqual(
    it.log().filter(({ level }) => level === 'error'),
    [],
  );
  assert.equal((await it.admin('GET', '/v1/revocations?limit=1000')).status, 200);
  assert.equal((await it.admin('GET', '/readyz')).status, 200);
});
