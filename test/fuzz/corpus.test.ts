// Every input that the fuzzer kept, and every seed, once: what was found stays found, without the fuzzer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCorpus } from './corpus.ts';
import { loadTarget, targetNames } from './targets.ts';

for (const name of targetNames) {
  test(`the kept inputs of ${name} all pass`, async () => {
    const target = await loadTarget(name);
    const kept = readCorpus(name);
    assert.ok(kept.length > 0, 'a corpus that is empty tests nothing');
    for (const seed of target.seeds) target.check(Buffer.from(seed));
    for (const { name: file, input } of kept) {
      assert.doesNotThrow(() => target.check(input), `${name}/${file}`);
    }
  });
}
