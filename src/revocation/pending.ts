// Revocations that are in force here and not yet in the shared log. Bounded; retried by the follower until they are sent.
import { storeUnavailable } from '../core/errors.ts';
import { revocationEntryId } from '../stores/contracts/entry-id.ts';
import { type RevocationDraft, type RevocationEntry, stands } from '../stores/contracts/revocations.ts';

const MAX_PENDING = 10_000;

/** An entry as it counts before any store gave it a place: seq 0. */
export function localEntry(draft: RevocationDraft, nowMs: number): RevocationEntry {
  return { ...draft, entryId: revocationEntryId(draft.kind, draft.issuer, draft.id), seq: 0, revokedAtMs: nowMs };
}

/** Waiting entries by id, oldest first. */
export class PendingRevocations {
  readonly #waiting = new Map<string, RevocationEntry>();

  /** Entries waiting. */
  get size(): number {
    return this.#waiting.size;
  }

  /**
   * In place of what waits and was made before. Throws `store_unavailable` when 10,000 wait already: accepting more would promise
   * what memory cannot keep.
   */
  add(entry: RevocationEntry): void {
    const waiting = this.#waiting.get(entry.entryId);
    if (waiting === undefined && this.#waiting.size >= MAX_PENDING) {
      throw storeUnavailable('too many revocations wait for the store');
    }
    if (waiting === undefined || !stands(waiting, entry, entry.madeAtMs)) this.#waiting.set(entry.entryId, entry);
  }

  /** The waiting entry with this id. */
  get(entryId: string): RevocationEntry | undefined {
    return this.#waiting.get(entryId);
  }

  /** Takes one out; false when it does not wait, or not this very revocation any more. */
  settle(entry: RevocationEntry): boolean {
    return this.#waiting.get(entry.entryId) === entry && this.#waiting.delete(entry.entryId);
  }

  /** A copy of what waits. */
  list(): readonly RevocationEntry[] {
    return [...this.#waiting.values()];
  }
}
