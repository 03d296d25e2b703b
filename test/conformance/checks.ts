// What every CheckStore must do, told as tests. Names no backend; the rest of the house may rely on nothing else.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { digest } from '../../src/core/encoding.ts';
import { randomId } from '../../src/core/ids.ts';
import type { Charge, CheckStore, RateStates } from '../../src/stores/contracts/checks.ts';

/** An opened backend: two handles on one store, and ways to cut it off. */
export interface OpenedChecks extends AsyncDisposable {
  readonly store: CheckStore;
  /** Another replica's handle on the same data (the same one where there can be only one). */
  readonly other: CheckStore;
}

/** A moment at the start of a window of every length used here. */
export const START = 1_700_000_400_000 - (1_700_000_400_000 % 600_000);

/** A charge on a fresh key unless told. */
export function charge(limit: number, windowMs: number, more: Partial<Charge> = {}): Charge {
  return { key: digest(randomId()), rates: [{ limit, windowMs }], algorithm: 'sliding', shadow: false, ...more };
}

/** Remaining and reset of one request, which must not have failed. */
export async function hit(store: CheckStore, charges: readonly Charge[], nowMs: number): Promise<RateStates> {
  const { results } = await store.check([charges], nowMs);
  const [states] = results;
  if (states === undefined || states instanceof Error) throw states ?? new Error('no result');
  return states;
}

/** True when no enforced charge refuses. */
export function passed(charges: readonly Charge[], states: RateStates): boolean {
  let at = 0;
  let ok = true;
  for (const { rates, shadow } of charges) {
    for (const _ of rates) {
      if (states[at] === -1 && !shadow) ok = false;
      at += 2;
    }
  }
  return ok;
}

const algorithms = ['sliding', 'log'] as const;

