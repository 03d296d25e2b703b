import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { parseText, problemsOf, SMALLEST, temporaryFolder } from '../support/config-text.ts';

test('the smallest file gets every default, with units resolved', () => {
  const { config } = parseText(SMALLEST);
  assert.equal(config.proxy.listen, '0.0.0.0:8080');
  assert.equal(config.proxy.header_size, 16 * 1024);
  assert.equal(config.proxy.keep_alive, 75_000);
  assert.deepEqual(config.proxy.bad_tokens, { limit: 60, windowMs: 60_000 });
  assert.deepEqual(config.proxy.drain, { delay: 5_000, timeout: 20_000 });
  assert.equal(config.defaults.body_size, 10 * 1024 ** 2);
  assert.equal(config.revocation.known_for, 900_000);
  assert.equal(config.identity_headers['X-Auth-Subject'], 'subject');
  assert.equal(config.redis, undefined);
});

test('routes and issuers are complete, so that nobody has to look at defaults again', () => {
  const text = `${SMALLEST}limits: {per_ip: {key: ip, rate: 20/1m}}
defaults: {limits: [per_ip], body_size: 1MiB}
`.replace('all: {', 'own: {match: {prefix: /own/, hosts: [App.Example.COM]}, limits: [], body_size: 2MiB}, all: {');
  const { config, sources } = parseText(text);
  const { own, all } = config.routes;
  assert.deepEqual(all?.limits, ['per_ip']);
  assert.deepEqual(own?.limits, []);
  assert.deepEqual([all?.body_size, own?.body_size], [1024 ** 2, 2 * 1024 ** 2]);
  assert.deepEqual([all?.response_timeout, all?.idle_timeout], [30_000, 60_000]);
  assert.deepEqual([all?.upstream, all?.issuers], ['app', ['corp']]);
  assert.deepEqual(own?.match, { prefix: '/own', hosts: ['app.example.com'] });
  assert.deepEqual(config.issuers.corp?.algorithms, ['ES256', 'RS256', 'EdDSA']);
  assert.deepEqual(sources.get('routes.all.body_size'), {
    kind: 'file', file: 'sidecar.yaml', line: 6, column: 41, inheritedFrom: 'defaults.body_size',
  }); // biome-ignore format: one place
});

test('a route without authentication inherits no issuers', () => {
  const { config } = parseText(SMALLEST.replace('prefix: /}', 'prefix: /}, auth: none'));
  assert.equal(config.routes.all?.issuers, undefined);
});

test('the configuration is frozen to the last value', () => {
  const { config } = parseText(SMALLEST);
  assert.throws(() => {
    (config.routes.all as { auth: string }).auth = 'none';
  }, TypeError);
  assert.throws(() => (config.proxy.trusted_proxies as string[]).push('0.0.0.0/0'), TypeError);
});

test('sources tell default, file and environment apart', () => {
  const { sources } = parseText(SMALLEST, { DOORWARD__LOG__LEVEL: 'warn' });
  assert.deepEqual(sources.get('proxy.listen'), { kind: 'default' });
  assert.deepEqual(sources.get('upstreams.app.url'), { kind: 'file', file: 'sidecar.yaml', line: 2, column: 24 });
  assert.deepEqual(sources.get('log.level'), { kind: 'env', variable: 'DOORWARD__LOG__LEVEL' });
});

test('problems of every kind come at once, in the order of the file, the environment last', () => {
  const text = `version: 1
upstreams: {app: {url: "http://127.0.0.1:3000", conections: 4}}
issuers: {corp: {issuer: "https://id.example.com/", audience: [api]}}
limits: {per_ip: {key: ip, rate: 20}}
routes:
  all: {match: {prefix: /}, limits: [per_io]}
  bad: {match: {prefx: /}}
redis: {url: {env: REDIS_URL}, timeout: 50}
`;
  assert.deepEqual(problemsOf(text, { DOORWARD__PROXY__LISTN: 'x', DOORWARD__PROXY__KEEP_ALIVE: '5' }), [
    'sidecar.yaml:2:49 upstreams.app.conections: is not a setting (nearest name connections)',
    'sidecar.yaml:4:34 limits.per_ip.rate: needs a rate such as 20/1m (whole requests from 1, a window from 1s) (got a number)',
    'sidecar.yaml:6:38 routes.all.limits[0]: names "per_io", but limits has per_ip (nearest name per_ip)',
    'sidecar.yaml:7:17 routes.bad.match.prefx: is not a setting (nearest name prefix)',
    'sidecar.yaml:8:8 redis: needs name: limit keys of applications on one Redis must not meet',
    'sidecar.yaml:8:14 redis.url: environment variable REDIS_URL is not set',
    'sidecar.yaml:8:41 redis.timeout: needs a duration such as 250ms, 30s, 15m, 24h or 90d, above 0, at most 24d (got a number)',
    'DOORWARD__PROXY__KEEP_ALIVE proxy.keep_alive: needs a duration such as 250ms, 30s, 15m, 24h or 90d, above 0, at most 24d',
    'DOORWARD__PROXY__LISTN: is not a setting (nearest name DOORWARD__PROXY__LISTEN)',
  ]);
});

