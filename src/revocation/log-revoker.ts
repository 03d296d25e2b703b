// Revokes through the shared log: in force on this replica at once, and sent until the log has it. Remembering durably what is
// revoked is durable.ts's work, which stands on this.
import type { Clock } from '../core/clock.ts';
import { isStoreUnavailable } from '../core/errors.ts';
import {
  madeMs,
  type RevocationDraft,
  type RevocationEntry,
  type RevocationLog,
} from '../stores/contracts/revocations.ts';
import type { RevokeAnswer } from './follower-options.ts';
import type { InForce } from './in-force.ts';
import type { InStep } from './in-step.ts';
import { localEntry } from './pending.ts';

/** What it is made of. */
export interface LogRevokerOptions {
  readonly log: RevocationLog;
  readonly clock: Clock;
  readonly inForce: InForce;
  /** Brings the index to the log's present state, and makes a log where there is none. */
  readonly inStep: Pick<InStep, 'sync' | 'syncAnew' | 'wasAt' | 'head' | 'readings'>;
}

/** One replica's writing side of the log. */
export class LogRevoker {
  readonly #options: LogRevokerOptions;
  /** How far the log was by its latest answer. */
  #lastSeq = 0;

  constructor(options: LogRevokerOptions) {
    this.#options = options;
  }

  /** In force here at once, on every replica when the answer says `all`. Throws only when too many wait already. */
  async revoke(draft: RevocationDraft): Promise<RevokeAnswer> {
    const local = localEntry(draft, this.#options.clock.nowMs());
    this.#options.inForce.add(local);
    const entry = await this.#send(local, local);
    return entry ? { entry, applied: 'all' } : { entry: local, applied: 'pending' };
  }

  /** As {@link RevocationFollower.undo}. What is revoked again meanwhile stays. */
  async undo(entryId: string, upToMs?: number): Promise<boolean> {
    const { log, inForce, inStep } = this.#options;
    const waiting = inForce.waiting(entryId);
    const undone = await log.undo(entryId, upToMs);
    if (undone !== undefined) {
      inForce.undone(undone);
      await inStep.sync();
    }
    const dropped = waiting !== undefined && madeMs(waiting) <= (upToMs ?? madeMs(waiting)) && inForce.drop(waiting);
    return undone !== undefined || dropped;
  }

  /** Undoes what came back after it had been undone. Where the store is away, the next rebuild shows it again. */
  undoAgain(entry: RevocationEntry): void {
    void this.#options.log.undo(entry.entryId, madeMs(entry)).catch(() => undefined);
  }

  /** Sends what waits, oldest first, until the store takes one no more or `closing` says so. */
  async sendWaiting(closing: AbortSignal): Promise<void> {
    for (const local of this.#options.inForce.pending()) {
      // Others may have revoked it since.
      const draft = { ...local, madeAtMs: madeMs(local) };
      if (closing.aborted || (await this.#send(local, draft)) === undefined) return;
    }
  }

  /** Undefined when the store did not take it, or lost it at once. */
  async #send(local: RevocationEntry, draft: RevocationDraft): Promise<RevocationEntry | undefined> {
    const { log, inForce, inStep } = this.#options;
    for (let attempt = 0; attempt < 2; attempt += 1) {
      try {
        const { readings } = inStep;
        const entry = await log.append(draft);
        this.#lastSeq = Math.max(this.#lastSeq, entry.seq);
        const isRead = await this.#reach(inStep.syncAnew());
        // Read anew, the log may be one that had lost the entry.
        const isWhole = readings === inStep.readings && (inStep.head?.seq ?? 0) >= entry.seq;
        const read = isRead ? (isWhole ? 'whole' : 'doubtful') : undefined;
        if (inForce.land(local, entry, read)) return entry;
      } catch (error) {
        if (!isStoreUnavailable(error)) throw error;
      }
      // There may be a store without a log: making one is what syncing does.
      if (attempt === 0 && !(await this.#reach(inStep.sync()))) return undefined;
    }
    return undefined;
  }

  /** A log that is not even where it was by its own answer has lost its end since, which nobody else may notice. */
  async #reach(syncing: Promise<boolean>): Promise<boolean> {
    const { inStep } = this.#options;
    const isRead = await syncing;
    const { head } = inStep;
    const seq = this.#lastSeq;
    if (!isRead || head === undefined || head.seq >= seq) return isRead;
    this.#lastSeq = 0;
    inStep.wasAt({ epoch: head.epoch, seq });
    return inStep.sync();
  }
}
