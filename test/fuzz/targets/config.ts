// The configuration loader: whatever the bytes, a configuration or a ConfigError that says where; and one that loads is
// printed as it was understood, without a secret.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { parseConfig } from '../../../src/config/load.ts';
import { ConfigError } from '../../../src/config/problem.ts';
import type { Target } from '../engine.ts';

const examples = new URL('../../../config/examples/', import.meta.url);
const seeds = readdirSync(examples)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => readFileSync(new URL(name, examples)));
const env = { DOORWARD_FUZZ: 'x', REDIS_URL: 'redis://127.0.0.1:6379', DATABASE_URL: 'postgres://u:p@127.0.0.1/db' };

/** The examples are the seeds. */
export const target: Target = {
  name: 'config',
  files: /src\/config\//,
  seeds: [...seeds, 'version: 1\n', '{}', 'a: &a [*a]', 'a: &a\n  b: *a\n'],
  words: [
    '\n', '  ', ': ', '- ', '{', '}', '[', ']', '&a ', '*a', '<<: *a', '!!binary ', '? ', '| ', '>-\n', '"', "'", '#', '---\n', '...\n', '%YAML 1.1\n---\n', '\t', '\0', '\xff', '~', 'null',
    'true', '.inf', '.nan', '0x10', '1e999', '-1', '10s', '1MiB', '0ms', '100/1m', 'routes:', 'upstreams:', 'issuers:', 'limits:', 'match:', 'prefix: /', 'auth: none', 'keys:', 'env: DOORWARD_FUZZ',
    'file: /etc/passwd', 'value: x', '__proto__: 1', 'constructor: 1', 'http://127.0.0.1:1', 'https://', '0.0.0.0/0', 'relax: [double_slash]', 'version: 1', 'name: a', 'toString', '\u2028',
  ], // biome-ignore format: a word list
  maxBytes: 6000,
  check(input) {
    try {
      const loaded = parseConfig({ bytes: input, file: '/nowhere/sidecar.yaml', env });
      assert.ok(Object.keys(loaded.config.routes).length > 0);
      assert.equal(JSON.stringify(loaded.effective).includes('u:p@'), false);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      assert.ok(error.problems.length > 0);
      for (const { place, message } of error.problems)
        assert.ok(place !== '' && message !== '', `${place}: ${message}`);
    }
  },
};
