import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefused, legacyFields, limitFields } from '../../src/limits/fields.ts';
import { charges, planOf } from './fixtures.ts';

const plan = planOf({
  per_ip: { key: 'ip', rate: ['20/1m', '100/1h'] },
  watch: { key: 'ip', rate: '1/1m', mode: 'shadow' },
  per_client: { key: 'client', rate: '100/90s' },
});
const of = () => charges(plan, '192.0.2.1');

test('attack 106: policy and state are Lists of Strings with Integer parameters, in the current draft form', () => {
  const { charges: list, policy } = of();
  assert.equal(policy, '"per_ip";q=20;w=60, "per_ip_2";q=100;w=3600, "per_client";q=100;w=90');
  const fields = limitFields(list, [19, 59_001, 99, 3_000_000, -1, 60_000, 0, 12_000]);
  assert.deepEqual(fields, {
    rateLimit: '"per_ip";r=19;t=60, "per_ip_2";r=99;t=3000, "per_client";r=0;t=12',
    retryAfter: undefined,
    violated: [],
  });
  assert.equal(isRefused(list, [19, 1, 99, 1, -1, 1, 0, 1]), false, 'a shadow limit refuses nobody');
});

test('attack 106: Retry-After is at least 1, and never earlier than any t beside it', () => {
  const { charges: list } = of();
  const states = [-1, 1500, 50, 3_000_000, -1, 60_000, -1, 12_001];
  assert.deepEqual(limitFields(list, states), {
    rateLimit: '"per_ip";r=0;t=2, "per_ip_2";r=50, "per_client";r=0;t=13',
    retryAfter: 13,
    violated: ['per_ip', 'per_client'],
  });
  assert.equal(isRefused(list, states), true);
  assert.equal(limitFields(list, [-1, 1, 5, 5, 5, 5, 5, 5]).retryAfter, 1);
});

test('attack 108: neither field ever shows a partition key, an address or a client', () => {
  const { charges: list, policy } = of();
  const shown = `${policy} ${limitFields(list, [1, 1, 1, 1, 1, 1, 1, 1]).rateLimit}`;
  assert.doesNotMatch(shown, /pk=|192\.0|billing/);
});

test('unknown states are left out, and no limits mean no field', () => {
  const { charges: list } = of();
  assert.equal(
    limitFields(list, [Number.NaN, Number.NaN, Number.NaN, 0, 1, 1, -1, 500]).rateLimit,
    '"per_client";r=0;t=1',
  );
  assert.deepEqual(limitFields([], []), { rateLimit: undefined, retryAfter: undefined, violated: [] });
});

test('X-RateLimit has room for one rate: the one with the least left, shadow limits aside', () => {
  const { charges: list } = of();
  assert.deepEqual(legacyFields(list, [19, 59_001, 99, 3_000_000, -1, 60_000, 20, 12_000]), {
    limit: 20,
    remaining: 19,
    reset: 60,
  });
  assert.deepEqual(legacyFields(list, [19, 1000, 7, 3_000_000, 0, 1, 20, 12_000]), {
    limit: 100,
    remaining: 7,
    reset: 3000,
  });
  assert.deepEqual(legacyFields(list, [5, 1000, 5, 9000, 0, 1, 5, 2000]), { limit: 100, remaining: 5, reset: 9 });
});

test('X-RateLimit of a refusal is the rate that refuses longest, and never resets before Retry-After', () => {
  const { charges: list } = of();
  const states = [-1, 1500, 0, 3_000_000, -1, 60_000, -1, 12_001];
  assert.deepEqual(legacyFields(list, states), { limit: 100, remaining: 0, reset: 13 });
  assert.equal(limitFields(list, states).retryAfter, 13);
});

test('X-RateLimit leaves out what nobody knows', () => {
  const { charges: list } = of();
  const unknown = Number.NaN;
  assert.deepEqual(legacyFields(list, [unknown, 0, unknown, 0, 0, 1, 3, 500]), { limit: 100, remaining: 3, reset: 1 });
  assert.equal(legacyFields(list, [unknown, 0, unknown, 0, 0, 1, unknown, 0]), undefined);
  assert.equal(legacyFields([], []), undefined);
});
