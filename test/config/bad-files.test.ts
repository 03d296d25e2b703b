// One mistake per file under test/fixtures/config/bad, each with the exact words that an operator reads.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { configEnvironment } from '../support/config-keys.ts';

const folder = new URL('../fixtures/config/bad/', import.meta.url);
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => file.slice(0, -'.yaml'.length));

/** Mistakes whose name in the attack or reference list must stay findable. */
const rows: Readonly<Record<string, string>> = {
  'trusted-proxies-zero-v4': 'attack 42: ',
  'trusted-proxies-zero-v6': 'attack 42: ',
  'trusted-proxies-zero-mapped': 'attack 42: ',
  'limit-rate-zero': 'attack 111: ',
  'limit-rate-negative': 'attack 111: ',
  'limit-rate-nan': 'attack 111: ',
  'limit-rate-huge': 'attack 111: ',
  'secret-unset': 'attack 130: ',
  'secret-empty': 'attack 130: ',
  'secret-file-missing': 'attack 130: ',
  'secret-placeholder': 'H16: ',
  'secret-regular': 'K23: ',
};

for (const name of names) {
  test(`${rows[name] ?? ''}${name.replaceAll('-', ' ')} is refused with its place and reason`, () => {
    const bytes = readFileSync(new URL(`${name}.yaml`, folder));
    const expected = readFileSync(new URL(`${name}.txt`, folder), 'utf8').trimEnd();
    assert.throws(
      () => parseConfig({ bytes, file: `${name}.yaml`, env: configEnvironment }),
      (error: unknown) => {
        assert.ok(error instanceof ConfigError);
        assert.equal(error.message, expected);
        return true;
      },
    );
  });
}

test('every expectation has its file', () => {
  const expectations = readdirSync(folder).filter((file) => file.endsWith('.txt'));
  assert.deepEqual(
    expectations,
    names.map((name) => `${name}.txt`),
  );
  assert.ok(names.length > 170);
});
