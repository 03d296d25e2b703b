// Ids that people type on command lines.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestId } from '../../src/core/ids.ts';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';

test('request ids are distinct, 20 characters long, and none looks like an option', () => {
  const ids = Array.from({ length: 5000 }, requestId);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[A-Za-z0-9_.]{20}$/);
});

test('entry ids never look like an option, and differ by every part', () => {
  const ids = Array.from({ length: 500 }, (_unused, at) => revocationEntryId('subject', 'https://id.test/', `s${at}`));
  for (const id of ids) assert.match(id, /^r[A-Za-z0-9_-]{43}$/);
  assert.notEqual(revocationEntryId('subject', 'a', 'b'), revocationEntryId('client', 'a', 'b'));
  assert.notEqual(revocationEntryId('subject', 'a', 'b'), revocationEntryId('subject', 'ab', ''));
});
