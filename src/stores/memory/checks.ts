// Reference implementation of the check: synchronous, bounded memory. Counters live in an LRU, so that a flood of keys
// costs the least recently used ones and never the process. Arithmetic is in window.ts, the head in revocations.ts.
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/clock.ts';
import type { Rate } from '../../core/units.ts';
import type { Charge, CheckReply, CheckStore, RateStates } from '../contracts/checks.ts';
import type { RevocationHead } from '../contracts/revocations.ts';
import type { SlidingState } from './window.ts';
import { currentHits, logReset, roll, slidingEnd, slidingFits, slidingRemaining, slidingWait } from './window.ts';

interface Counter {
  readonly sliding: SlidingState | undefined;
  readonly hits: number[] | undefined;
  expiresAtMs: number;
}

const MAX_COUNTERS = 100_000;
const PURGE_EVERY_MS = 60_000;

/** What a memory check store is made of. */
export interface MemoryChecksOptions {
  readonly clock: Clock;
  /** The head of the revocation log beside it. */
  readonly head: () => RevocationHead | undefined;
  /** Told of every reset, so that kept refusals are dropped. */
  readonly onReset?: (key: string) => void;
  /** Counters kept at once; default 100,000. */
  readonly maxCounters?: number;
}

/** {@link CheckStore} in memory. Time is anchored to the monotonic clock: setting the machine's clock frees nobody. */
export class MemoryChecks implements CheckStore {
  readonly #counters: LRUCache<string, Counter>;
  readonly #head: () => RevocationHead | undefined;
  readonly #now: () => number;
  readonly #onReset: (key: string) => void;
  #purgeAtMs = 0;

  constructor(options: MemoryChecksOptions) {
    const { clock } = options;
    const anchor = clock.nowMs() - clock.monotonicMs();
    this.#now = () => Math.floor(anchor + clock.monotonicMs());
    this.#head = options.head;
    this.#onReset = options.onReset ?? (() => undefined);
    this.#counters = new LRUCache({ max: options.maxCounters ?? MAX_COUNTERS });
  }

  /** Counters held now, for bounds and metrics. */
  get size(): number {
    return this.#counters.size;
  }

  check(requests: readonly (readonly Charge[])[], nowMs = this.#now()): CheckReply {
    if (nowMs >= this.#purgeAtMs) this.#purge(nowMs);
    return { head: this.#head(), results: requests.map((charges) => this.#charge(charges, nowMs)) };
  }

  async peek(charge: Charge, nowMs = this.#now()): Promise<RateStates> {
    return this.#states([charge], nowMs, [this.#isOver(charge, nowMs)]);
  }

  async reset(charge: Charge): Promise<boolean> {
    const had = charge.rates.map((rate) => this.#counters.delete(counterKey(charge, rate))).includes(true);
    this.#onReset(charge.key);
    return had;
  }

  #charge(charges: readonly Charge[], nowMs: number): RateStates {
    const over = charges.map((charge) => this.#isOver(charge, nowMs));
    const refused = charges.some((charge, at) => over[at] === true && !charge.shadow);
    for (const [at, charge] of charges.entries()) {
      if (!refused && over[at] === false) this.#hit(charge, nowMs);
      else this.#followBack(charge, nowMs);
    }
    return this.#states(charges, nowMs, over);
  }

  #isOver(charge: Charge, nowMs: number): boolean {
    return charge.rates.some((rate) => !this.#fits(this.#counter(charge, rate, nowMs), rate, nowMs));
  }

  #fits(counter: Counter, rate: Rate, nowMs: number): boolean {
    if (counter.sliding) return slidingFits(counter.sliding, nowMs, rate.windowMs, rate.limit);
    return (counter.hits?.length ?? 0) + 1 <= rate.limit;
  }

  #hit(charge: Charge, nowMs: number): void {
    for (const rate of charge.rates) {
      const counter = this.#counter(charge, rate, nowMs);
      if (counter.sliding) counter.sliding.cur += 1;
      counter.hits?.push(Math.max(nowMs, counter.hits.at(-1) ?? 0));
      counter.expiresAtMs = nowMs + lifetime(counter, rate);
      this.#counters.set(counterKey(charge, rate), counter);
    }
  }

  /** Where the clock went back far, hits count from now on: said once, or who goes on asking would be refused for ever. */
  #followBack(charge: Charge, nowMs: number): void {
    for (const rate of charge.rates) {
      const key = counterKey(charge, rate);
      const kept = this.#counters.get(key);
      const counter = this.#counter(charge, rate, nowMs);
      if (kept === undefined || !wentBack(kept, counter)) continue;
      counter.expiresAtMs = nowMs + lifetime(counter, rate);
      this.#counters.set(key, counter);
    }
  }

