// Counts wrong admin credentials per address, so that nobody guesses for long. In memory of each replica: guessing 256 bits
// needs no more than a brake, and an outage of a store must not open it.
import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.ts';

const FAILURES = 10;
const WINDOW_MS = 60_000;
const ADDRESSES = 10_000;

/** Ten wrong ones in a minute, then nothing of that address is looked at until the minute is over. */
export class OperatorFailures {
  readonly #clock: Clock;
  readonly #counts = new LRUCache<string, { count: number; readonly untilMs: number }>({ max: ADDRESSES });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True while the address has used up its tries. */
  isLimited(address: string): boolean {
    const kept = this.#counts.get(address);
    return kept !== undefined && kept.count >= FAILURES && this.#clock.monotonicMs() < kept.untilMs;
  }

  /** Notes one; true when it was the last that is looked at. */
  fail(address: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    const kept = this.#counts.get(address);
    if (kept === undefined || nowMs >= kept.untilMs) {
      this.#counts.set(address, { count: 1, untilMs: nowMs + WINDOW_MS });
      return false;
    }
    kept.count += 1;
    return kept.count === FAILURES;
  }
}
