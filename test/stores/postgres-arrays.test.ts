// Arrays in PostgreSQL's text form: whatever the texts, PostgreSQL gives back what it was given.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseTextArray, textArrayOf } from '../../src/stores/postgres/arrays.ts';
import { openTestDatabase } from '../support/postgres-server.ts';

const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('', 'NULL', 'null', '"', '\\', '{', '}', ',', ' ', '\n', '{}', 'a"b\\c,d', '\u00a0', '\u2003', '\t'),
);

test('what is written is read back, without a server', () => {
  fc.assert(fc.property(fc.array(text), (values) => assert.deepEqual(parseTextArray(textArrayOf(values)), values)));
});

test('a real PostgreSQL gives back the same texts and numbers', async () => {
  await using database = await openTestDatabase();
  const pool = database.open();
  const both = async (texts: readonly string[], numbers: readonly number[]) =>
    (
      await pool.run('test', (sql) => sql`select ${[...texts]}::text[] as texts, ${[...numbers]}::bigint[] as numbers`)
    )[0];
  const printable = text.map((value) => value.replaceAll('\0', ''));
  await fc.assert(
    fc.asyncProperty(fc.array(printable), fc.array(fc.maxSafeInteger()), async (texts, numbers) => {
      assert.deepEqual({ ...(await both(texts, numbers)) }, { texts, numbers });
    }),
    { numRuns: 50 },
  );
});

test('NULL elements, further dimensions and what is no array are errors', () => {
  for (const bad of ['', 'a', '{', '{NULL}', '{a,NULL}', '{{a},{b}}', '{a,}', '{a b}', '{"a}']) {
    assert.throws(() => parseTextArray(bad), RangeError, bad);
  }
});
