// Counts limit checks by limit, outcome and mode. Label look-ups are done once per limit, not once per request.
import type { LimitCharge } from '../../limits/compile.ts';
import type { ConcurrentSlot, InFlight } from '../../limits/concurrent.ts';
import type { RateStates } from '../../stores/contracts/checks.ts';
import type { Tally } from '../../telemetry/instruments.ts';
import type { Metrics } from '../../telemetry/metrics.ts';

interface Tallies {
  readonly admitted: Tally;
  readonly refused: Tally;
}

/** What is counted of a limit of either kind. */
interface Counted {
  readonly name: string;
  readonly shadow: boolean;
}

/** Counts over `doorward_rate_limit_total`. */
export class LimitTallies {
  readonly #counter: Metrics['rateLimit'];
  readonly #byLimit = new WeakMap<Counted, Tallies>();

  constructor(counter: Metrics['rateLimit']) {
    this.#counter = counter;
  }

  /** Counts what the store said of rates. */
  charged(charges: readonly LimitCharge[], states: RateStates): void {
    let at = 0;
    for (const { limit, rates } of charges) {
      let refused = false;
      for (let rate = 0; rate < rates.length; rate += 1, at += 2) refused ||= states[at] === -1;
      this.#count(limit, refused);
    }
  }

  /** Counts what `inFlight` has room for, before the request enters. */
  entered(slots: readonly ConcurrentSlot[], inFlight: InFlight): void {
    for (const slot of slots) this.#count(slot.limit, inFlight.count(slot) >= slot.limit.most);
  }

  #count(limit: Counted, refused: boolean): void {
    let counts = this.#byLimit.get(limit);
    if (counts === undefined) {
      const mode = limit.shadow ? 'shadow' : 'enforce';
      const [admitted, over] = [
        this.#counter.labels(limit.name, 'admitted', mode),
        this.#counter.labels(limit.name, 'refused', mode),
      ];
      counts = { admitted, refused: over };
      this.#byLimit.set(limit, counts);
    }
    (refused ? counts.refused : counts.admitted).inc();
  }
}
