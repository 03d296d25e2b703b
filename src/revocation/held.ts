// Revocations that another process of this replica has not been able to tell the shared log: in force here too, and sent by
// that process alone, so that one which was taken back there is not brought back from here.
import { madeMs, type RevocationEntry, stands } from '../stores/contracts/revocations.ts';

/** Held entries by id. Bounded by what their own processes may have waiting. */
export class HeldRevocations {
  readonly #held = new Map<string, RevocationEntry>();

  /** Holds one, in place of an earlier one of the same thing. */
  add(entry: RevocationEntry): void {
    this.#held.set(entry.entryId, entry);
  }

  /** The held entry with this id. */
  get(entryId: string): RevocationEntry | undefined {
    return this.#held.get(entryId);
  }

  /** False when this very one was not held. */
  drop(entry: RevocationEntry): boolean {
    return this.#held.get(entry.entryId) === entry && this.#held.delete(entry.entryId);
  }

  /** The log says so much of it: what refuses the same, or stays where this comes, need not be held. An older entry settles nothing. */
  settle(logged: RevocationEntry): void {
    const held = this.#held.get(logged.entryId);
    if (held === undefined) return;
    const isAlike = logged.untilMs === held.untilMs && logged.notBeforeMs === held.notBeforeMs;
    if (isAlike || stands(logged, held, madeMs(held))) this.#held.delete(logged.entryId);
  }

  /** A copy of what is held. */
  list(): readonly RevocationEntry[] {
    return [...this.#held.values()];
  }
}
