// The time by which revocations count, apart from the machine's clock, which may be set while tokens are revoked. Set ahead, it
// would have entries expire that are needed when it is right again; set back, it would have tokens live again whose entries expired.
import { type Clock, steadyWall } from '../core/clock.ts';
import { KEPT_AFTER_MS } from '../stores/contracts/revocations.ts';

/** One replica's time of entries and of the tokens that are held against them. */
export class EntryTime {
  /** By which entries expire, in ms since the epoch: a clock that is set ahead does not move it, one that is set back does. */
  readonly steadyMs: () => number;
  readonly #clock: Clock;
  #sweptMs = Number.NEGATIVE_INFINITY;
  #forgottenMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.steadyMs = steadyWall(clock);
  }

  /**
   * By which tokens expire: the clock's time, or the time up to which entries have been forgotten where that is later. What would
   * refuse a token that expired before it is gone.
   */
  tokenMs(): number {
    return Math.max(this.#clock.nowMs(), this.#forgottenMs);
  }

  /** True where tokens expire by another time than the clock's, because that was set back. */
  get isHeld(): boolean {
    return this.#forgottenMs > this.#clock.nowMs();
  }

  /** Entries that expired before `forgetMs` leave now; `setBackMs`: by how much time went back since it was asked last. */
  sweep(): { readonly forgetMs: number; readonly setBackMs: number } {
    const nowMs = this.steadyMs();
    const setBackMs = Math.max(0, this.#sweptMs - nowMs);
    this.#sweptMs = nowMs;
    const forgetMs = nowMs - KEPT_AFTER_MS;
    this.#forgottenMs = Math.max(this.#forgottenMs, forgetMs);
    return { forgetMs, setBackMs };
  }

  /** Everything has been read anew from a log that forgets by `logMs`: what expires later is in the index again. */
  reread(logMs: number): void {
    this.#forgottenMs = Math.min(this.#forgottenMs, Math.max(logMs, this.#sweptMs) - KEPT_AFTER_MS);
  }
}
