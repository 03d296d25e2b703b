// Reads a log that no longer continues what was followed, and puts back what it lost: what this replica holds and, where there
// is one, what the durable store remembers. Replicas do this together; one that holds nothing itself gives the others time
// (design 5).
import { setTimeout as delay } from 'node:timers/promises';
import { type Clock, steadyWall } from '../core/clock.ts';
import { isStoreUnavailable, storeUnavailable } from '../core/errors.ts';
import {
  madeMs,
  type RevocationEntry,
  type RevocationEvent,
  type RevocationHead,
  type RevocationLog,
} from '../stores/contracts/revocations.ts';
import { RevocationIndex } from './index.ts';
import { type LogChange, Losses } from './losses.ts';
import { type ReadLog, readLog } from './reading.ts';
import type { Tombstones } from './tombstones.ts';

/** A part of what a durable store remembers: entries in force, and those that were taken back. */
export interface RememberedRevocations {
  readonly entries: readonly RevocationEntry[];
  readonly undone: readonly RevocationEntry[];
}

/** A log that lacks nothing that is known here. */
export interface WholeLog extends ReadLog {
  /** True where it was whole by itself: it had only run ahead. */
  readonly wasWhole: boolean;
}

/** What was put back. */
interface PutBack {
  /** Of what has all of it, and has to be read again. */
  readonly head: RevocationHead;
  /** Entries that the log lacked. */
  readonly added: number;
}

/** What it is made of. */
export interface RecoveryOptions {
  readonly log: RevocationLog;
  /** What this replica holds. */
  readonly index: RevocationIndex;
  readonly clock: Clock;
  readonly tombstones: Tombstones;
  /** Ends waiting. */
  readonly closing: AbortSignal;
  /** Iterating rejects with `store_unavailable` when the durable store cannot tell. */
  readonly remembered?: () => AsyncIterable<RememberedRevocations>;
  /** Told when the log is lost and when it is whole again. */
  readonly onLogChange?: (change: LogChange) => void;
}

/** The log has to be as it is for this long before it counts as put back by the others. */
const CALM_MS = 3000;
const LONGEST_MS = 60_000;
const STEP_MS = 100;

/** One replica's part in mending the log. */
export class Recovery {
  readonly #options: RecoveryOptions;
  readonly #steadyMs: () => number;
  readonly #losses: Losses;

  constructor(options: RecoveryOptions) {
    this.#options = options;
    this.#steadyMs = steadyWall(options.clock);
    this.#losses = new Losses(options.clock, options.onLogChange);
  }

  /**
   * Reads all of the log into a second index. Unless it continues `mine` (`follows` says whether its head does) it lost data,
   * and what only this replica or the durable store holds is put in first. `complete`: this replica held all of it once.
   * `onEvent` is told of what is new meanwhile. Rejects with `store_unavailable`.
   */
  async read(
    mine: RevocationHead | undefined,
    { follows, complete }: { readonly follows: boolean; readonly complete: boolean },
    onEvent: (event: RevocationEvent) => void,
  ): Promise<WholeLog> {
    const { log, index } = this.#options;
    const read = await readLog(log, onEvent);
    // Lost since it was asked for its head, it may have been made anew by somebody who knows less.
    if (follows && read !== undefined && mine !== undefined && reaches(read.head, mine))
      return { ...read, wasWhole: true };
    this.#losses.compared(read?.head, mine, index.size);
    const mended = await this.#putBack(read, mine, complete);
    if (mended !== undefined) this.#losses.putBack(mended.added, mine, index.size);
    const whole = mended === undefined ? read : await readLog(log, onEvent);
    // A log of another epoch was made meanwhile, by somebody who may know less than this replica.
    if (whole === undefined || (mended !== undefined && !reaches(whole.head, mended.head)))
      throw storeUnavailable('the revocation log was lost again while it was read');
    return { ...whole, wasWhole: false };
  }

  /** What {@link read} gave is in force: log and index are in step again. */
  finished(): void {
    this.#losses.whole(this.#options.index.size);
  }

