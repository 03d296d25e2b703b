import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { DeniedKeys } from '../../src/limits/denied.ts';
import { isRefused, limitFields } from '../../src/limits/fields.ts';
import { LocalLimits, localShare } from '../../src/limits/local.ts';
import { MemoryChecks } from '../../src/stores/memory/checks.ts';
import { charges, planOf } from './fixtures.ts';

const START = 1_700_000_400_000;

test('attack 104: each limit goes its own way without the store: local share, allow, deny', async () => {
  const local = new LocalLimits(new MemoryChecks({ clock: systemClock, head: () => undefined }), () => 3);
  const plan = planOf({
    counted: { key: 'ip', rate: '4/1m' },
    open: { key: 'ip', rate: '1/1m', on_store_down: 'allow' },
  });
  const { charges: list } = charges(plan, '192.0.2.1');
  const answers = [];
  for (let n = 0; n < 3; n += 1) answers.push(await local.decide(list, START));
  assert.deepEqual(
    answers.map((states) => typeof states !== 'string' && isRefused(list, states)),
    [false, false, true],
  );
  assert.match(limitFields(list, answers[2] as readonly number[]).rateLimit ?? '', /^"counted";r=0;t=\d+$/);
  const closed = planOf({
    closed: { key: 'ip', rate: '1/1m', on_store_down: 'deny' },
    open: { key: 'ip', rate: '1/1m' },
  });
  assert.equal(await local.decide(charges(closed, '192.0.2.1').charges, START), 'deny');
  const shadow = planOf({ s: { key: 'ip', rate: '1/1m', on_store_down: 'deny', mode: 'shadow' } });
  assert.deepEqual(await local.decide(charges(shadow, '192.0.2.1').charges, START), [Number.NaN, Number.NaN]);
});

test('a local share is at least one, and shares together never fall below the limit', () => {
  assert.deepEqual([localShare(10, 3), localShare(1, 50), localShare(10, 0), localShare(9, 3)], [4, 1, 10, 3]);
});

test('a change of the replica count takes effect at once and keeps the count', async () => {
  let replicas = 1;
  const local = new LocalLimits(new MemoryChecks({ clock: systemClock, head: () => undefined }), () => replicas);
  const { charges: list } = charges(planOf({ a: { key: 'ip', rate: '4/1m' } }), '192.0.2.1');
  assert.deepEqual((await local.decide(list, START))[0], 3);
  replicas = 2;
  assert.deepEqual((await local.decide(list, START))[0], 0);
});

test('a key over its limit is refused from memory for at most a second and never past its reset', () => {
  let now = 1000;
  const denied = new DeniedKeys({ monotonicMs: () => now });
  const plan = planOf({ a: { key: 'ip', rate: '5/1m' }, b: { key: 'ip', rate: '5/1m' } });
  const { charges: list } = charges(plan, '192.0.2.1');
  const other = charges(plan, '192.0.2.2').charges;
  assert.equal(denied.refuses(list), undefined);
  denied.remember(list, [3, 60_000, -1, 30_000]);
  now += 400;
  assert.deepEqual(denied.refuses(list), [Number.NaN, Number.NaN, -1, 29_600]);
  assert.equal(denied.refuses(other), undefined);
  now += 600;
  assert.equal(denied.refuses(list), undefined, 'after a second the store is asked');
  denied.remember(list, [-1, 250, 1, 60_000]);
  now += 249;
  assert.deepEqual(denied.refuses(list)?.slice(0, 2), [-1, 1]);
  now += 1;
  assert.equal(denied.refuses(list), undefined, 'never past the moment it could pass');
});

test('a remembered refusal is forgotten on reset and on reload, and shadow limits are never remembered', () => {
  const denied = new DeniedKeys({ monotonicMs: () => 5 });
  const { charges: list } = charges(planOf({ a: { key: 'ip', rate: '5/1m' } }), '192.0.2.1');
  denied.remember(list, [-1, 900]);
  denied.forget(list[0]?.key as string);
  assert.equal(denied.refuses(list), undefined);
  denied.remember(list, [-1, 900]);
  denied.clear();
  assert.equal(denied.refuses(list), undefined);
  const { charges: shadow } = charges(planOf({ s: { key: 'ip', rate: '5/1m', mode: 'shadow' } }), '192.0.2.1');
  denied.remember(shadow, [-1, 900]);
  assert.equal(denied.refuses(shadow), undefined);
});
