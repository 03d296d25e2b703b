// Keeps the index in step with the shared revocation log: compares heads, reads what is new, and reads everything anew where the
// log does not continue what was read of it (design 5). One reading at a time, however many ask for it.
import { setTimeout as delay } from 'node:timers/promises';
import { isStoreUnavailable } from '../core/errors.ts';
import type { RevocationHead, RevocationLog } from '../stores/contracts/revocations.ts';
import type { Contact } from './contact.ts';
import type { InForce } from './in-force.ts';
import type { Recovery } from './recovery.ts';

const RELOADS = 3;

const LOST = Promise.resolve('lost' as const);

/** What it is made of. */
export interface InStepOptions {
  readonly log: RevocationLog;
  /** Longest that {@link InStep.observe} makes a request wait; what it started goes on. */
  readonly waitMs: number;
  readonly contact: Contact;
  readonly inForce: InForce;
  readonly recovery: Recovery;
}

/** One replica's reading side of the log. */
export class InStep {
  readonly #options: InStepOptions;
  readonly #log: RevocationLog;
  readonly #contact: Contact;
  #head: RevocationHead | undefined;
  /** Where it had been by another of its answers. */
  #wasAt: RevocationHead | undefined;
  #syncing: Promise<boolean> | undefined;
  /** How often an equal head was said to prove nothing, since it was last compared. */
  #doubts = 0;
  #reloading = false;
  #readings = 0;
  /** A request has waited for everything to be read anew, in vain: the next ones need not wait as long for the same. */
  #outlasted = false;

  constructor(options: InStepOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#contact = options.contact;
  }

  /** The head that the index reflects. */
  get head(): RevocationHead | undefined {
    return this.#head;
  }

  /** How often everything was read anew: what was asked of the log before may not have been there. */
  get readings(): number {
    return this.#readings;
  }

  /** True while an equal head proves nothing. */
  get isDoubted(): boolean {
    return this.#doubts > 0;
  }

  /** True where the index follows the log, nothing is doubted and nothing is being read anew. */
  get isWhole(): boolean {
    return this.#head !== undefined && !this.isDoubted && !this.#reloading;
  }

  /** As {@link RevocationFollower.observe}. */
  observe(head: RevocationHead | undefined, askedMs: number): 'current' | Promise<'current' | 'lost'> {
    const mine = this.#head;
    // While in doubt an equal head proves nothing: another server may have given the same number to another entry.
    if (!this.isDoubted && head !== undefined && mine !== undefined && (head === mine || same(head, mine))) {
      this.#contact.made();
      return 'current';
    }
    return this.#outlasted ? LOST : this.#reach(head, Math.max(0, this.#options.waitMs - askedMs));
  }

  /** An equal head proves nothing from now on: everything is compared anew, and put into the log where it is lacking there. */
  refresh(): void {
    this.#doubts += 1;
    // One that is under way may have looked already.
    void this.sync().then(() => (this.isDoubted ? this.sync() : undefined));
  }

  /** Brings the index to the log's present state, making a log where there is none; false when the store is away. Single flight. */
  sync(): Promise<boolean> {
    this.#syncing ??= this.#syncOnce().finally(() => {
      this.#syncing = undefined;
    });
    return this.#syncing;
  }

  /** The same, where one that is under way does not count: it may have looked already. */
  syncAnew(): Promise<boolean> {
    return this.#reachHead(undefined);
  }

  /** The log had come so far, by its answer to a change. One that is not there any more has lost its end. */
  wasAt(head: RevocationHead): void {
    this.#wasAt = head;
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
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
    return this.sync();
  }

  #covers(head: RevocationHead | undefined): boolean {
    return head !== undefined && head.epoch === this.#head?.epoch && head.seq <= this.#head.seq;
  }

  async #syncOnce(): Promise<boolean> {
    try {
      for (let attempt = 1; !(await this.#follow(attempt === RELOADS)); attempt += 1);
      this.#contact.made();
      return true;
    } catch (error) {
      if (!isStoreUnavailable(error)) throw error;
      if (!this.#contact.loadedOnce) await this.#fill();
      return false;
    }
  }

  /** False when the log was exchanged while it was read, as replicas that mend it together do to one another: worth another try. */
  async #follow(isLast: boolean): Promise<boolean> {
    const head = await this.#log.head();
    const mine = this.#head;
    const continues = head !== undefined && mine !== undefined && head.epoch === mine.epoch && head.seq >= mine.seq;
    const follows = continues && !this.isDoubted && !isBehind(head, this.#wasAt);
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
    const { recovery, inForce } = this.#options;
    if (!(await recovery.fill((entry) => inForce.fill(entry)))) return;
    this.#contact.made();
    this.#contact.loaded();
  }

  async #catchUp(mine: RevocationHead): Promise<boolean> {
    const events = await this.#log.since(mine);
    if (events === undefined) return false;
    for (const event of events) this.#options.inForce.apply(event);
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
    const { inForce, recovery } = this.#options;
    const doubts = this.#doubts;
    const mine = isBehind(this.#head, this.#wasAt) ? this.#wasAt : this.#head;
    const known = { follows, complete: this.#contact.loadedOnce };
    const read = await recovery.read(mine, known, (event) => inForce.apply(event));
    // What came up while it was read may concern another server than the one that was read.
    if (!read.wasWhole && doubts === this.#doubts) this.#doubts = 0;
    this.#readings += 1;
    this.#wasAt = undefined;
    inForce.take(read);
    this.#head = read.head;
    this.#contact.loaded();
    if (!read.wasWhole) recovery.finished();
  }
}

const isBehind = (head: RevocationHead | undefined, other: RevocationHead | undefined) =>
  head !== undefined && head.epoch === other?.epoch && head.seq < other.seq;

const same = (a: RevocationHead, b: RevocationHead) => a.seq === b.seq && a.epoch === b.epoch;
