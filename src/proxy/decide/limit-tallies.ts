// Counts limit checks by limit, outcome and mode. Label look-ups are done once per limit, not once per request.
import type { CompiledLimit, LimitCharge } from '../../limits/compile.ts';
import type { RateStates } from '../../stores/contracts/checks.ts';
import type { Tally } from '../../telemetry/instruments.ts';
import type { Metrics } from '../../telemetry/metrics.ts';

interface Tallies {
  readonly admitted: Tally;
  readonly refused: Tally;
}

/** Builds the counting function over `doorward_rate_limit_total`. */
export function limitTallies(
  counter: Metrics['rateLimit'],
): (charges: readonly LimitCharge[], states: RateStates) => void {
  const byLimit = new Map<CompiledLimit, Tallies>();
  const tallies = (limit: CompiledLimit): Tallies => {
    const known = byLimit.get(limit);
    if (known !== undefined) return known;
    const mode = limit.shadow ? 'shadow' : 'enforce';
    const made = {
      admitted: counter.labels(limit.name, 'admitted', mode),
      refused: counter.labels(limit.name, 'refused', mode),
    };
    byLimit.set(limit, made);
    return made;
  };
  return (charges, states) => {
    let at = 0;
    for (const { limit, rates } of charges) {
      let refused = false;
      for (let rate = 0; rate < rates.length; rate += 1, at += 2) refused ||= states[at] === -1;
      const counts = tallies(limit);
      (refused ? counts.refused : counts.admitted).inc();
    }
  };
}
