// Remembers what was undone, so that a replica which had not seen it cannot bring it back with a rebuild. Bounded: the
// oldest are forgotten first.
import type { RevocationEntry } from '../stores/contracts/revocations.ts';

const MAX_TOMBSTONES = 10_000;

/** Undone entries, by id and moment of revocation. */
export class Tombstones {
  readonly #undone = new Map<string, number>();

  /** This revocation was taken back. */
  add({ entryId, revokedAtMs }: RevocationEntry): void {
    this.#undone.delete(entryId);
    this.#undone.set(entryId, revokedAtMs);
    if (this.#undone.size > MAX_TOMBSTONES) {
      for (const oldest of this.#undone.keys()) {
        this.#undone.delete(oldest);
        break;
      }
    }
  }

  /** True for the revocation that was taken back, false for a later one of the same thing. */
  covers({ entryId, revokedAtMs }: RevocationEntry): boolean {
    const undoneAtMs = this.#undone.get(entryId);
    return undoneAtMs !== undefined && revokedAtMs <= undoneAtMs;
  }

  /** It was revoked again. */
  remove(entryId: string): void {
    this.#undone.delete(entryId);
  }
}
