// The machine's clock is set while tokens are revoked: nothing that was revoked lives again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { steadyWall } from '../../src/core/clock.ts';
import { RevocationFollower } from '../../src/revocation/follower.ts';
import { RevocationIndex } from '../../src/revocation/index.ts';
import { KEPT_AFTER_MS } from '../../src/stores/contracts/revocations.ts';
import { MemoryRevocations } from '../../src/stores/memory/revocations.ts';
import { draft } from '../conformance/revocations.ts';
import { until } from './until.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const START_MS = Date.now();

/** A clock that a test sets. */
function settableClock() {
  const at = { passedMs: 0, aheadMs: 0 };
  return { at, nowMs: () => START_MS + at.passedMs + at.aheadMs, monotonicMs: () => at.passedMs };
}

/** `logMs`: the clock of the store. */
async function replica(clock: ReturnType<typeof settableClock>, logMs = () => START_MS) {
  const index = new RevocationIndex();
  const log = new MemoryRevocations({ nowMs: logMs });
  const settings = { onStoreDown: 'known', knownForMs: 60_000, waitMs: 500 } as const;
  const setBackMs: number[] = [];
  const onSetBack = (ms: number) => void setBackMs.push(ms);
  let asked = 0;
  const timeMs = () => {
    asked += 1;
    return MemoryRevocations.prototype.timeMs.call(log);
  };
  const follower = new RevocationFollower({
    log: Object.assign(log, { timeMs }),
    index,
    clock,
    onSetBack,
    ...settings,
  });
  await follower.start();
  const revoke = (id: string, untilMs: number) => follower.revoke({ ...draft(id), untilMs });
  const ids = () => [...index.entries()].map(({ id }) => id);
  const reread = () => asked;
  return {
    revoke,
    ids,
    setBackMs,
    reread,
    time: follower.time,
    [Symbol.asyncDispose]: () => follower[Symbol.asyncDispose](),
  };
}

test('a clock that was ahead for a while makes no replica forget what was revoked', async () => {
  const clock = settableClock();
  await using it = await replica(clock);
  await it.revoke('soon over', START_MS + 1000);
  await it.revoke('stolen', START_MS + HOUR_MS / 2);
  clock.at.passedMs = KEPT_AFTER_MS + 2000;
  clock.at.aheadMs = HOUR_MS;
  await until(async () => !it.ids().includes('soon over'));
  assert.deepEqual(it.ids(), ['stolen']);
});

test('an entry is kept beyond its end for as long as a clock may have been wrong', async () => {
  const clock = settableClock();
  await using it = await replica(clock);
  await it.revoke('over', START_MS + 1000);
  clock.at.passedMs = KEPT_AFTER_MS;
  await until(async () => it.time.sweep().forgetMs === START_MS);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.deepEqual(it.ids(), ['over']);
  clock.at.passedMs = KEPT_AFTER_MS + 1000;
  await until(async () => it.ids().length === 0);
});

test('a clock that was far ahead from the start and is set right brings back what it made a replica forget', async () => {
  const clock = settableClock();
  clock.at.aheadMs = HOUR_MS + KEPT_AFTER_MS;
  await using it = await replica(clock);
  await it.revoke('stolen', START_MS + HOUR_MS / 2);
  await until(async () => it.ids().length === 0);
  clock.at.aheadMs = 0;
  await until(async () => it.ids().includes('stolen'));
});

test('steady time goes on with a clock, back with it, and never ahead with it', () => {
  const clock = settableClock();
  const steadyMs = steadyWall(clock);
  const shown = () => steadyMs() - START_MS;
  assert.equal(shown(), 0);
  clock.at.passedMs = 10;
  assert.equal(shown(), 10);
  clock.at.aheadMs = HOUR_MS;
  assert.equal(shown(), 10);
  clock.at.aheadMs = -HOUR_MS;
  assert.equal(shown(), 10 - HOUR_MS);
});

test('tokens that had expired stay expired when the clock is set back: what would refuse a revoked one is forgotten', async () => {
  const clock = settableClock();
  await using it = await replica(clock, () => START_MS + clock.at.passedMs);
  await it.revoke('stolen', START_MS + 1000);
  clock.at.passedMs = KEPT_AFTER_MS + 5000;
  await until(async () => it.ids().length === 0);
  clock.at.aheadMs = -DAY_MS;
  await until(async () => it.setBackMs.length > 0);
  assert.equal(it.time.tokenMs(), START_MS + 5000, 'before everything is read anew');
  await until(async () => it.reread() > 0);
  assert.equal(it.time.tokenMs(), START_MS + 5000, 'and afterwards: the log has forgotten it, too');
  assert.deepEqual(it.setBackMs, [DAY_MS]);
  clock.at.passedMs += 2 * DAY_MS;
  assert.equal(it.time.tokenMs(), clock.nowMs(), 'the clock has caught up');
});

test('tokens expire by a clock that was ahead from the start once it is set right and everything is read anew', async () => {
  const clock = settableClock();
  clock.at.aheadMs = DAY_MS;
  await using it = await replica(clock, () => START_MS);
  await until(async () => it.time.tokenMs() === clock.nowMs());
  clock.at.passedMs = 3000;
  await until(async () => it.time.sweep().forgetMs > START_MS + DAY_MS - KEPT_AFTER_MS);
  clock.at.aheadMs = 0;
  assert.ok(it.time.tokenMs() > START_MS + DAY_MS - KEPT_AFTER_MS, 'until then what expired meanwhile may be missing');
  await until(async () => it.time.tokenMs() === clock.nowMs());
});