/** Contract and concurrency tiers; the failure tier is with the faults, since only a networked store can be cut. */
export function checkStoreConformance(backend: string, open: () => Promise<OpenedChecks>): void {
  const it = (name: string, body: (opened: OpenedChecks) => Promise<void>) =>
    test(`${backend} checks: ${name}`, async () => {
      await using opened = await open();
      await body(opened);
    });

  it('no charges still read the head, and results keep their order', async ({ store }) => {
    const a = charge(5, 60_000);
    const { results } = await store.check([[], [a], []], START);
    assert.deepEqual(results, [[], [4, 60_000], []]);
  });

  for (const algorithm of algorithms) {
    it(`C20: ${algorithm} passes N, refuses N + 1, and passes again after a reset`, async ({ store, other }) => {
      const a = charge(3, 60_000, { algorithm });
      const left = [];
      for (let n = 0; n < 5; n += 1) left.push((await hit(n % 2 ? store : other, [a], START + n))[0]);
      assert.deepEqual(left, [2, 1, 0, -1, -1]);
      assert.equal(await store.reset(a), true);
      assert.equal(await store.reset(a), false);
      assert.equal((await hit(store, [a], START + 9))[0], 2);
    });

    it(`${algorithm}: a peek charges nothing and tells the same as a check would`, async ({ store }) => {
      const a = charge(2, 60_000, { algorithm });
      assert.deepEqual(await store.peek(a, START), [2, 60_000]);
      await hit(store, [a], START);
      const seen = await store.peek(a, START + 10);
      assert.equal(seen[0], 1);
      await store.peek(a, START + 500_000);
      assert.deepEqual(await store.peek(a, START + 10), seen, 'looking ahead moves nothing');
      await hit(store, [a], START + 10);
      assert.equal((await store.peek(a, START + 10))[0], -1);
    });

    it(`attack 97: ${algorithm}: 300 parallel requests at limit 50 over two replicas pass exactly 50`, async (opened) => {
      const a = charge(50, 60_000, { algorithm });
      const replies = await Promise.all(
        Array.from({ length: 60 }, (_, n) =>
          (n % 2 ? opened.store : opened.other).check(
            Array.from({ length: 5 }, () => [a]),
            START + 1000,
          ),
        ),
      );
      const states = replies.flatMap(({ results }) => results);
      assert.equal(states.filter((state) => !(state instanceof Error) && passed([a], state)).length, 50);
    });

    it(`attack 105: ${algorithm}: a clock that steps back neither frees nor blocks`, async ({ store }) => {
      const a = charge(3, 60_000, { algorithm });
      const at = START + 90_000;
      await hit(store, [a], at);
      assert.equal((await hit(store, [a], at - 3_600_000))[0], 1, 'still counted');
      assert.equal((await hit(store, [a], at - 3_600_000))[0], 0, 'and charged');
      const [left, resetMs] = await hit(store, [a], at - 3_600_000);
      assert.equal(left, -1);
      assert.ok(resetMs !== undefined && resetMs > 0 && resetMs <= 120_000, `bounded: ${resetMs}`);
      assert.equal((await hit(store, [a], at + 120_001))[0], 2, 'free again on the right clock');
    });

    it(`attack 105: ${algorithm}: a clock that was ahead and is set right keeps nobody out for longer than two windows`, async ({
      store,
    }) => {
      const WINDOW_MS = 60_000;
      const a = charge(3, WINDOW_MS, { algorithm });
      const b = charge(10, WINDOW_MS, { algorithm });
      const ahead = START + 3_600_000;
      for (const aside of [-10_000, 10_000]) await hit(store, [a], ahead + aside);
      for (let n = 0; n < 5; n += 1) await hit(store, [b], ahead + n);
      const at = START + 10_000;
      assert.equal((await hit(store, [a], at))[0], 0, 'what was counted counts from now on');
      let [left, resetMs] = (await hit(store, [a], at)) as [number, number];
      assert.equal(left, -1);
      // Asking on, once a second, charges nothing and puts nothing off.
      const until = at + resetMs;
      for (let now = at + 1000; now < until; now += 1000) [left] = (await hit(store, [a], now)) as [number];
      assert.equal(left, -1, 'refused until then');
      [left, resetMs] = (await hit(store, [a], until)) as [number, number];
      assert.notEqual(left, -1, 'served then');
      assert.ok(until - at <= 2 * WINDOW_MS, `${until - at} ms`);
      // Who stays below a limit is never refused after it, while time goes on.
      for (let now = at; now < at + 10 * WINDOW_MS; now += WINDOW_MS / 2)
        assert.notEqual((await hit(store, [b], now))[0], -1, `at ${now - at}`);
    });

    it(`attack 105: ${algorithm}: a clock that is set right keeps count of many: not one more, not one less`, async ({
      store,
    }) => {
      const a = charge(2502, 60_000, { algorithm });
      const ahead = START + 3_600_000;
      for (let n = 0; n < 25; n += 1) await store.check(Array<Charge[]>(100).fill([a]), ahead);
      const left = [];
      for (let n = 0; n < 3; n += 1) left.push((await hit(store, [a], START))[0]);
      assert.deepEqual(left, [1, 0, -1]);
    });

    it(`attack 105: ${algorithm}: what is only looked at after a step back is told alike and not moved`, async ({
      store,
    }) => {
      const a = charge(3, 60_000, { algorithm });
      const ahead = START + 3_600_000;
      await hit(store, [a], ahead);
      assert.equal((await store.peek(a, START))[0], 2);
      assert.equal((await store.peek(a, ahead + 1))[0], 2);
    });

    it(`${algorithm}: resetMs is exact: then a request passes, and one ms earlier none does`, async ({ store }) => {
      const property = fc.asyncProperty(
        fc.integer({ min: 1, max: 12 }),
        fc.constantFrom(1000, 1500, 60_000),
        fc.array(fc.integer({ min: 0, max: 900 }), { minLength: 1, maxLength: 40 }),
        async (limit, windowMs, gaps) => {
          const a = charge(limit, windowMs, { algorithm });
          let now = START;
          for (const gap of gaps) {
            now += Math.floor((gap * windowMs) / 4000);
            const [left, resetMs] = (await hit(store, [a], now)) as [number, number];
            assert.ok(resetMs > 0 && resetMs <= 2 * windowMs);
            if (left !== -1) continue;
            const [before] = (await store.peek(a, now + resetMs - 1)) as [number];
            const [after] = (await store.peek(a, now + resetMs)) as [number];
            assert.equal(before, -1, `too late at ${now}+${resetMs}`);
            assert.ok(after > 0, `not free at ${now}+${resetMs}`);
          }
        },
      );
      await fc.assert(property, { numRuns: 40 });
    });
  }

  it('attack 96: 100 at the end of a window leave almost nothing for the start of the next', async ({ store }) => {
    const a = charge(100, 60_000);
    const burst = async (nowMs: number) => {
      const { results } = await store.check(
        Array.from({ length: 100 }, () => [a]),
        nowMs,
      );
      return results.filter((states) => !(states instanceof Error) && passed([a], states)).length;
    };
    assert.equal(await burst(START + 59_000), 100);
    assert.equal(await burst(START + 61_000), 1);
  });

  it('log counts exactly the hits in (now - window, now]', async ({ store }) => {
    const a = charge(2, 1000, { algorithm: 'log' });
    const left = [];
    for (const at of [0, 500, 999, 1000, 1499, 1500]) left.push((await hit(store, [a], START + at))[0]);
    assert.deepEqual(left, [1, 0, -1, 0, -1, 0]);
  });

  it('a request refused by one rate charges none of its limits', async ({ store }) => {
    const tight = charge(1, 60_000);
    const wide = charge(10, 60_000, {
      rates: [
        { limit: 10, windowMs: 60_000 },
        { limit: 20, windowMs: 600_000 },
      ],
    });
    const log = charge(10, 60_000, { algorithm: 'log' });
    assert.deepEqual(await hit(store, [wide, tight, log], START), [9, 60_000, 19, 600_000, 0, 120_000, 9, 60_000]);
    const refused = await hit(store, [wide, tight, log], START);
    assert.deepEqual([refused[0], refused[2], refused[4], refused[6]], [9, 19, -1, 9]);
    assert.equal((await store.peek(wide, START))[0], 9);
    assert.equal((await store.peek(log, START))[0], 9);
  });

  it('a shadow limit reports, never refuses, and is not charged when over or when the request is refused', async (opened) => {
    const { store } = opened;
    const shadow = charge(1, 60_000, { shadow: true });
    const enforced = charge(3, 60_000);
    const both = [shadow, enforced];
    const first = await hit(store, both, START);
    const second = await hit(store, both, START);
    assert.deepEqual([first[0], first[2]], [0, 2]);
    assert.deepEqual([second[0], second[2]], [-1, 1]);
    assert.equal(passed(both, second), true);
    await hit(store, both, START);
    const fresh = charge(5, 60_000, { shadow: true });
    assert.equal(passed([fresh, enforced], await hit(store, [fresh, enforced], START)), false);
    assert.equal((await store.peek(fresh, START))[0], 5, 'a refused request charges no shadow');
  });

  it('requests of one batch on one key are charged one after the other', async ({ store }) => {
    const a = charge(3, 60_000);
    const { results } = await store.check([[a], [a], [a], [a]], START);
    assert.deepEqual(
      results.map((states) => (states instanceof Error ? states : states[0])),
      [2, 1, 0, -1],
    );
  });

  it('attack 112: a changed quota takes effect at once and keeps its count', async ({ store }) => {
    const a = charge(10, 60_000);
    for (let n = 0; n < 4; n += 1) await hit(store, [a], START);
    const lowered = { ...a, rates: [{ limit: 3, windowMs: 60_000 }] };
    const [left, resetMs] = (await hit(store, [lowered], START)) as [number, number];
    assert.equal(left, -1);
    assert.ok(((await store.peek(lowered, START + resetMs))[0] ?? 0) > 0);
    assert.equal((await hit(store, [{ ...a, rates: [{ limit: 20, windowMs: 60_000 }] }], START))[0], 15);
  });

  it('attack 103: keys with separators, braces and newlines never meet', async ({ store }) => {
    const keys = ['a:b', 'a', '{a}', 'a}:{b', 'a\nb', 'a b', '*', 'é'].map((key) => charge(1, 60_000, { key }));
    for (const a of keys) assert.equal((await hit(store, [a], START))[0], 0, JSON.stringify(a.key));
  });

  it('256 requests of several rates fit one call', async ({ store }) => {
    const many = Array.from({ length: 256 }, () => [charge(5, 60_000), charge(9, 1000, { algorithm: 'log' })]);
    const { results } = await store.check(many, START);
    assert.ok(results.every((states) => !(states instanceof Error) && states[0] === 4 && states[2] === 8));
  });
}
