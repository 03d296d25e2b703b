// What becomes of the shared revocation log, told to whoever logs: that it was lost, and that it is whole again. One loss is told
// once, however many attempts its repair takes.
import type { Clock } from '../core/clock.ts';
import type { RevocationHead } from '../stores/contracts/revocations.ts';

/** A change that an operator wants to read of; `entries`: revocations in force on this replica at the time. */
export type LogChange =
  /** The log that was followed is gone, is an older one or another: nothing of it is believed until it was put back. */
  | { readonly type: 'lost'; readonly entries: number }
  /** It is whole again, by whichever replica; `added`: what this one put back. */
  | { readonly type: 'rebuilt'; readonly entries: number; readonly added: number; readonly tookMs: number }
  /** Started with the log away: what the durable store remembers is in force. */
  | { readonly type: 'filled'; readonly entries: number };

/** Follows one loss at a time. */
export class Losses {
  readonly #clock: Clock;
  readonly #onChange: (change: LogChange) => void;
  #lostAtMs: number | undefined;
  #added = 0;

  /** `onChange` must not throw. */
  constructor(clock: Clock, onChange: (change: LogChange) => void = () => undefined) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  /** The log was read and did not continue `mine`; `read` is what was found, undefined where there was none. */
  compared(read: RevocationHead | undefined, mine: RevocationHead | undefined, entries: number): void {
    if (mine === undefined || this.#lostAtMs !== undefined) return;
    // Looked at because of a doubt, and nothing is gone by its numbers.
    if (read !== undefined && read.epoch === mine.epoch && read.seq >= mine.seq) return;
    this.#lose(entries);
  }

  /** So many entries were put back; where the numbers had shown nothing (an eviction), this is how the loss is known. */
  putBack(added: number, mine: RevocationHead | undefined, entries: number): void {
    if (added > 0 && mine !== undefined && this.#lostAtMs === undefined) this.#lose(entries);
    this.#added += added;
  }

  /** The log and the index are in step. */
  whole(entries: number): void {
    const [lostAtMs, added] = [this.#lostAtMs, this.#added];
    this.#lostAtMs = undefined;
    this.#added = 0;
    if (lostAtMs === undefined && added === 0) return;
    const nowMs = this.#clock.monotonicMs();
    this.#onChange({ type: 'rebuilt', entries, added, tookMs: Math.round(nowMs - (lostAtMs ?? nowMs)) });
  }

  /** The durable store stood in for a log that is away. */
  filled(entries: number): void {
    this.#onChange({ type: 'filled', entries });
  }

  #lose(entries: number): void {
    this.#lostAtMs = this.#clock.monotonicMs();
    this.#onChange({ type: 'lost', entries });
  }
}
