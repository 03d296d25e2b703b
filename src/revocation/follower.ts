// Keeps the index of this replica in step with the shared revocation log, notices when the store lost data, puts back what
// this replica knows, and says what holds while the store is away (design 5). Sends local revocations until they are in.
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../core/clock.ts';
import { SidecarError, storeUnavailable } from '../core/errors.ts';
import type { EndedGrants } from '../stores/contracts/grants.ts';
import type {
  RevocationDraft,
  RevocationEntry,
  RevocationEvent,
  RevocationHead,
  RevocationLog,
  StoreNotice,
} from '../stores/contracts/revocations.ts';
import type { RevocationIndex } from './index.ts';
import { localEntry, PendingRevocations } from './pending.ts';
import { Tombstones } from './tombstones.ts';

const RETRY_MS = 1000;
const SWEEP_MS = 1000;

/** What a durable store remembers: entries in force, and those that were taken back. */
export interface RememberedRevocations {
  readonly entries: readonly RevocationEntry[];
  readonly undone: readonly RevocationEntry[];
}

/** How a follower is set up. */
export interface FollowerOptions {
  readonly log: RevocationLog;
  readonly index: RevocationIndex;
  readonly clock: Clock;
  /** `revocation.on_store_down`. */
  readonly onStoreDown: 'known' | 'deny' | 'allow';
  /** `revocation.known_for`: how long `known` holds without contact. */
  readonly knownForMs: number;
  /** Longest `observe` makes a request wait; what it started goes on. */
  readonly waitMs: number;
  /** Asked when the log was lost or is met for the first time; rejects with `store_unavailable` when it cannot tell. */
  readonly remembered?: () => Promise<RememberedRevocations>;
  /** Told of limit resets by any replica. */
  readonly onLimitReset?: (key: string) => void;
  /** Ms from revoking on another replica to refusing here, for the metric. */
  readonly onPropagation?: (ms: number) => void;
}

/** Answer to a revocation: in the shared log, or in force here and sent as soon as the store is back. */
export interface RevokeAnswer {
  readonly entry: RevocationEntry;
  readonly applied: 'all' | 'pending';
  /** Grants that ended with it, where there are any to end. */
  readonly ended?: EndedGrants | undefined;
}

/** One replica's side of the revocation log. */
export class RevocationFollower implements AsyncDisposable {
  readonly #options: FollowerOptions;
  readonly #log: RevocationLog;
  readonly #index: RevocationIndex;
  readonly #pending = new PendingRevocations();
  readonly #tombstones = new Tombstones();
  readonly #timers: NodeJS.Timeout[] = [];
  #head: RevocationHead | undefined;
  #contactMs = Number.NEGATIVE_INFINITY;
  #loadedOnce = false;
  #syncing: Promise<boolean> | undefined;
  #watch: AsyncDisposable | undefined;
  #doubted = false;
  #closed = false;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#index = options.index;
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

  /** Loads the log, making one where the store is empty; resolves also when the store is away, then it goes on trying. */
  async start(): Promise<void> {
    this.#every(RETRY_MS, () => this.#retry());
    this.#every(SWEEP_MS, () => this.#index.sweep(this.#options.clock.nowMs()));
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
    return this.#reach(head, Math.max(0, this.#options.waitMs - askedMs));
  }

