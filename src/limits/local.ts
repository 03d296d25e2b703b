// Limits while the shared store is away: each by its own `on_store_down`. `local` counts in a memory store of this replica
// against its share of the limit. Exactness is not claimed then (design 5).
import type { Charge, CheckStore, RateStates } from '../stores/contracts/checks.ts';
import type { LimitCharge } from './compile.ts';

interface Scaled {
  readonly replicas: number;
  readonly charge: Charge;
}

/** This replica's share of a limit: at least one request. */
export function localShare(limit: number, replicas: number): number {
  return Math.max(1, Math.ceil(limit / Math.max(1, replicas)));
}

/** Decides limits without the shared store. */
export class LocalLimits {
  readonly #store: CheckStore;
  readonly #replicas: () => number;
  readonly #scaled = new WeakMap<Charge, Scaled>();

  /** `store` counts in memory, never over a network; `replicas` is the last known count. */
  constructor(store: CheckStore, replicas: () => number) {
    this.#store = store;
    this.#replicas = replicas;
  }

  /**
   * States as a check would give them, NaN for limits that allow, or `deny` when one limit of the request refuses to go
   * without the store. Shadow limits never deny.
   */
  async decide(charges: readonly LimitCharge[], nowMs?: number): Promise<RateStates | 'deny'> {
    if (charges.some(({ limit }) => limit.onStoreDown === 'deny' && !limit.shadow)) return 'deny';
    const counted = charges.filter(({ limit }) => limit.onStoreDown === 'local');
    const { results } = await this.#store.check([counted.map((charge) => this.#share(charge))], nowMs);
    const [states] = results;
    if (states === undefined || states instanceof Error) return 'deny';
    let at = 0;
    return charges.flatMap(({ limit, rates }) => {
      if (limit.onStoreDown !== 'local') return rates.flatMap(() => [Number.NaN, Number.NaN]);
      at += 2 * rates.length;
      return states.slice(at - 2 * rates.length, at);
    });
  }

  #share(charge: Charge): Charge {
    const replicas = this.#replicas();
    const kept = this.#scaled.get(charge);
    if (kept?.replicas === replicas) return kept.charge;
    const rates = charge.rates.map(({ limit, windowMs }) => ({ limit: localShare(limit, replicas), windowMs }));
    const { key, algorithm, shadow } = charge;
    const scaled = { key, algorithm, shadow, rates };
    this.#scaled.set(charge, { replicas, charge: scaled });
    return scaled;
  }
}
