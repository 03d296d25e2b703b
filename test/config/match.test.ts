// Route paths: what people of other proxies write is refused (fixtures/config/bad/route-path-*), what applications serve is taken.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../src/config/load.ts';
import { matchText } from '../../src/config/match-text.ts';

const load = (match: object) =>
  parseConfig({
    bytes: Buffer.from(
      JSON.stringify({
        version: 1,
        upstreams: { app: { url: 'http://127.0.0.1:3000' } },
        issuers: { corp: { issuer: 'https://id.example.com/', audience: ['api'] } },
        routes: { all: { match } },
      }),
    ),
    file: 'sidecar.yaml',
    env: {},
  });

test('paths of OData, package registries and custom methods are no patterns, and are taken without a word', () => {
  for (const path of [
    '/odata/$metadata',
    '/odata/$batch',
    "/People('ann')/Trips(1)",
    '/@scope/package',
    '/v1/things:batchGet',
    '/v1/{name}/$everything',
    '/search/a+b',
    '/a,b;c=d/!x/~ann/file.min.js',
  ]) {
    assert.deepEqual(load({ path }).warnings, [], path);
  }
  assert.deepEqual(load({ prefix: '/odata/$metadata' }).warnings, []);
});

test('a segment in parentheses is taken as written, with a warning', () => {
  const { warnings } = load({ path: '/(app)/users' });
  assert.deepEqual(
    warnings.map(({ path, message }) => `${path}: ${message}`),
    ['routes.all.match.path: holds parentheses, which stand for themselves'],
  );
});

test('a prefix and an exact path never read alike', () => {
  const of = (match: object) => matchText(load(match).config.routes.all?.match ?? {});
  assert.equal(of({ prefix: '/admin' }), '* prefix /admin');
  assert.equal(of({ prefix: '/admin/' }), '* prefix /admin');
  assert.equal(of({ path: '/admin' }), '* path /admin');
  assert.equal(
    of({ path: '/x/{id}', hosts: ['a.example.com', '*.b.example.com'], methods: ['GET', 'PUT'] }),
    'GET,PUT path a.example.com,*.b.example.com/x/{id}',
  );
});
