// A clock that stands still until a test moves it.
import type { Clock } from '../../src/core/clock.ts';

/** Wall and monotonic time that move only by `advance`, or apart by `setWall`. */
export class ManualClock implements Clock {
  #wallMs: number;
  #monotonicMs = 1000;

  constructor(wallMs = Date.UTC(2026, 0, 15, 12)) {
    this.#wallMs = wallMs;
  }

  nowMs(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  /** Lets both clocks run on by `ms`. */
  advance(ms: number): void {
    this.#wallMs += ms;
    this.#monotonicMs += ms;
  }

  /** Sets the wall clock alone, as NTP or an operator would. */
  setWall(ms: number): void {
    this.#wallMs = ms;
  }
}