test('aliases are expanded while they stay small', () => {
  const { config } = parseText(`${SMALLEST}limits: {a: &rate {key: ip, rate: 20/1m}, b: *rate}\n`);
  assert.deepEqual(config.limits.a, config.limits.b);
});

test('a drain above the grace period of Kubernetes and other doubtful settings are warned about', () => {
  const { warnings } =
    parseText(`${SMALLEST}proxy: {drain: {delay: 10s, timeout: 21s}, keep_alive: 30s, trusted_proxies: [10.0.0.0/7]}
revocation: {on_store_down: allow}
`);
  assert.deepEqual(
    warnings.map(({ place, path }) => `${place} ${path}`),
    [
      'sidecar.yaml:5:16 proxy.drain',
      'sidecar.yaml:5:56 proxy.keep_alive',
      'sidecar.yaml:5:79 proxy.trusted_proxies[0]',
      'sidecar.yaml:6:29 revocation.on_store_down',
    ],
  );
});

test('the hash depends on meaning only: neither spelling, order, comments nor sources', () => {
  const other = SMALLEST.split('\n')
    .reverse()
    .join('\n')
    .replace('routes:', '# a comment\nlog: {level: info}\nroutes:');
  assert.equal(parseText(other).hash, parseText(SMALLEST).hash);
  assert.equal(parseText(`${SMALLEST}proxy: {keep_alive: 75000ms}`).hash, parseText(SMALLEST).hash);
  assert.notEqual(parseText(`${SMALLEST}proxy: {keep_alive: 76s}`).hash, parseText(SMALLEST).hash);
});

test('a file that is not there is a problem of the file', () => {
  assert.throws(
    () => loadConfig({ file: '/nowhere/sidecar.yaml', env: {} }),
    (error: unknown) =>
      error instanceof ConfigError && error.message === '/nowhere/sidecar.yaml: cannot be read (ENOENT)',
  );
});

test('key set files are found beside the configuration, watched, and part of the hash', () => {
  using folder = temporaryFolder();
  const keys = (x: string) => folder.write('keys.json', JSON.stringify({ keys: [{ kty: 'OKP', crv: 'Ed25519', x }] }));
  const file = folder.write(
    'sidecar.yaml',
    SMALLEST.replace('audience: [api]', 'audience: [api], keys: {file: keys.json}'),
  );
  keys('one');
  const first = loadConfig({ file, env: {} });
  assert.equal(first.config.issuers.corp?.keys.file, folder.path('keys.json'));
  assert.deepEqual(first.watchedFiles, [file, folder.path('keys.json')]);
  keys('two');
  assert.notEqual(loadConfig({ file, env: {} }).hash, first.hash);
});

test('attack 129: neither a printed configuration object nor a problem shows a secret', () => {
  const text = `name: shop\n${SMALLEST}redis: {url: {value: "redis://:geheim@redis:6379"}}\n`;
  const loaded = parseText(text);
  assert.ok(!inspect(loaded.secrets, { depth: 9, showHidden: true }).includes('geheim'));
  assert.ok(!JSON.stringify(loaded.secrets).includes('geheim'));
  assert.deepEqual(Object.keys(loaded.secrets), []);
  for (const broken of [
    text.replace('{value:', '{valu:'),
    text.replace('{url: {value: "redis', '{url: "redis').replace('6379"}}', '6379"}'),
  ]) {
    assert.ok(!problemsOf(broken).join('\n').includes('geheim'));
  }
});

test('verdicts that nobody can ask for are warned about', () => {
  const warningsOf = (proxy: string) =>
    parseText(`${SMALLEST}\nproxy: ${proxy}\n`).warnings.map(({ path, message }) => `${path}: ${message}`);
  assert.deepEqual(warningsOf('{endpoints: {verdict: true}}'), [
    'proxy.endpoints.verdict: believes nobody: name the front that asks in trusted_proxies',
  ]);
  assert.deepEqual(warningsOf('{endpoints: {verdict: true}, trusted_proxies: [127.0.0.1]}'), []);
});
