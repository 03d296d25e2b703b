// Keeps the index of this replica in step with the shared revocation log, notices when the store lost data, puts back what
// this replica knows, and says what holds while the store is away (design 5). Sends local revocations until they are in.
import { setTimeout as delay } from 'node:timers/promises';
import { isStoreUnavailable, storeUnavailable } from '../core/errors.ts';
import type {
  RevocationDraft,
  RevocationEntry,
  RevocationEvent,
  RevocationHead,
  RevocationLog,
  StoreNotice,
} from '../stores/contracts/revocations.ts';
import { EntryTime } from './entry-time.ts';
import type { FollowerOptions, RevokeAnswer } from './follower-options.ts';
import { HeldRevocations } from './held.ts';
import type { RevocationIndex } from './index.ts';
import { Losses } from './losses.ts';
import { localEntry, PendingRevocations } from './pending.ts';
import { type ReadLog, readLog } from './reading.ts';
import { Recovery } from './recovery.ts';
import { Tombstones } from './tombstones.ts';

const RETRY_MS = 1000;
const RELOADS = 3;
const SWEEP_MS = 1000;
/** Contact is sought every second while there is none: so long without is no blink. */
const DENY_AFTER_MS = 3000;

const LOST = Promise.resolve('lost' as const);

/** One replica's side of the revocation log. */
export class RevocationFollower implements AsyncDisposable {
  readonly time: EntryTime;
  readonly #options: FollowerOptions;
  readonly #log: RevocationLog;
  readonly #index: RevocationIndex;
  readonly #pending = new PendingRevocations();
  readonly #held = new HeldRevocations();
  readonly #tombstones = new Tombstones();
  /** In the log, but by what was read of it last not in the index yet: a reload that began before must not drop them. */
  readonly #landing = new Set<RevocationEntry>();
  readonly #recovery: Recovery;
  readonly #losses: Losses;
  readonly #timers: NodeJS.Timeout[] = [];
  #head: RevocationHead | undefined;
  #contactMs = Number.NEGATIVE_INFINITY;
  #loadedOnce = false;
  #syncing: Promise<boolean> | undefined;
  #watch: AsyncDisposable | undefined;
  #doubted = false;
  #reloading = false;
  /** A request has waited for everything to be read anew, in vain: the next ones need not wait as long for the same. */
  #outlasted = false;
  readonly #closing = new AbortController();

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.time = new EntryTime(options.clock);
    this.#log = options.log;
    this.#index = options.index;
    this.#losses = new Losses(options.clock, options.onLogChange);
    this.#recovery = new Recovery({
      ...options,
      tombstones: this.#tombstones,
      closing: this.#closing.signal,
    });
  }

  /** True once the index was complete, since start: what `/readyz` waits for. */
  get loadedOnce(): boolean {
    return this.#loadedOnce;
  }

  /** The head that the index reflects. */
  get head(): RevocationHead | undefined {
    return this.#head;
  }

  /** Revocations in force here that the store does not have yet. */
  pending(): readonly RevocationEntry[] {
    return this.#pending.list();
  }

  /** What is in force here and the log may lack, of this process and of its siblings. */
  unlogged(): readonly RevocationEntry[] {
    return [...this.#pending.list(), ...this.#held.list()];
  }

  /** In force here from now on, on the word of a sibling process, which alone sends it to the log. */
  hold(entry: RevocationEntry): void {
    this.#held.add(entry);
    this.#tombstones.remove(entry.entryId);
    this.#index.put(entry);
  }

  /** Takes back here what a sibling process has taken back; what the log has, its events take back. */
  release(entryId: string): void {
    const entry = this.#held.get(entryId) ?? this.#pending.get(entryId);
    if (entry !== undefined) this.withdraw(entry);
  }

  /** Loads the log, making one where the store is empty; resolves also when the store is away, then it goes on trying. */
  async start(): Promise<void> {
    this.#every(RETRY_MS, () => this.#retry());
    this.#every(SWEEP_MS, () => this.#sweep());
    await this.#sync();
    this.#watch = await this.#log.watch((notice) => this.#onNotice(notice)).catch(() => undefined);
  }

  /**
   * Compares the head of a batch with the index. `current`: the index answers for this batch. A promise: it is being
   * brought up to date; `lost` when that failed or takes too long, then {@link policy} decides. `askedMs`: what the batch has
   * waited already; both together are never longer than `waitMs`.
   */
  observe(head: RevocationHead | undefined, askedMs = 0): 'current' | Promise<'current' | 'lost'> {
    const mine = this.#head;
    // While in doubt an equal head proves nothing: another server may have given the same number to another entry.
    if (!this.#doubted && head !== undefined && mine !== undefined && (head === mine || same(head, mine))) {
      this.#contactMs = this.#options.clock.monotonicMs();
      return 'current';
    }
    return this.#outlasted ? LOST : this.#reach(head, Math.max(0, this.#options.waitMs - askedMs));
  }

  /**
   * What is known now: `ready` in step, also while the newest entries are being read, which each revocation brings about; `known`
   * complete once, and within known_for of the last contact; `unknown`.
   */
  state(): 'ready' | 'known' | 'unknown' {
    if (!this.#loadedOnce) return 'unknown';
    const isWhole = this.#head !== undefined && !this.#doubted && !this.#reloading;
    if (isWhole && this.#sinceContactMs() < RETRY_MS * 2) return 'ready';
    return this.#sinceContactMs() <= this.#options.knownForMs ? 'known' : 'unknown';
  }

  /** What a request may do when the check failed: be held against the index as it is, or be denied with 503. */
  policy(): 'index' | 'deny' {
    const { onStoreDown, knownForMs } = this.#options;
    if (onStoreDown === 'allow') return 'index';
    if (onStoreDown === 'deny' || !this.#loadedOnce) return 'deny';
    return this.#sinceContactMs() <= knownForMs ? 'index' : 'deny';
  }

  /**
   * Whether what is known of revocations may keep open what was let in before: with the store away as long as it lets
   * requests in; with `deny`, which lets none in, for three seconds, so that a blink of the store ends nothing.
   */
  mayKeepOpen(): boolean {
    const { onStoreDown, knownForMs } = this.#options;
    if (onStoreDown === 'allow') return true;
    const boundMs = onStoreDown === 'deny' ? DENY_AFTER_MS : Math.max(DENY_AFTER_MS, knownForMs);
    return this.#loadedOnce && this.#sinceContactMs() <= boundMs;
  }

  /** In force here at once, on every replica when the answer says `all`. Throws only when too many wait already. */
  async revoke(draft: RevocationDraft): Promise<RevokeAnswer> {
    const local = localEntry(draft, this.#options.clock.nowMs());
    this.#pending.add(local);
    this.#index.put(local);
    this.#tombstones.remove(local.entryId);
    const entry = await this.#send(local);
    return entry ? { entry, applied: 'all' } : { entry: local, applied: 'pending' };
  }

  /** Takes an entry back; false when there is none. Rejects with `store_unavailable` when the log cannot be changed. */
  async undo(entryId: string): Promise<boolean> {
    const waiting = this.#pending.get(entryId) ?? this.#held.get(entryId);
    const undone = await this.#log.undo(entryId);
    const dropped = [this.#pending.drop(entryId), this.#held.drop(entryId)].includes(true);
    if (undone !== undefined) {
      this.#tombstones.add(undone);
      await this.#sync();
    }
    if (dropped && waiting) this.#index.remove(waiting);
    return undone !== undefined || dropped;
  }

  /** The entry with this id, in the log or waiting; with the store away, or behind, what this replica knows. */
  async find(entryId: string): Promise<RevocationEntry | undefined> {
    const waiting = this.#pending.get(entryId) ?? this.#held.get(entryId);
    if (waiting !== undefined) return waiting;
    try {
      const logged = await this.#log.get(entryId);
      if (logged !== undefined || this.state() === 'ready') return logged;
    } catch (error) {
      if (!isStoreUnavailable(error)) throw error;
    }
    return this.#index.find(entryId);
  }

  /** Takes back here what is in force here, where the log cannot be told now: it must be told later. */
  withdraw(entry: RevocationEntry): void {
    this.#pending.drop(entry.entryId);
    this.#held.drop(entry.entryId);
    const held = this.#index.get(entry.kind, entry.issuer, entry.id);
    if (held === undefined) return;
    this.#tombstones.add(held);
    this.#index.remove(held);
  }

  /**
   * Compares everything anew, and puts into the log what it lacks: another server answers, or keys were evicted, and then an
   * equal head proves nothing.
   */
  refresh(): void {
    this.#doubted = true;
    // One that is under way may have looked already.
    void this.#sync().then(() => (this.#doubted ? this.#sync() : undefined));
  }

  /**
   * The durable store can be asked again: puts into the log what only that store holds. A log that is followed is believed
   * meanwhile, so that a store that is slow, or goes away once more, has nobody refused.
   */
  complete(): void {
    const head = this.#head;
    if (head === undefined || this.state() !== 'ready') {
      this.refresh();
      return;
    }
    this.#recovery.putBack({ index: this.#index, head }, head, true).catch((error: unknown) => {
      if (!isStoreUnavailable(error)) throw error;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    for (const timer of this.#timers) clearInterval(timer);
    await this.#watch?.[Symbol.asyncDispose]();
    await this.#syncing?.catch(() => undefined);
  }

  async #reach(head: RevocationHead | undefined, waitMs: number): Promise<'current' | 'lost'> {
    const patience = new AbortController();
    const late = delay(waitMs, false, { ref: false, signal: patience.signal }).catch(() => false);
    const reached = await Promise.race([this.#reachHead(head), late]);
    patience.abort();
    if (!reached && this.#reloading) this.#outlasted = true;
    return reached ? 'current' : 'lost';
  }

  /** A sync that began before the batch ran need not cover its head; one that begins now does. */
  async #reachHead(head: RevocationHead | undefined): Promise<boolean> {
    const running = this.#syncing;
    if (running && (await running) && this.#covers(head)) return true;
    return this.#sync();
  }

  #covers(head: RevocationHead | undefined): boolean {
    return head !== undefined && head.epoch === this.#head?.epoch && head.seq <= this.#head.seq;
  }

  /** Single flight: brings the index to the log's present state; false when the store is away. */
  #sync(): Promise<boolean> {
    this.#syncing ??= this.#syncOnce().finally(() => {
      this.#syncing = undefined;
    });
    return this.#syncing;
  }

  async #syncOnce(): Promise<boolean> {
    try {
      for (let attempt = 1; !(await this.#follow(attempt === RELOADS)); attempt += 1);
      this.#contactMs = this.#options.clock.monotonicMs();
      return true;
    } catch (error) {
      if (!isStoreUnavailable(error)) throw error;
      if (!this.#loadedOnce) await this.#fill();
      return false;
    }
  }

  /** False when the log was exchanged while it was read, as replicas that mend it together do to one another: worth another try. */
  async #follow(isLast: boolean): Promise<boolean> {
    const head = await this.#log.head();
    const mine = this.#head;
    const continues = head !== undefined && mine !== undefined && head.epoch === mine.epoch && head.seq >= mine.seq;
    const follows = continues && !this.#doubted;
    try {
      if (!follows || !(await this.#catchUp(mine))) await this.#reload(follows);
      return true;
    } catch (error) {
      if (isLast || !isStoreUnavailable(error)) throw error;
      return false;
    }
  }

  /** Started while the log is away: what the durable store remembers is known, for `known_for`. */
  async #fill(): Promise<void> {
    if (!(await this.#recovery.remember((entry) => this.#index.put(entry)))) return;
    this.#contactMs = this.#options.clock.monotonicMs();
    this.#loadedOnce = true;
    this.#losses.filled(this.#index.size);
  }

  async #catchUp(mine: RevocationHead): Promise<boolean> {
    const events = await this.#log.since(mine);
    if (events === undefined) return false;
    for (const event of events) this.#apply(event);
    if (events.length > 0) this.#head = { epoch: mine.epoch, seq: mine.seq + events.length };
    return true;
  }

  /**
   * Reads everything into a second index, and exchanges them: until then the old one answers, which also hears of what is
   * new. Unless the log merely ran ahead it lost data: what only this replica or the durable store holds is put in first.
   */
  async #reload(follows: boolean): Promise<void> {
    this.#reloading = true;
    try {
      await this.#readAnew(follows);
    } finally {
      this.#reloading = false;
      this.#outlasted = false;
    }
  }

  async #readAnew(follows: boolean): Promise<void> {
    const hear = (event: RevocationEvent) => this.#apply(event);
    let read = await readLog(this.#log, hear);
    const mine = this.#head;
    // Lost since it was asked for its head, it may have been made anew by somebody who knows less.
    const whole = follows && read !== undefined && mine !== undefined && reaches(read.head, mine);
    if (!whole) this.#losses.compared(read?.head, mine, this.#index.size);
    const mended = whole ? undefined : await this.#recovery.putBack(read, this.#head, this.#loadedOnce);
    if (mended !== undefined) {
      this.#losses.putBack(mended.added, mine, this.#index.size);
      read = await readLog(this.#log, hear);
    }
    // A log of another epoch was made meanwhile, by somebody who may know less than this replica.
    if (read === undefined || (mended !== undefined && !reaches(read.head, mended.head)))
      throw storeUnavailable('the revocation log was lost again while it was read');
    if (!whole) this.#doubted = false;
    this.#exchange(read, whole);
    if (!whole) this.#losses.whole(this.#index.size);
  }

  #exchange({ index, head }: ReadLog, whole: boolean): void {
    const raised = whole ? [] : this.#tombstones.raisedIn(index);
    const begunBefore = ({ seq }: RevocationEntry) => head.epoch !== this.#head?.epoch || seq > head.seq;
    for (const entry of this.#landing) if (begunBefore(entry)) index.put(entry);
    this.#held.settle(index);
    for (const entry of this.unlogged()) index.put(entry);
    this.#index.take(index);
    this.#head = head;
    this.#loadedOnce = true;
    this.#takeBack(raised);
  }

  #apply(event: RevocationEvent): void {
    if (event.type === 'undo') {
      this.#tombstones.add(event.entry);
    } else {
      if (event.restored && this.#tombstones.covers(event.entry)) this.#takeBack([event.entry]);
      if (!event.restored) this.#tombstones.remove(event.entry.entryId);
      const { kind, issuer, id, seq } = event.entry;
      if (this.#index.get(kind, issuer, id)?.seq !== seq) {
        this.#options.onPropagation?.(Math.max(0, this.#options.clock.nowMs() - event.entry.revokedAtMs));
      }
    }
    this.#index.apply(event);
    if (event.type === 'undo') this.#held.drop(event.entry.entryId);
    else this.#held.settle(this.#index);
    const waiting = this.#pending.get(event.entry.entryId) ?? this.#held.get(event.entry.entryId);
    if (waiting) this.#index.put(waiting);
  }

  /** What was undone and came back with a rebuild by a replica that had not seen it undone. */
  #takeBack(entries: readonly RevocationEntry[]): void {
    for (const { entryId } of entries) void this.#log.undo(entryId).catch(() => undefined);
  }

  /** Undefined when the store did not take it. */
  async #send(local: RevocationEntry): Promise<RevocationEntry | undefined> {
    for (let attempt = 0; attempt < 2; attempt += 1) {
      try {
        return await this.#land(local, await this.#log.append(local));
      } catch (error) {
        if (!isStoreUnavailable(error)) throw error;
      }
      // There may be a store without a log: making one is what sync does.
      if (attempt === 0 && !(await this.#sync())) return undefined;
    }
    return undefined;
  }

  /** A reload that began before the append must not drop it again. */
  async #land(local: RevocationEntry, entry: RevocationEntry): Promise<RevocationEntry> {
    this.#landing.add(entry);
    this.#pending.settle(local);
    this.#index.put(entry);
    try {
      if (!(await this.#reachHead(undefined))) this.#index.put(entry);
      return entry;
    } finally {
      this.#landing.delete(entry);
    }
  }

  async #retry(): Promise<void> {
    if (this.#pending.size === 0 && this.#sinceContactMs() < RETRY_MS) return;
    if (!(await this.#sync())) return;
    for (const local of this.#pending.list()) {
      if (this.#closing.signal.aborted || (await this.#send(local)) === undefined) return;
    }
  }

  /** A clock that was ahead since the start and is set right: what has left the index meanwhile may have to come back. */
  async #sweep(): Promise<void> {
    const { forgetMs, setBackMs } = this.time.sweep();
    this.#index.sweep(forgetMs);
    if (setBackMs > 0) {
      this.#options.onSetBack?.(setBackMs);
      this.refresh();
    } else if (this.time.isHeld && !this.#doubted) {
      this.time.reread(await this.#log.timeMs().catch(() => Number.POSITIVE_INFINITY));
    }
  }

  #onNotice(notice: StoreNotice): void {
    if (this.#closing.signal.aborted) return;
    if (notice.type === 'limit_reset') this.#options.onLimitReset?.(notice.key);
    else void this.observe(notice.head);
  }

  #sinceContactMs(): number {
    return this.#options.clock.monotonicMs() - this.#contactMs;
  }

  #every(ms: number, task: () => unknown): void {
    let running = false;
    const tick = async () => {
      if (running) return;
      running = true;
      try {
        await task();
      } finally {
        running = false;
      }
    };
    this.#timers.push(setInterval(tick, ms).unref());
  }
}

const same = (a: RevocationHead, b: RevocationHead) => a.seq === b.seq && a.epoch === b.epoch;
const reaches = (a: RevocationHead, b: RevocationHead) => a.epoch === b.epoch && a.seq >= b.seq;
