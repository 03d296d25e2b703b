// The properties of the fuzz targets, for inputs that fast-check makes: bytes, words of the format in any order, and the seeds
// with pieces cut out, doubled or exchanged. test/fuzz/run.ts goes on from here with coverage.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Target } from '../fuzz/engine.ts';
import { loadTarget, targetNames } from '../fuzz/targets.ts';

const RUNS: Readonly<Record<string, number>> = { config: 150, answer: 800 };

function inputsOf({ seeds, words, maxBytes }: Target): fc.Arbitrary<Buffer> {
  const word = fc.constantFrom(...words).map((text) => Buffer.from(text, 'latin1'));
  const bytes = fc.uint8Array({ maxLength: 30 }).map((given) => Buffer.from(given));
  const seed = fc.constantFrom(...seeds).map((given) => Buffer.from(given));
  const pieces = fc.array(fc.oneof(word, word, bytes), { maxLength: 20 }).map((given) => Buffer.concat(given));
  const changed = fc
    .tuple(seed, fc.nat(), fc.nat(40), fc.oneof(word, bytes, fc.constant(Buffer.alloc(0))))
    .map(([from, where, length, put]) => {
      const at = where % (from.length + 1);
      return Buffer.concat([from.subarray(0, at), put, from.subarray(at + length)]);
    });
  const crossed = fc
    .tuple(changed, changed, fc.nat(), fc.nat())
    .map(([one, other, a, b]) =>
      Buffer.concat([one.subarray(0, a % (one.length + 1)), other.subarray(b % (other.length + 1))]),
    );
  return fc.oneof(pieces, changed, changed, crossed).map((input) => input.subarray(0, maxBytes));
}

for (const name of targetNames) {
  test(`${name}: what its fuzz target demands holds for whatever fast-check makes`, async () => {
    const target = await loadTarget(name);
    let longest = 0;
    fc.assert(
      fc.property(inputsOf(target), (input) => {
        longest = Math.max(longest, input.length);
        target.check(input);
      }),
      { numRuns: RUNS[name] ?? 2000 },
    );
    assert.ok(longest > 10);
  });
}
