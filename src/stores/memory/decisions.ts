// Kept refusals in memory: a capped ring of this replica's own.
import type { DecisionStore, KeptDecision } from '../contracts/decisions.ts';

const MAX_DECISIONS = 1000;

/** {@link DecisionStore} in memory, capped at 1,000. */
export class MemoryDecisions implements DecisionStore {
  readonly #kept: KeptDecision[] = [];
  #next = 0;

  keep(decision: KeptDecision): void {
    this.#kept[this.#next] = decision;
    this.#next = (this.#next + 1) % MAX_DECISIONS;
  }

  async find(filter: Readonly<Record<string, string>>, limit: number): Promise<readonly KeptDecision[]> {
    const wanted = Object.entries(filter);
    const newestFirst = [...this.#kept.slice(this.#next), ...this.#kept.slice(0, this.#next)].reverse();
    return newestFirst
      .filter((kept) => wanted.every(([name, value]) => kept[name] === value))
      .slice(0, limit)
      .map((kept) => structuredClone(kept));
  }
}