  /** What is known now: `ready` in step; `known` complete once, and within known_for of the last contact; `unknown`. */
  state(): 'ready' | 'known' | 'unknown' {
    if (!this.#loadedOnce) return 'unknown';
    if (this.#syncing === undefined && this.#head !== undefined && this.#sinceContactMs() < RETRY_MS * 2)
      return 'ready';
    return this.#sinceContactMs() <= this.#options.knownForMs ? 'known' : 'unknown';
  }

  /** What a request may do when the check failed: be held against the index as it is, or be denied with 503. */
  policy(): 'index' | 'deny' {
    const { onStoreDown, knownForMs } = this.#options;
    if (onStoreDown === 'allow') return 'index';
    if (onStoreDown === 'deny' || !this.#loadedOnce) return 'deny';
    return this.#sinceContactMs() <= knownForMs ? 'index' : 'deny';
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
    const waiting = this.#pending.get(entryId);
    const held = this.#index.find(entryId);
    const undone = await this.#log.undo(entryId);
    const dropped = this.#pending.drop(entryId);
    if (held && undone) this.#tombstones.add(held);
    if (undone) await this.#sync();
    if (dropped && waiting) this.#index.remove(waiting);
    return undone || dropped;
  }

  /** Takes back here what is in force here, where the log cannot be told now: it must be told later. */
  withdraw(entryId: string): void {
    this.#pending.drop(entryId);
    const held = this.#index.find(entryId);
    if (held === undefined) return;
    this.#tombstones.add(held);
    this.#index.remove(held);
  }

  /** Loads everything anew, and puts into the log what it lacks: the durable store can be asked again. */
  refresh(): void {
    this.#doubted = true;
    // One that is under way may have looked already.
    void this.#sync().then(() => (this.#doubted ? this.#sync() : undefined));
  }

  /** Another server answers or keys were evicted: looks at the head now instead of at the next batch. */
  doubt(): void {
    void this.#sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    await this.#watch?.[Symbol.asyncDispose]();
    await this.#syncing?.catch(() => undefined);
  }

  async #reach(head: RevocationHead | undefined, waitMs: number): Promise<'current' | 'lost'> {
    const patience = new AbortController();
    const late = delay(waitMs, false, { ref: false, signal: patience.signal }).catch(() => false);
    const reached = await Promise.race([this.#reachHead(head), late]);
    patience.abort();
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
      const head = await this.#log.head();
      const mine = this.#head;
      const continues = head !== undefined && mine !== undefined && head.epoch === mine.epoch && head.seq >= mine.seq;
      const follows = continues && !this.#doubted;
      if (!follows || !(await this.#catchUp(mine))) await this.#reload(follows);
      this.#contactMs = this.#options.clock.monotonicMs();
      return true;
    } catch (error) {
      if (!isAway(error)) throw error;
      if (!this.#loadedOnce) await this.#fill();
      return false;
    }
  }

  /** Started while the log is away: what the durable store remembers is known, for `known_for`. */
  async #fill(): Promise<void> {
    const remembered = await this.#remembered();
    if (remembered === undefined) return;
    for (const entry of remembered.entries) this.#index.put(entry);
    this.#contactMs = this.#options.clock.monotonicMs();
    this.#loadedOnce = true;
  }

  async #remembered(): Promise<RememberedRevocations | undefined> {
    try {
      return await this.#options.remembered?.();
    } catch (error) {
      if (isAway(error)) return undefined;
      throw error;
    }
  }

  async #catchUp(mine: RevocationHead): Promise<boolean> {
    const events = await this.#log.since(mine);
    if (events === undefined) return false;
    for (const event of events) this.#apply(event);
    if (events.length > 0) this.#head = { epoch: mine.epoch, seq: mine.seq + events.length };
    return true;
  }

  /** Loads everything. Unless the log merely ran ahead it lost data: what only this replica holds is put in first. */
  async #reload(follows: boolean): Promise<void> {
    const mine = this.#head;
    let snapshot = await this.#log.snapshot();
    if (!follows) {
      const behind = snapshot?.head.epoch === mine?.epoch && (snapshot?.head.seq ?? 0) < (mine?.seq ?? 0);
      const remembered = await this.#remembered();
      for (const entry of remembered?.undone ?? []) this.#tombstones.add(entry);
      const missing = this.#missingFrom(snapshot?.entries ?? [], remembered?.entries ?? []);
      if (snapshot === undefined || behind || missing.length > 0) {
        await this.#log.rebuild(missing, mine);
        snapshot = await this.#log.snapshot();
      }
    }
    if (snapshot === undefined) throw storeUnavailable('the revocation log vanished while it was read');
    const raised = follows ? [] : snapshot.entries.filter((entry) => this.#tombstones.covers(entry));
    this.#index.replace(snapshot.entries);
    for (const entry of this.#pending.list()) this.#index.put(entry);
    this.#head = snapshot.head;
    this.#loadedOnce = true;
    if (!follows) this.#doubted = false;
    this.#takeBack(raised);
  }

  #missingFrom(entries: readonly RevocationEntry[], remembered: readonly RevocationEntry[]): RevocationEntry[] {
    const nowMs = this.#options.clock.nowMs();
    const held = new Map(entries.map(({ entryId, revokedAtMs }) => [entryId, revokedAtMs]));
    const lives = ({ untilMs }: RevocationEntry) => untilMs === 'forever' || untilMs > nowMs;
    const lacks = ({ entryId, revokedAtMs }: RevocationEntry) => (held.get(entryId) ?? -1) < revokedAtMs;
    const known = new Map(remembered.map((entry) => [entry.entryId, entry]));
    // Entries of seq 0 are pending: they are sent by themselves.
    for (const entry of this.#index.entries()) if (entry.seq > 0) known.set(entry.entryId, entry);
    return [...known.values()].filter((entry) => lives(entry) && lacks(entry) && !this.#tombstones.covers(entry));
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
    const waiting = this.#pending.get(event.entry.entryId);
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
        const entry = await this.#log.append(local);
        this.#pending.settle(local);
        this.#index.put(entry);
        // A reload that began before the append would have dropped it again.
        if (!(await this.#reachHead(undefined))) this.#index.put(entry);
        return entry;
      } catch (error) {
        if (!isAway(error)) throw error;
      }
      // There may be a store without a log: making one is what sync does.
      if (attempt === 0 && !(await this.#sync())) return undefined;
    }
    return undefined;
  }

  async #retry(): Promise<void> {
    if (this.#pending.size === 0 && this.#sinceContactMs() < RETRY_MS) return;
    if (!(await this.#sync())) return;
    for (const local of this.#pending.list()) {
      if (this.#closed || (await this.#send(local)) === undefined) return;
    }
  }

  #onNotice(notice: StoreNotice): void {
    if (this.#closed) return;
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

const isAway = (error: unknown) => error instanceof SidecarError && error.kind === 'store_unavailable';
const same = (a: RevocationHead, b: RevocationHead) => a.seq === b.seq && a.epoch === b.epoch;
