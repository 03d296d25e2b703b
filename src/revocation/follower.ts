// One replica's side of the shared revocation log (design 5): puts its parts together, and has them look every second. How the
// index is kept in step stands in in-step.ts, what is in force beside the log in in-force.ts, what holds while the store is away
// in contact.ts, writing to the log in log-revoker.ts, and reading one that lost data in recovery.ts.
import { isStoreUnavailable } from '../core/errors.ts';
import type { RevocationDraft, RevocationEntry, RevocationHead, StoreNotice } from '../stores/contracts/revocations.ts';
import { Contact } from './contact.ts';
import { EntryTime } from './entry-time.ts';
import type { FollowerOptions, RevokeAnswer } from './follower-options.ts';
import { InForce } from './in-force.ts';
import { InStep } from './in-step.ts';
import { LogRevoker } from './log-revoker.ts';
import { Recovery } from './recovery.ts';
import { Tombstones } from './tombstones.ts';

const RETRY_MS = 1000;
const SWEEP_MS = 1000;

/** Follows the log from {@link start} until it is disposed. */
export class RevocationFollower implements AsyncDisposable {
  readonly time: EntryTime;
  readonly #options: FollowerOptions;
  readonly #contact: Contact;
  readonly #inForce: InForce;
  readonly #recovery: Recovery;
  readonly #inStep: InStep;
  readonly #revoker: LogRevoker;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #closing = new AbortController();
  #watch: AsyncDisposable | undefined;

