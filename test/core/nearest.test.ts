import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPath } from '../../src/config/places.ts';
import { editDistance, nearestName } from '../../src/core/nearest.ts';

test('insertions, deletions, replacements and swaps count one each', () => {
  const pairs: readonly (readonly [string, string, number])[] = [
    ['', 'abc', 3],
    ['listen', 'listn', 1],
    ['listen', 'lisetn', 1],
    ['kitten', 'sitting', 3],
    ['same', 'same', 0],
  ];
  for (const [a, b, distance] of pairs) {
    assert.equal(editDistance(a, b), distance);
    assert.equal(editDistance(b, a), distance);
  }
});

test('a name is suggested when it is near, and none when nothing is', () => {
  assert.equal(nearestName('Listen', ['keep_alive', 'listen']), 'listen');
  assert.equal(nearestName('wibble', ['keep_alive', 'listen']), undefined);
  assert.equal(nearestName('x'.repeat(1000), ['x']), undefined);
  assert.equal(nearestName('x', []), undefined);
  assert.equal(nearestName('NOPE', ['HOME']), 'HOME');
  assert.equal(nearestName('NOPE', ['HOME'], 1 / 4), undefined);
  assert.equal(nearestName('DATABASE_URI', ['HOME', 'DATABASE_URL'], 1 / 4), 'DATABASE_URL');
});

test('paths read unambiguously', () => {
  assert.equal(formatPath([]), '');
  assert.equal(formatPath(['routes', 'api', 'limits', 0]), 'routes.api.limits[0]');
  assert.equal(formatPath(['issuers', 'a', 'require', 'https://a.b/c']), 'issuers.a.require["https://a.b/c"]');
  assert.notEqual(formatPath(['a.b']), formatPath(['a', 'b']));
});
