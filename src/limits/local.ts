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
    if (this.#denies(charges)) return 'deny';
    const { results } = await this.#store.check([this.#counted(charges)], nowMs);
    const [states] = results;
    return states === undefined || states instanceof Error ? 'deny' : this.#spread(charges, states);
  }

  /** What {@link decide} would say, without charging anything. */
  async look(charges: readonly LimitCharge[]): Promise<RateStates | 'deny'> {
    if (this.#denies(charges)) return 'deny';
    const states = await Promise.all(this.#counted(charges).map((charge) => this.#store.peek(charge)));
    return this.#spread(charges, states.flat());
  }

  /** This replica's share of each rate of the charges, in order; undefined for limits that do not count locally. */
  shares(charges: readonly LimitCharge[]): readonly (number | undefined)[] {
    return charges.flatMap(({ limit, rates }) =>
      rates.map((rate) => (limit.onStoreDown === 'local' ? localShare(rate.limit, this.#replicas()) : undefined)),
    );
  }

  #denies(charges: readonly LimitCharge[]): boolean {
    return charges.some(({ limit }) => limit.onStoreDown === 'deny' && !limit.shadow);
  }

  #counted(charges: readonly LimitCharge[]): readonly Charge[] {
    return charges.filter(({ limit }) => limit.onStoreDown === 'local').map((charge) => this.#share(charge));
  }

  /** The states of the counted charges at their places among all. */
  #spread(charges: readonly LimitCharge[], states: RateStates): RateStates {
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
