// Everything that is in force on this replica: the index that requests are held against, which follows the shared log, and
// beside it what the log may not say yet: revocations that wait to be sent, those of sibling processes, those just sent, and
// what was taken back. Whatever the log says, these are laid over it here; who talks to the log stands in follower.ts.
import type { RevocationEntry, RevocationEvent, RevocationHead } from '../stores/contracts/revocations.ts';
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
}

/** One replica's revocations. */
export class InForce {
  readonly #options: InForceOptions;
  readonly #index: RevocationIndex;
  readonly #tombstones: Tombstones;
  readonly #pending = new PendingRevocations();
  readonly #held = new HeldRevocations();
  /** In the log, but by what was read of it last not in the index yet: a reload that began before must not drop them. */
  readonly #landing = new Set<RevocationEntry>();

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
    return this.#pending.get(entryId) ?? this.#held.get(entryId);
  }

  /** Revoked by this process, and waiting for the log from now on. Throws `store_unavailable` when too many wait already. */
  add(local: RevocationEntry): void {
    this.#pending.add(local);
    this.#index.put(local);
    this.#tombstones.remove(local.entryId);
  }

  /**
   * The log took `local` as `entry`: it waits no longer, and no reload that began before drops it. Resolves when `reach` has:
   * true where the index has come as far as the entry.
   */
  async land(local: RevocationEntry, entry: RevocationEntry, reach: () => Promise<boolean>): Promise<void> {
    this.#landing.add(entry);
    this.#pending.settle(local);
    this.#index.put(entry);
    try {
      if (!(await reach())) this.#index.put(entry);
    } finally {
      this.#landing.delete(entry);
    }
  }

  /** In force from now on, on the word of a sibling process. */
  hold(entry: RevocationEntry): void {
    this.#held.add(entry);
    this.#tombstones.remove(entry.entryId);
    this.#index.put(entry);
  }

  /** Out of force, where the log cannot be told now. */
  withdraw(entry: RevocationEntry): void {
    this.drop(entry.entryId);
    const held = this.#index.get(entry.kind, entry.issuer, entry.id);
    if (held === undefined) return;
    this.#tombstones.add(held);
    this.#index.remove(held);
  }

  /** It waits for the log no longer; false when it did not. The index is as it was. */
  drop(entryId: string): boolean {
    return [this.#pending.drop(entryId), this.#held.drop(entryId)].includes(true);
  }

  /** The log took this one back, and no rebuild may bring it again. */
  undone(entry: RevocationEntry): void {
    this.#tombstones.add(entry);
  }

  /** Out of the index. */
  remove(entry: RevocationEntry): void {
    this.#index.remove(entry);
  }

  /** What the log says next. */
  apply(event: RevocationEvent): void {
    const { entry } = event;
    if (event.type === 'undo') this.#tombstones.add(entry);
    else this.#meet(entry, event.restored);
    this.#index.apply(event);
    if (event.type === 'undo') this.#held.drop(entry.entryId);
    else this.#held.settle(this.#index);
    const waiting = this.waiting(entry.entryId);
    if (waiting) this.#index.put(waiting);
  }

  /**
   * Exchanges the index for what was read of the whole log; `mine` is the head that the index had. What may have been undone
   * is looked for only where the log had lost something.
   */
  take({ index, head, wasWhole }: WholeLog, mine: RevocationHead | undefined): void {
    const raised = wasWhole ? [] : this.#tombstones.raisedIn(index);
    const begunBefore = ({ seq }: RevocationEntry) => head.epoch !== mine?.epoch || seq > head.seq;
    for (const entry of this.#landing) if (begunBefore(entry)) index.put(entry);
    this.#held.settle(index);
    for (const entry of this.unlogged()) index.put(entry);
    this.#index.take(index);
    for (const entry of raised) this.#options.onRaised(entry);
  }

  #meet(entry: RevocationEntry, isRestored: boolean): void {
    if (!isRestored) this.#tombstones.remove(entry.entryId);
    else if (this.#tombstones.covers(entry)) this.#options.onRaised(entry);
    const { kind, issuer, id, seq } = entry;
    if (this.#index.get(kind, issuer, id)?.seq !== seq) this.#options.onNew(entry);
  }
}