  constructor(options: FollowerOptions) {
    const { log, index, clock } = options;
    const tombstones = new Tombstones();
    const inForce = new InForce({
      index,
      tombstones,
      onNew: ({ revokedAtMs }) => options.onPropagation?.(Math.max(0, clock.nowMs() - revokedAtMs)),
      onRaised: (entry) => this.#revoker.undoAgain(entry),
      onLost: () => this.#inStep.isDoubted || this.refresh(),
    });
    const contact = new Contact(options);
    const recovery = new Recovery({ ...options, tombstones, closing: this.#closing.signal });
    const inStep = new InStep({ log, waitMs: options.waitMs, contact, inForce, recovery });
    this.#options = options;
    this.time = new EntryTime(clock);
    this.#contact = contact;
    this.#inForce = inForce;
    this.#recovery = recovery;
    this.#inStep = inStep;
    this.#revoker = new LogRevoker({ log, clock, inForce, inStep });
  }

  /** True once the index was complete, since start: what `/readyz` waits for. */
  get loadedOnce(): boolean {
    return this.#contact.loadedOnce;
  }

  /** The head that the index reflects. */
  get head(): RevocationHead | undefined {
    return this.#inStep.head;
  }

  /** Revocations in force here that the store does not have yet. */
  pending(): readonly RevocationEntry[] {
    return this.#inForce.pending();
  }

  /** What is in force here and the log may lack, of this process and of its siblings. */
  unlogged(): readonly RevocationEntry[] {
    return this.#inForce.unlogged();
  }

  /** In force here from now on, on the word of a sibling process, which alone sends it to the log. */
  hold(entry: RevocationEntry): void {
    this.#inForce.hold(entry);
  }

  /** Takes back here what a sibling process has taken back; what the log has, its events take back. */
  release(entryId: string): void {
    const entry = this.#inForce.waiting(entryId);
    if (entry !== undefined) this.withdraw(entry);
  }

  /** Loads the log, making one where the store is empty; resolves also when the store is away, then it goes on trying. */
  async start(): Promise<void> {
    this.#every(RETRY_MS, () => this.#retry());
    this.#every(SWEEP_MS, () => this.#sweep());
    await this.#inStep.sync();
    this.#watch = await this.#options.log.watch((notice) => this.#onNotice(notice)).catch(() => undefined);
  }

  /**
   * Compares the head of a batch with the index. `current`: the index answers for this batch. A promise: it is being
   * brought up to date; `lost` when that failed or takes too long, then {@link policy} decides. `askedMs`: what the batch has
   * waited already; both together are never longer than `waitMs`.
   */
  observe(head: RevocationHead | undefined, askedMs = 0): 'current' | Promise<'current' | 'lost'> {
    return this.#inStep.observe(head, askedMs);
  }

  /**
   * What is known now: `ready` in step, also while the newest entries are being read, which each revocation brings about; `known`
   * complete once, and within known_for of the last contact; `unknown`.
   */
  state(): 'ready' | 'known' | 'unknown' {
    return this.#contact.state(this.#inStep.isWhole);
  }

  /** What a request may do when the check failed: be held against the index as it is, or be denied with 503. */
  policy(): 'index' | 'deny' {
    return this.#contact.policy();
  }

  /**
   * Whether what is known of revocations may keep open what was let in before: with the store away as long as it lets
   * requests in; with `deny`, which lets none in, for three seconds, so that a blink of the store ends nothing.
   */
  mayKeepOpen(): boolean {
    return this.#contact.mayKeepOpen();
  }

  /** In force here at once, on every replica when the answer says `all`. Throws only when too many wait already. */
  revoke(draft: RevocationDraft): Promise<RevokeAnswer> {
    return this.#revoker.revoke(draft);
  }

  /**
   * Takes an entry back; false when there is none, or none made by `upToMs`. Rejects with `store_unavailable` when the log cannot be
   * changed.
   */
  undo(entryId: string, upToMs?: number): Promise<boolean> {
    return this.#revoker.undo(entryId, upToMs);
  }

  /** The entry with this id, in the log or waiting; with the store away, or behind, what this replica knows. */
  async find(entryId: string): Promise<RevocationEntry | undefined> {
    const waiting = this.#inForce.waiting(entryId);
    if (waiting !== undefined) return waiting;
    try {
      const logged = await this.#options.log.get(entryId);
      if (logged !== undefined || this.state() === 'ready') return logged;
    } catch (error) {
      if (!isStoreUnavailable(error)) throw error;
    }
    return this.#options.index.find(entryId);
  }

  /** Takes back here what is in force here and was made by `upToMs`, where the log cannot be told now: it must be told later. */
  withdraw(entry: RevocationEntry, upToMs?: number): void {
    this.#inForce.withdraw(entry, upToMs);
  }

  /**
   * Compares everything anew, and puts into the log what it lacks: another server answers, or keys were evicted, and then an
   * equal head proves nothing.
   */
  refresh(): void {
    this.#inStep.refresh();
  }

  /**
   * The durable store can be asked again: puts into the log what only that store holds. A log that is followed is believed
   * meanwhile, so that a store that is slow, or goes away once more, has nobody refused.
   */
  complete(): void {
    const { head } = this.#inStep;
    if (head === undefined || this.state() !== 'ready') {
      this.refresh();
      return;
    }
    this.#recovery.complete(head).catch((error: unknown) => {
      if (!isStoreUnavailable(error)) throw error;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    for (const timer of this.#timers) clearInterval(timer);
    await this.#watch?.[Symbol.asyncDispose]();
    await this.#inStep.settled();
  }

  async #retry(): Promise<void> {
    if (this.pending().length === 0 && this.#contact.sinceMs() < RETRY_MS) return;
    if (await this.#inStep.sync()) await this.#revoker.sendWaiting(this.#closing.signal);
  }

  /** A clock that was ahead since the start and is set right: what has left the index meanwhile may have to come back. */
  async #sweep(): Promise<void> {
    const { forgetMs, setBackMs } = this.time.sweep();
    this.#options.index.sweep(forgetMs);
    if (setBackMs > 0) {
      this.#options.onSetBack?.(setBackMs);
      this.refresh();
    } else if (this.time.isHeld && !this.#inStep.isDoubted) {
      this.time.reread(await this.#options.log.timeMs().catch(() => Number.POSITIVE_INFINITY));
    }
  }

  #onNotice(notice: StoreNotice): void {
    if (this.#closing.signal.aborted) return;
    if (notice.type === 'limit_reset') this.#options.onLimitReset?.(notice.key);
    else void this.observe(notice.head);
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
