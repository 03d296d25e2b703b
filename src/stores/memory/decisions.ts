// Kept refusals in memory: a capped list of this replica's own.
import type { DecisionStore, KeptDecision } from '../contracts/decisions.ts';

const MAX_DECISIONS = 1000;

/** {@link DecisionStore} in memory, capped at 1,000. */
export class MemoryDecisions implements DecisionStore {
  readonly #kept: KeptDecision[] = [];

  keep(decision: KeptDecision): void {
    this.#kept.push(structuredClone(decision));
    if (this.#kept.length > MAX_DECISIONS) this.#kept.shift();
  }

  async find(filter: Readonly<Record<string, string>>, limit: number): Promise<readonly KeptDecision[]> {
    const wanted = Object.entries(filter);
    const matches = (kept: KeptDecision) => wanted.every(([name, value]) => kept[name] === value);
    return this.#kept
      .filter(matches)
      .reverse()
      .slice(0, limit)
      .map((kept) => structuredClone(kept));
  }
}
