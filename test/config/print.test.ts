import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { printConfig } from '../../src/config/print.ts';
import { configEnvironment } from '../support/config-keys.ts';
import { parseText, SMALLEST } from '../support/config-text.ts';

const env = { ...configEnvironment };

test('the print has every default, and says where each value came from', () => {
  const lines = printConfig(parseText(SMALLEST, { DOORWARD__LOG__LEVEL: 'warn' }), { withSources: true }).split('\n');
  for (const line of [
    '  listen: 0.0.0.0:8080 # default',
    '    url: http://127.0.0.1:3000 # sidecar.yaml:2:24',
    '  level: warn # DOORWARD__LOG__LEVEL',
    '    body_size: 10MiB # default (from defaults.body_size)',
    '    audience: [ api ] # sidecar.yaml:3:63',
  ]) {
    assert.ok(lines.includes(line), line);
  }
});

test('attack 129: written secrets are masked, references stay', () => {
  const text = `name: shop\n${SMALLEST}redis: {url: {value: "redis://:geheim@redis"}, tls: {ca: {env: CA}}}\n`;
  const loaded = parseText(text.replace('redis://', 'rediss://'), { CA: '-----BEGIN CERTIFICATE-----' });
  for (const withSources of [true, false]) {
    const printed = printConfig(loaded, { withSources });
    assert.ok(!printed.includes('geheim'));
    assert.match(printed, /value: "\[secret\]"/);
    assert.match(printed, /env: CA/);
  }
});

const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/);
const text = fc
  .oneof(fc.constantFrom('yes', '12', '', 'null', '# x', 'a: b', '*a', "it's", 'é "q"'), fc.string())
  .map((t) => `x${t}`);
const rate = fc.tuple(fc.integer({ min: 1, max: 999 }), fc.integer({ min: 1, max: 300 })).map(([n, s]) => `${n}/${s}s`);
const duration = fc
  .tuple(fc.integer({ min: 1, max: 999 }), fc.constantFrom('ms', 's'))
  .map(([n, unit]) => `${n}${unit}`);
const limit = fc.record(
  {
    key: fc.oneof(
      fc.constantFrom('ip', 'route', 'client'),
      fc.array(fc.record({ claim: fc.oneof(text, fc.array(text, { minLength: 1 })) }), { minLength: 1 }),
    ),
    rate: fc.oneof(
      rate,
      rate.map((one) => [one]),
    ),
    mode: fc.constantFrom('enforce', 'shadow'),
    shared: fc.boolean(),
    exempt: fc.array(fc.ipV4()),
  },
  { requiredKeys: ['key', 'rate'] },
);
const route = fc.record(
  {
    auth: fc.constantFrom('required', 'optional'),
    credentials: fc.constantFrom(['bearer'], ['bearer', 'websocket'], [{ header: 'X-Token' }, { query: 'token' }]),
    cors: fc.constantFrom('off', 'pass', { origins: ['https://app.example.com'] }),
    require: fc.record({
      roles: fc.oneof(fc.array(text, { minLength: 1 }), fc.record({ any: fc.array(text, { minLength: 1 }) })),
    }),
    idle_timeout: duration,
  },
  { requiredKeys: [] },
);
const file = fc.record(
  {
    version: fc.constant(1),
    name,
    upstreams: fc.dictionary(name, fc.record({ url: fc.constant('http://127.0.0.1:3000'), queue: fc.nat(), queue_timeout: duration }), { minKeys: 1, maxKeys: 1 }),
    issuers: fc.dictionary(name, fc.record({ issuer: fc.constant('https://id.example.com/'), audience: fc.oneof(text, fc.array(text, { minLength: 1 })), require: fc.dictionary(text, fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null))) }), { minKeys: 1, maxKeys: 1 }),
    limits: fc.dictionary(name, limit, { maxKeys: 3 }),
    routes: fc.dictionary(name, route, { minKeys: 1, maxKeys: 4 }).map((routes) =>
      Object.fromEntries(Object.entries(routes).map(([key, value]) => [key, { ...value, match: { prefix: `/${key}/` } }])),
    ),
    redis: fc.constant({ url: { env: 'REDIS_URL' } }),
  },
  { requiredKeys: ['version', 'name', 'upstreams', 'issuers', 'routes'] },
); // biome-ignore format: a grammar

test('loading what was printed gives the same configuration', () => {
  fc.assert(
    fc.property(file, fc.boolean(), (tree, withSources) => {
      const loaded = parseText(stringify(tree), env);
      const again = parseText(printConfig(loaded, { withSources }), env);
      assert.deepEqual(again.config, loaded.config);
      assert.equal(again.hash, loaded.hash);
      assert.equal(printConfig(again), printConfig(loaded));
    }),
    { numRuns: 100 },
  );
});
