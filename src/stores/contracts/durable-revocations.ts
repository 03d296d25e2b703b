// Contract of the durable copy of the revocation log: what was revoked and taken back, and whether the shared log (Redis,
// or the memory of one replica) has been told. The shared log orders entries and spreads them; this remembers them.
import type { RevocationDraft, RevocationEntry, RevocationGuard } from './revocations.ts';

/** One revocation as it is remembered. */
export interface DurableRevocation {
  /**
   * `seq` is 0: places are the shared log's to give. `revokedAtMs` is the shared log's time where it has taken the entry,
   * so that the two can be compared, else ours.
   */
  readonly entry: RevocationEntry;
  /** Our time of the revocation; with `undoneAtMs` it says which of several changes to one entry is meant. */
  readonly madeAtMs: number;
  /** Set once it was taken back. The row stays for a while, so that no replica brings the entry back. */
  readonly undoneAtMs: number | undefined;
}

/**
 * Guarantees: what `put` or `undo` resolved survives a crash of anything; revoking again replaces the entry and ends an
 * undo; times after the year 9999 are kept as its last millisecond; every call rejects with `store_unavailable` when the
 * store is away, and then nothing has happened, or (when the connection was lost in the last step) the call may be repeated.
 */
export interface DurableRevocations {
  /**
   * Remembers a revocation, not yet told to the shared log; always later than what it replaces, an undo too, whatever the clocks. What
   * `guard` makes of the draft is what is remembered; nothing comes between its look at the active entry and that.
   */
  put(draft: RevocationDraft, nowMs: number, guard?: RevocationGuard): Promise<DurableRevocation>;
  /** Marks an active entry as taken back, not yet told; undefined when there is none. */
  undo(entryId: string, nowMs: number): Promise<DurableRevocation | undefined>;
  /** The shared log has it, with this time of its own; nothing happens when the entry has changed meanwhile. */
  settle(revocation: DurableRevocation, loggedAtMs: number): Promise<void>;
  /** Changes made at or before `madeBeforeMs` that the shared log was not told of, oldest first. */
  unsent(madeBeforeMs: number, limit: number): Promise<readonly DurableRevocation[]>;
  /** Active and undone entries in the order of their ids, from the first after `afterId` ('' for the start). */
  page(afterId: string, limit: number, nowMs: number): Promise<readonly DurableRevocation[]>;
  /**
   * Remembers what the shared log took from a replica that has no durable store, and answers the ids of what was new. What
   * is remembered already, or was changed here since, stays as it is. An entry that comes twice counts as the last of them;
   * one that no store can hold (text with NUL, a token for ever) is left out. One that was taken back here after it was made has
   * reached the log too late, which is told once more.
   */
  adopt(entries: readonly RevocationEntry[]): Promise<readonly string[]>;
  /**
   * The same for an entry that was taken back; nothing happens when it is not the one remembered. When that was nobody knows: it
   * counts as taken back when it was made, so that what was revoked again since, and is adopted later, is not.
   */
  adoptUndo(entry: RevocationEntry): Promise<void>;
  /** Deletes some of what has expired a while ago (KEPT_AFTER_MS of revocations.ts), and undone entries after 30 days; answers how many. */
  expire(nowMs: number): Promise<number>;
}
