// Moments: what a date in the configuration means, and which texts are none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMoment, parseMoment } from '../../src/core/units.ts';

test('a date is its first moment in UTC, and a time says its zone', () => {
  assert.equal(parseMoment('2026-12-31'), Date.UTC(2026, 11, 31));
  assert.equal(parseMoment('2028-02-29'), Date.UTC(2028, 1, 29));
  assert.equal(parseMoment('2026-12-31T18:00:00Z'), Date.UTC(2026, 11, 31, 18));
  assert.equal(parseMoment('2026-12-31T18:00:00+01:00'), Date.UTC(2026, 11, 31, 17));
});

test('what is no moment for everybody, or no day at all, is refused', () => {
  for (const text of [
    '',
    '2026',
    '2026-12',
    '31.12.2026',
    '2026-13-01',
    '2026-02-29',
    '2026-04-31',
    '2026-12-31T18:00',
    '2026-12-31T18:00:00',
    '2026-12-31T25:00:00Z',
    '2026-12-31T18:00:00+25:00',
    '2026-12-31 ',
    'tomorrow',
  ])
    assert.equal(parseMoment(text), undefined, text);
});

test('a moment is printed as people write it', () => {
  assert.equal(formatMoment(Date.UTC(2026, 11, 31)), '2026-12-31');
  assert.equal(formatMoment(Date.UTC(2026, 11, 31, 17, 30)), '2026-12-31T17:30:00Z');
});
