// Revokes through the shared log: in force on this replica at once, and sent until the log has it. Remembering durably what is
// revoked is durable.ts's work, which stands on this.
import type { Clock } from '../core/clock.ts';
import { isStoreUnavailable } from '../core/errors.ts';
import type { RevocationDraft, RevocationEntry, RevocationLog } from '../stores/contracts/revocations.ts';
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
  readonly inStep: Pick<InStep, 'sync' | 'syncAnew'>;
}

/** One replica's writing side of the log. */
export class LogRevoker {
  readonly #options: LogRevokerOptions;

  constructor(options: LogRevokerOptions) {
    this.#options = options;
  }

  /** In force here at once, on every replica when the answer says `all`. Throws only when too many wait already. */
  async revoke(draft: RevocationDraft): Promise<RevokeAnswer> {
    const local = localEntry(draft, this.#options.clock.nowMs());
    this.#options.inForce.add(local);
    const entry = await this.#send(local);
    return entry ? { entry, applied: 'all' } : { entry: local, applied: 'pending' };
  }

  /** Takes an entry back; false when there is none. Rejects with `store_unavailable` when the log cannot be changed. */
  async undo(entryId: string): Promise<boolean> {
    const { log, inForce, inStep } = this.#options;
    const waiting = inForce.waiting(entryId);
    const undone = await log.undo(entryId);
    const dropped = inForce.drop(entryId);
    if (undone !== undefined) {
      inForce.undone(undone);
      await inStep.sync();
    }
    if (dropped && waiting) inForce.remove(waiting);
    return undone !== undefined || dropped;
  }

  /** Undoes what came back after it had been undone. Where the store is away, the next rebuild shows it again. */
  undoAgain({ entryId }: RevocationEntry): void {
    void this.#options.log.undo(entryId).catch(() => undefined);
  }

  /** Sends what waits, oldest first, until the store takes one no more or `closing` says so. */
  async sendWaiting(closing: AbortSignal): Promise<void> {
    for (const local of this.#options.inForce.pending()) {
      if (closing.aborted || (await this.#send(local)) === undefined) return;
    }
  }

  /** Undefined when the store did not take it. */
  async #send(local: RevocationEntry): Promise<RevocationEntry | undefined> {
    const { log, inForce, inStep } = this.#options;
    for (let attempt = 0; attempt < 2; attempt += 1) {
      try {
        const entry = await log.append(local);
        await inForce.land(local, entry, () => inStep.syncAnew());
        return entry;
      } catch (error) {
        if (!isStoreUnavailable(error)) throw error;
      }
      // There may be a store without a log: making one is what syncing does.
      if (attempt === 0 && !(await inStep.sync())) return undefined;
    }
    return undefined;
  }
}
