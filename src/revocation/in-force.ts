// Everything that is in force on this replica: the index that requests are held against, which follows the shared log, and
// beside it what the log may not say yet: revocations that wait to be sent, those of sibling processes, those just sent, and
// what was taken back. Whatever the log says, these are laid over it here; who talks to the log stands in follower.ts.
import {
  isLater,
  madeMs,
  type RevocationEntry,
  type RevocationEvent,
  stands,
} from '../stores/contracts/revocations.ts';
import { HeldRevocations } from './held.ts';
import type { RevocationIndex } from './index.ts';
import { PendingRevocations } from './pending.ts';
import type { WholeLog } from './recovery.ts';
import type { Tombstones } from './tombstones.ts';

/** What it is made of. */
export interface InForceOptions {
  readonly index: RevocationIndex;
  readonly tombstones: Tombstones;
  /** Told of every event by which this replica learns of a revocation. */
  readonly onNew: (entry: RevocationEntry) => void;
  /** Told of what was undone and came back with a rebuild by a replica that had not seen it undone: it must be undone again. */
  readonly onRaised: (entry: RevocationEntry) => void;
  /** Told when the log turns out to have lost what is in force here: it must be put back. */
  readonly onLost: () => void;
}

/** One replica's revocations. */
export class InForce {
  readonly #options: InForceOptions;
  readonly #index: RevocationIndex;
  readonly #tombstones: Tombstones;
  readonly #pending = new PendingRevocations();
  readonly #held = new HeldRevocations();
  /** What the log says of that which waits, by id. The index shows whichever stands. */
  readonly #logged = new Map<string, RevocationEntry | undefined>();

  constructor(options: InForceOptions) {
    this.#options = options;
    this.#index = options.index;
    this.#tombstones = options.tombstones;
  }

  /** Revocations of this process that the log does not have yet, oldest first. */
  pending(): readonly RevocationEntry[] {
    return this.#pending.list();
  }

