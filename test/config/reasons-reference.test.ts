// The page of reasons is what the table makes of it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { reasonsReference } from '../../src/config/reasons-reference.ts';

test('docs/reasons.md is generated from core/reasons.ts: run `npm run schema` after a change', () => {
  const committed = readFileSync(new URL('../../docs/reasons.md', import.meta.url), 'utf8');
  assert.equal(committed, reasonsReference());
});
