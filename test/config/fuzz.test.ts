// Whatever stands in the file or the environment: a configuration or a ConfigError, nothing else, and no blind message.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { parseConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { sidecarSchema } from '../../src/config/schema.ts';
import { fieldNames, schemaAt } from '../../src/config/shape.ts';
import { configEnvironment } from '../support/config-keys.ts';
import { SMALLEST } from '../support/config-text.ts';

function survives(bytes: Uint8Array, env: Record<string, string> = {}): void {
  try {
    parseConfig({ bytes, file: 'fuzz.yaml', env: { ...configEnvironment, ...env } });
  } catch (error) {
    assert.ok(error instanceof ConfigError, String((error as Error).stack));
    assert.ok(error.problems.length > 0);
    assert.doesNotMatch(error.message, /Invalid|undefined|\[object/);
  }
}

const text = (value: string) => Buffer.from(value);

test('arbitrary bytes never break the loader', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => survives(bytes)),
    { numRuns: 500 },
  );
});

test('arbitrary text of YAML never breaks the loader', () => {
  const pieces = fc.constantFrom(
    ...'{}[]:,-?&*!|>%@`#"\'\\ \n\tab1~.<='.split(''),
    'version: 1\n',
    '&a ',
    '*a',
    '---\n',
    '!!map ',
    '<<: ',
    '0x1',
    '.nan',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 60 }), (parts) => survives(text(parts.join('')))),
    { numRuns: 1500 },
  );
});

test('arbitrary values under known settings never break the loader', () => {
  const sections = fieldNames(sidecarSchema);
  const deeper = sections.flatMap((section) => fieldNames(schemaAt(sidecarSchema, [section, 'x']) ?? sidecarSchema));
  const key = fc.oneof(
    fc.constantFrom(...sections, ...deeper, 'constructor', 'toString', '__proto__', 'x'),
    fc.string(),
  );
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.oneof(
        fc.constantFrom('1', '20/1m', '30s', '/', 'ip', 'http://127.0.0.1:1', 'required', 'none'),
        fc.string(),
        fc.double(),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
      ),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(key, tie('tree'), { maxKeys: 5 }),
    ),
  }));
  const file = fc.dictionary(fc.constantFrom(...sections), tree, { maxKeys: 6 });
  fc.assert(
    fc.property(file, (value) => survives(text(stringify({ version: 1, ...value })))),
    { numRuns: 1000 },
  );
});

test('a good file with one value exchanged never breaks the loader', () => {
  const good = readFileSync(new URL('../../config/examples/fleet-sidecar.yaml', import.meta.url), 'utf8');
  const words = [...good.matchAll(/[\w./:-]+/g)].map((match) => match.index);
  const other = fc.constantFrom(
    '~',
    '[]',
    '{}',
    '-1',
    '"',
    '1e999',
    '__proto__',
    '*x',
    '!x',
    'constructor',
    '0',
    '""',
    '\u{1F600}',
    '[[]]',
  );
  fc.assert(
    fc.property(fc.constantFrom(...words), other, (at, word) => {
      survives(text(good.slice(0, at) + good.slice(at).replace(/^[\w./:-]+/, word)));
    }),
    { numRuns: 500 },
  );
});

test('arbitrary variables never break the loader', () => {
  const words = [
    ...fieldNames(sidecarSchema),
    'listen',
    'all',
    'match',
    'app',
    'url',
    'env',
    '0',
    '7',
    '',
    'constructor',
    '__proto__',
    'x',
  ];
  const name = fc.array(fc.constantFrom(...words.map((word) => word.toUpperCase())), { minLength: 1, maxLength: 5 });
  const value = fc.oneof(fc.string(), fc.constantFrom('', '{', '[', '*a', '&a', '"', '1', 'true', '- a'));
  fc.assert(
    fc.property(
      fc.dictionary(
        name.map((parts) => `DOORWARD__${parts.join('__')}`),
        value,
        { maxKeys: 4 },
      ),
      (env) => survives(text(SMALLEST), env),
    ),
    { numRuns: 800 },
  );
});

test('depth, width and size are bounded', () => {
  survives(text('['.repeat(500_000)));
  survives(text(`version: ${'{a: '.repeat(20_000)}`));
  survives(text(`${SMALLEST}${'#'.repeat(1024 * 1024)}`));
  survives(text('- '.repeat(100_000)));
  survives(text(`&a [${'*a,'.repeat(1000)}]`));
  assert.equal(Object.getPrototypeOf({}), Object.prototype);
});
