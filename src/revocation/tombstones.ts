// Remembers what was undone, so that a replica which had not seen it cannot bring it back with a rebuild. Bounded: the
// oldest are forgotten first.
import { isLater, madeMs, type RevocationEntry } from '../stores/contracts/revocations.ts';
import type { RevocationIndex } from './index.ts';

const MAX_TOMBSTONES = 10_000;

/** Undone entries, by id and moment of revocation. */
export class Tombstones {
  readonly #undone = new Map<string, RevocationEntry>();

  /** This revocation was taken back. */
  add(entry: RevocationEntry): void {
    const undone = this.#undone.get(entry.entryId);
    if (undone !== undefined && isLater(undone, entry)) return;
    this.#undone.delete(entry.entryId);
    this.#undone.set(entry.entryId, entry);
    if (this.#undone.size > MAX_TOMBSTONES) {
      for (const oldest of this.#undone.keys()) {
        this.#undone.delete(oldest);
        break;
      }
    }
  }

  /** True for the revocation that was taken back, false for a later one of the same thing. */
  covers(entry: RevocationEntry): boolean {
    const undone = this.#undone.get(entry.entryId);
    return undone !== undefined && !isLater(entry, undone);
  }

  /** It was revoked again. */
  remove(entryId: string): void {
    this.#undone.delete(entryId);
  }

  /** Entries of `index` that were taken back and came again with a rebuild. */
  raisedIn(index: RevocationIndex): RevocationEntry[] {
    const raised: RevocationEntry[] = [];
    for (const undone of this.#undone.values()) {
      const heldMs = index.madeMs(undone);
      const held = heldMs < 0 || heldMs > madeMs(undone) ? undefined : index.get(undone.kind, undone.issuer, undone.id);
      if (held !== undefined) raised.push(held);
    }
    return raised;
  }
}
