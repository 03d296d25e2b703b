// Keys known to be over their limit, so that a flood of refused requests costs no round trip. Remembered for at most a
// second and never beyond the moment a request could pass; forgotten on reset, reload and record change (design 4.8).
import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.ts';
import type { Charge, RateStates } from '../stores/contracts/checks.ts';

const MOST_MS = 1000;
const MAX_KEYS = 10_000;

interface Denial {
  readonly atMs: number;
  readonly untilMs: number;
  readonly states: RateStates;
}

/** Memory of refusals of one replica. */
export class DeniedKeys {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #denied = new LRUCache<string, Denial>({ max: MAX_KEYS });

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  /** Remembers what the store refused. */
  remember(charges: readonly Charge[], states: RateStates): void {
    const atMs = this.#clock.monotonicMs();
    let from = 0;
    for (const { key, rates, shadow } of charges) {
      const own = states.slice(from, from + 2 * rates.length);
      from += own.length;
      const wait = shadow ? 0 : longestRefusal(own);
      if (wait > 0) this.#denied.set(key, { atMs, untilMs: atMs + Math.min(MOST_MS, wait), states: own });
    }
  }

  /** States of a request that is known to be refused, NaN for limits nobody asked; undefined when the store must say. */
  refuses(charges: readonly Charge[]): RateStates | undefined {
    if (this.#denied.size === 0) return undefined;
    const nowMs = this.#clock.monotonicMs();
    let found = false;
    const states: number[] = [];
    for (const { key, rates, shadow } of charges) {
      const denial = shadow ? undefined : this.#denied.get(key);
      const holds = denial !== undefined && nowMs < denial.untilMs && denial.states.length === 2 * rates.length;
      if (holds) found = true;
      for (let at = 0; at < 2 * rates.length; at += 2) {
        const passed = holds ? Math.floor(nowMs - denial.atMs) : 0;
        if (holds) states.push(denial.states[at] as number, Math.max(1, (denial.states[at + 1] as number) - passed));
        else states.push(Number.NaN, Number.NaN);
      }
    }
    return found ? states : undefined;
  }

  /** The limit behind this key was reset. */
  forget(key: string): void {
    this.#denied.delete(key);
  }

  /** Configuration or client records changed. */
  clear(): void {
    this.#denied.clear();
  }
}

function longestRefusal(states: RateStates): number {
  let wait = 0;
  for (let at = 0; at < states.length; at += 2) if (states[at] === -1) wait = Math.max(wait, states[at + 1] as number);
  return wait;
}
