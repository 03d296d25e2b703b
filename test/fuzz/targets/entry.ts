// What Redis holds of a revocation: an entry that is written the same again, or store_unavailable.
import assert from 'node:assert/strict';
import { SidecarError } from '../../../src/core/errors.ts';
import { decodeEntry, encodeDraft } from '../../../src/stores/redis/entries.ts';
import type { Target } from '../engine.ts';

/** Never another exception, and no entry with a hole. */
export const target: Target = {
  name: 'entry',
  files: /src\/stores\/redis\/entries|src\/stores\/contracts\/entry-id/,
  seeds: [
    '1:1700000000000:{"kind":"token","issuer":"https://id.test/","id":"j","untilMs":1700000300000,"reason":"x"}',
    '2:0:{"kind":"subject","issuer":"","id":"s","untilMs":"forever","notBeforeMs":1,"reason":""}',
  ],
  words: [
    '"kind":"key"',
    '"untilMs":"forever"',
    '"notBeforeMs":',
    'null',
    '1e20',
    '-1',
    '9007199254740993',
    ':',
    '{',
    '}',
    '"id":[]',
    '\\u0000',
    '"tenant"',
    '99999999999999999',
  ],
  maxBytes: 400,
  check(input) {
    let entry: ReturnType<typeof decodeEntry>;
    try {
      entry = decodeEntry(input.toString('utf8'));
    } catch (error) {
      assert.ok(error instanceof SidecarError && error.kind === 'store_unavailable', String(error));
      return;
    }
    assert.ok(Number.isSafeInteger(entry.seq) && Number.isSafeInteger(entry.revokedAtMs));
    assert.ok(entry.untilMs === 'forever' || Number.isSafeInteger(entry.untilMs));
    assert.deepEqual(decodeEntry(`${entry.seq}:${entry.revokedAtMs}:${encodeDraft(entry)}`), entry);
  },
};
