// The machine's clock is set while tokens are revoked: nothing that was revoked lives again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { steadyWall } from '../../src/core/clock.ts';
import { RevocationFollower } from '../../src/revocation/follower.ts';
import { RevocationIndex } from '../../src/revocation/index.ts';
import { MemoryRevocations } from '../../src/stores/memory/revocations.ts';
import { draft } from '../conformance/revocations.ts';
import { until } from './until.ts';

const HOUR_MS = 3_600_000;
const START_MS = Date.now();

/** A clock that a test sets. */
function settableClock() {
  const at = { passedMs: 0, aheadMs: 0 };
  return { at, nowMs: () => START_MS + at.passedMs + at.aheadMs, monotonicMs: () => at.passedMs };
}

async function replica(clock: ReturnType<typeof settableClock>) {
  const index = new RevocationIndex();
  const log = new MemoryRevocations({ nowMs: () => START_MS });
  const settings = { onStoreDown: 'known', knownForMs: 60_000, waitMs: 500 } as const;
  const follower = new RevocationFollower({ log, index, clock, ...settings });
  await follower.start();
  const revoke = (id: string, untilMs: number) => follower.revoke({ ...draft(id), untilMs });
  const ids = () => [...index.entries()].map(({ id }) => id);
  return { revoke, ids, [Symbol.asyncDispose]: () => follower[Symbol.asyncDispose]() };
}

test('a clock that was ahead for a while makes no replica forget what was revoked', async () => {
  const clock = settableClock();
  await using it = await replica(clock);
  await it.revoke('soon over', START_MS + 1000);
  await it.revoke('stolen', START_MS + HOUR_MS / 2);
  clock.at.passedMs = 2000;
  clock.at.aheadMs = HOUR_MS;
  await until(async () => !it.ids().includes('soon over'));
  assert.deepEqual(it.ids(), ['stolen']);
});

test('a clock that was ahead from the start and is set right brings back what it made a replica forget', async () => {
  const clock = settableClock();
  clock.at.aheadMs = HOUR_MS;
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