  /** What the log may lack, of this process and of its siblings. */
  unlogged(): readonly RevocationEntry[] {
    return [...this.#pending.list(), ...this.#held.list()];
  }

  /** The entry with this id that the log may lack. */
  waiting(entryId: string): RevocationEntry | undefined {
    const [mine, theirs] = [this.#pending.get(entryId), this.#held.get(entryId)];
    return mine !== undefined && theirs !== undefined && stands(theirs, mine, madeMs(mine)) ? theirs : (mine ?? theirs);
  }

  /** Revoked by this process, and waiting for the log from now on. Throws `store_unavailable` when too many wait already. */
  add(local: RevocationEntry): void {
    this.#pending.add(local);
    this.#wait(local);
  }

  /**
   * The log took `local` as `entry`. `read`: what was read of it since has it, unless it was lost at once; false where it was, and
   * then it waits on. Undefined: nothing could be read.
   */
  land(local: RevocationEntry, entry: RevocationEntry, read: 'whole' | 'doubtful' | undefined): boolean {
    const { entryId } = local;
    // Taken back meanwhile, or revoked once more: that counts.
    if (this.#pending.get(entryId) !== local) return true;
    const logged = this.#logged.get(entryId);
    const isThere = logged !== undefined && !isLater(entry, logged);
    if (read === 'doubtful' && !isThere && !this.#tombstones.covers(entry)) return false;
    if (read === undefined && !isThere) this.#logged.set(entryId, entry);
    this.#pending.settle(local);
    this.#show(this.#index, local);
    return true;
  }

  /** In force from now on, on the word of a sibling process. */
  hold(entry: RevocationEntry): void {
    this.#held.add(entry);
    this.#wait(entry);
  }

  /** Out of force if it was made by `upToMs`, where the log cannot be told now. */
  withdraw(entry: RevocationEntry, upToMs = Number.POSITIVE_INFINITY): void {
    const isMeant = (other: RevocationEntry | undefined) => other !== undefined && madeMs(other) <= upToMs;
    for (const other of [this.#pending.get(entry.entryId), this.#held.get(entry.entryId)]) {
      if (other !== undefined && isMeant(other)) this.drop(other);
    }
    const logged = this.#loggedOf(entry);
    if (logged === undefined || !isMeant(logged)) return;
    this.#tombstones.add(logged);
    this.#logged.set(entry.entryId, undefined);
    this.#show(this.#index, entry);
  }

  /** This very one waits for the log no longer; false when it did not. What the log says counts then. */
  drop(waiting: RevocationEntry): boolean {
    const dropped = [this.#pending.settle(waiting), this.#held.drop(waiting)].includes(true);
    if (dropped) this.#show(this.#index, waiting);
    return dropped;
  }

  /** The log took this one back, and no rebuild may bring it again. */
  undone(entry: RevocationEntry): void {
    this.#tombstones.add(entry);
  }

  /** What the log says next. */
  apply(event: RevocationEvent): void {
    const { entry } = event;
    if (event.type === 'undo') this.#tombstones.add(entry);
    if (this.#isOutdated(event)) {
      this.#options.onLost();
      return;
    }
    if (event.type === 'put') this.#meet(entry, event.restored);
    if (!this.#logged.has(entry.entryId)) {
      this.#index.apply(event);
      return;
    }
    this.#say(entry, event.type === 'put' ? entry : undefined);
    this.#show(this.#index, entry);
  }

  /** What the durable store remembers, where there is no log. */
  fill(entry: RevocationEntry): void {
    const held = this.#loggedOf(entry);
    if (held !== undefined && isLater(held, entry)) return;
    if (!this.#logged.has(entry.entryId)) {
      this.#index.put(entry);
      return;
    }
    this.#logged.set(entry.entryId, entry);
    this.#show(this.#index, entry);
  }

  /** Exchanges the index for what was read of the whole log. What may have been undone is looked for only where that had lost something. */
  take({ index, wasWhole }: WholeLog): void {
    const raised = wasWhole ? [] : this.#tombstones.raisedIn(index);
    for (const entry of this.unlogged()) {
      if (!this.#logged.has(entry.entryId)) continue;
      this.#say(entry, index.get(entry.kind, entry.issuer, entry.id));
      this.#show(index, entry);
    }
    this.#index.take(index);
    for (const entry of raised) this.#options.onRaised(entry);
  }

  /** Put back, or taken back, in a log that lost the later one that is held here. */
  #isOutdated(event: RevocationEvent): boolean {
    if (event.type === 'put' && !event.restored) return false;
    const { entry } = event;
    const logged = this.#logged.get(entry.entryId);
    const heldMs = this.#logged.has(entry.entryId) ? logged && madeMs(logged) : this.#index.madeMs(entry);
    return heldMs !== undefined && heldMs > madeMs(entry);
  }

  #wait(entry: RevocationEntry): void {
    this.#tombstones.remove(entry.entryId);
    this.#logged.set(entry.entryId, this.#loggedOf(entry));
    this.#show(this.#index, entry);
  }

  #loggedOf({ entryId, kind, issuer, id }: RevocationEntry): RevocationEntry | undefined {
    return this.#logged.has(entryId) ? this.#logged.get(entryId) : this.#index.get(kind, issuer, id);
  }

  /** The log says `logged` of `entry`, which waits: nothing where that is undefined. */
  #say(entry: RevocationEntry, logged: RevocationEntry | undefined): void {
    const held = this.#held.get(entry.entryId);
    if (logged !== undefined) this.#held.settle(logged);
    else if (held !== undefined && entry.seq > 0 && !isLater(held, entry)) this.#held.drop(held);
    this.#logged.set(entry.entryId, logged);
  }

  /** Puts into `index` what stands of that which waits and what the log says of it. */
  #show(index: RevocationIndex, entry: RevocationEntry): void {
    const waiting = this.waiting(entry.entryId);
    const logged = this.#logged.get(entry.entryId);
    const shown = waiting !== undefined && !(logged && stands(logged, waiting, madeMs(waiting))) ? waiting : logged;
    if (waiting === undefined) this.#logged.delete(entry.entryId);
    if (shown === undefined) index.remove(entry);
    else index.put(shown);
  }

  #meet(entry: RevocationEntry, isRestored: boolean): void {
    if (!isRestored) this.#tombstones.remove(entry.entryId);
    else if (this.#tombstones.covers(entry)) this.#options.onRaised(entry);
    const { kind, issuer, id, seq } = entry;
    if (this.#index.get(kind, issuer, id)?.seq !== seq) this.#options.onNew(entry);
  }
}
