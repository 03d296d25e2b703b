// Revocations that another process of this replica has not been able to tell the shared log: in force here too, and sent by
// that process alone, so that one which was taken back there is not brought back from here.
import type { RevocationEntry } from '../stores/contracts/revocations.ts';
import type { RevocationIndex } from './index.ts';

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

  /** False when it was not held. */
  drop(entryId: string): boolean {
    return this.#held.delete(entryId);
  }

  /** The index is what the log says: what refuses the same there need not be held any longer. An older entry settles nothing. */
  settle(index: Pick<RevocationIndex, 'get'>): void {
    for (const { entryId, kind, issuer, id, untilMs, notBeforeMs } of this.#held.values()) {
      const logged = index.get(kind, issuer, id);
      if (logged === undefined || logged.seq === 0) continue;
      if (logged.untilMs === untilMs && logged.notBeforeMs === notBeforeMs) this.#held.delete(entryId);
    }
  }

  /** A copy of what is held. */
  list(): readonly RevocationEntry[] {
    return [...this.#held.values()];
  }
}