  /** The log is away since the start: puts what the durable store remembers in force; false when it could not tell all. */
  async fill(onEntry: (entry: RevocationEntry) => void): Promise<boolean> {
    const { index } = this.#options;
    if (!(await this.#remember(onEntry))) return false;
    this.#losses.filled(index.size);
    return true;
  }

  /** Puts into a log that is followed, as far as `head`, what only the durable store holds. Rejects with `store_unavailable`. */
  async complete(head: RevocationHead): Promise<void> {
    await this.#putBack({ index: this.#options.index, head }, head, true);
  }

  /** Tells of every entry that the durable store remembers in force; false when there is none, or it could not tell all. */
  async #remember(onEntry: (entry: RevocationEntry) => void): Promise<boolean> {
    const { remembered, tombstones } = this.#options;
    if (remembered === undefined) return false;
    try {
      for await (const { entries, undone } of remembered()) {
        for (const entry of undone) tombstones.add(entry);
        for (const entry of entries) onEntry(entry);
      }
      return true;
    } catch (error) {
      if (isStoreUnavailable(error)) return false;
      throw error;
    }
  }

  /**
   * Adds what the log lacks, and makes one where `read` is none or behind `mine`; undefined when nothing had to be changed.
   * `complete`: this replica held all of it once. Rejects with `store_unavailable`.
   */
  async #putBack(
    read: ReadLog | undefined,
    mine: RevocationHead | undefined,
    complete: boolean,
  ): Promise<PutBack | undefined> {
    const behind = mine !== undefined && read?.head.epoch === mine.epoch && read.head.seq < mine.seq;
    const missing = new RevocationIndex();
    const remembered = await this.#collect(missing, read?.index);
    if (read !== undefined && !behind && missing.size === 0) return undefined;
    let added = 0;
    const count = (more: number) => {
      added += more;
    };
    const { head, listeners } = await this.#options.log.rebuild(this.#unlessUndone(missing, count), mine, read?.head);
    // Nothing here says what a lost log held, but others that are there put back what they know.
    if (read === undefined && !complete && !remembered && listeners > 0) await this.#awaitOthers(head);
    return { head, added };
  }

  /** What lives here or in the durable store and `read` lacks, or has from earlier; true when that store could tell. */
  async #collect(missing: RevocationIndex, read: RevocationIndex | undefined): Promise<boolean> {
    const nowMs = this.#steadyMs();
    const note = (entry: RevocationEntry) => {
      const lives = entry.untilMs === 'forever' || entry.untilMs > nowMs;
      // Replica and durable store may know of two revocations of the same thing.
      const knownMs = Math.max(read?.madeMs(entry) ?? -1, missing.madeMs(entry));
      if (lives && knownMs < madeMs(entry)) missing.put(entry);
    };
    const remembered = await this.#remember(note);
    // Entries of seq 0 are pending: they are sent by themselves.
    for await (const batch of this.#options.index.walk(({ seq }) => seq > 0)) for (const entry of batch) note(entry);
    return remembered;
  }

  async *#unlessUndone(
    missing: RevocationIndex,
    count: (entries: number) => void,
  ): AsyncGenerator<readonly RevocationEntry[]> {
    for await (const batch of missing.walk()) {
      const standing = batch.filter((entry) => !this.#options.tombstones.covers(entry));
      count(standing.length);
      yield standing;
    }
  }

  async #awaitOthers(made: RevocationHead): Promise<void> {
    let last: RevocationHead | undefined = made;
    let calmMs = 0;
    for (let waitedMs = 0; waitedMs < LONGEST_MS && calmMs < CALM_MS; waitedMs += STEP_MS) {
      await delay(STEP_MS, undefined, { ref: false });
      if (this.#options.closing.aborted) throw storeUnavailable('this replica is stopping');
      const head = await this.#options.log.head();
      calmMs = head?.epoch === last?.epoch && head?.seq === last?.seq ? calmMs + STEP_MS : 0;
      last = head;
    }
  }
}

const reaches = (a: RevocationHead, b: RevocationHead) => a.epoch === b.epoch && a.seq >= b.seq;