  #states(charges: readonly Charge[], nowMs: number, over: readonly boolean[]): RateStates {
    const states: number[] = [];
    for (const [at, charge] of charges.entries()) {
      for (const rate of charge.rates) {
        const counter = this.#counter(charge, rate, nowMs);
        const refuses = over[at] === true && !this.#fits(counter, rate, nowMs);
        states.push(refuses ? -1 : remaining(counter, rate, nowMs), reset(counter, rate, nowMs));
      }
    }
    return states;
  }

  #counter(charge: Charge, rate: Rate, nowMs: number): Counter {
    const kept = this.#counters.get(counterKey(charge, rate));
    if (kept === undefined || kept.expiresAtMs <= nowMs) return emptyCounter(charge, rate, nowMs);
    // A copy: looking must not move a counter, only a hit stores it.
    const sliding = kept.sliding && { ...kept.sliding };
    if (sliding) roll(sliding, nowMs, rate.windowMs);
    const hits = kept.hits && currentHits(kept.hits, nowMs, rate.windowMs);
    return { sliding, hits, expiresAtMs: kept.expiresAtMs };
  }

  #purge(nowMs: number): void {
    this.#purgeAtMs = nowMs + PURGE_EVERY_MS;
    for (const [key, counter] of this.#counters.entries()) {
      if (counter.expiresAtMs <= nowMs) this.#counters.delete(key);
    }
  }
}

const counterKey = (charge: Charge, rate: Rate) => `${charge.key}:${charge.algorithm}:${rate.windowMs}`;

/** Ms for which a counter is kept after a hit. */
const lifetime = ({ sliding }: Counter, { windowMs }: Rate) => (sliding ? 2 : 1) * windowMs;

/** True when the clock is so far behind that a counter counts from now on. */
const wentBack = (before: Counter, after: Counter) =>
  after.sliding !== undefined
    ? after.sliding.index < (before.sliding as SlidingState).index
    : (after.hits?.at(-1) ?? Infinity) < (before.hits?.at(-1) ?? 0);

function emptyCounter(charge: Charge, rate: Rate, nowMs: number): Counter {
  return charge.algorithm === 'log'
    ? { sliding: undefined, hits: [], expiresAtMs: 0 }
    : { sliding: { index: Math.floor(nowMs / rate.windowMs), cur: 0, prev: 0 }, hits: undefined, expiresAtMs: 0 };
}

function remaining(counter: Counter, rate: Rate, nowMs: number): number {
  if (counter.sliding) return slidingRemaining(counter.sliding, nowMs, rate.windowMs, rate.limit);
  return Math.max(0, rate.limit - (counter.hits?.length ?? 0));
}

function reset(counter: Counter, rate: Rate, nowMs: number): number {
  if (counter.hits) return logReset(counter.hits, nowMs, rate.windowMs, rate.limit);
  const state = counter.sliding as SlidingState;
  return slidingFits(state, nowMs, rate.windowMs, rate.limit)
    ? slidingEnd(state, nowMs, rate.windowMs)
    : slidingWait(state, nowMs, rate.windowMs, rate.limit);
}
