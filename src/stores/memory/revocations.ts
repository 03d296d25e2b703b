// Reference implementation of the revocation log: a map of entries and an array of events. Expired entries leave on every
// append and on sweep(). Entry semantics (what is refused) are revocation/index.ts's.
import type { Clock } from '../../core/clock.ts';
import { storeUnavailable } from '../../core/errors.ts';
import { randomId } from '../../core/ids.ts';
import { revocationEntryId } from '../contracts/entry-id.ts';
import {
  type EntryBatches,
  isLater,
  KEPT_AFTER_MS,
  MAX_SEQ,
  madeMs,
  madeOver,
  type RebuiltLog,
  type RevocationDraft,
  type RevocationEntry,
  type RevocationEvent,
  type RevocationHead,
  type RevocationLog,
  type RevocationSnapshot,
  type StoreNotice,
  stands,
} from '../contracts/revocations.ts';

const MAX_EVENTS = 10_000;
const BATCH = 500;

/** {@link RevocationLog} in memory. It holds no log until the first rebuild, as an empty Redis does. */
export class MemoryRevocations implements RevocationLog {
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #forgetByMs: () => number;
  readonly #watchers = new Set<(notice: StoreNotice) => void>();
  #entries = new Map<string, RevocationEntry>();
  #events: RevocationEvent[] = [];
  #head: RevocationHead | undefined;
  #forgottenMs = Number.NEGATIVE_INFINITY;

  /** `forgetByMs`: the time by which entries expire, where the clock may be stepped (steadyWall). */
  constructor(clock: Pick<Clock, 'nowMs'>, forgetByMs = () => clock.nowMs()) {
    this.#clock = clock;
    this.#forgetByMs = forgetByMs;
  }

  /** The head without a promise, for the synchronous check. */
  current(): RevocationHead | undefined {
    return this.#head;
  }

  async head(): Promise<RevocationHead | undefined> {
    return this.#head;
  }

  async append(draft: RevocationDraft): Promise<RevocationEntry> {
    if (this.#head === undefined) throw storeUnavailable('there is no revocation log');
    this.sweep();
    const held = this.#entries.get(revocationEntryId(draft.kind, draft.issuer, draft.id));
    if (held !== undefined && stands(held, draft, draft.madeAtMs)) return held;
    const madeAtMs = madeOver(held, draft);
    const made = madeAtMs === undefined ? {} : { madeAtMs };
    const entry = this.#put({ ...draft, ...made }, this.#clock.nowMs(), false);
    this.#notifyHead();
    return entry;
  }

  async undo(entryId: string, upToMs = Number.POSITIVE_INFINITY): Promise<RevocationEntry | undefined> {
    const entry = this.#entries.get(entryId);
    if (entry === undefined || this.#head === undefined || madeMs(entry) > upToMs) return undefined;
    this.#entries.delete(entryId);
    this.#record({ type: 'undo', entry, seq: this.#nextSeq() });
    this.#notifyHead();
    return entry;
  }

  async get(entryId: string): Promise<RevocationEntry | undefined> {
    return this.#entries.get(entryId);
  }

  async snapshot(): Promise<RevocationSnapshot | undefined> {
    return this.#head && { from: this.#head, batches: this.#batches() };
  }

  async since(head: RevocationHead): Promise<readonly RevocationEvent[] | undefined> {
    if (this.#head?.epoch !== head.epoch || this.#head.seq < head.seq) return undefined;
    const events = this.#events.filter((event) => seqOf(event) > head.seq);
    return events.length === this.#head.seq - head.seq ? events : undefined;
  }

  async rebuild(entries: EntryBatches, last: RevocationHead | undefined, onto?: RevocationHead): Promise<RebuiltLog> {
    if (onto !== undefined && (this.#head?.epoch !== onto.epoch || this.#head.seq < onto.seq))
      throw storeUnavailable('the revocation log that was to be completed is gone');
    const behind = last !== undefined && this.#head?.epoch === last.epoch && this.#head.seq < last.seq;
    if (this.#head === undefined || behind) {
      const seq = Math.max(last?.seq ?? 0, this.#head?.seq ?? 0);
      this.#head = { epoch: randomId(), seq: seq < MAX_SEQ / 2 ? seq : 0 };
      this.#events = [];
    }
    for await (const batch of entries) {
      for (const entry of batch) this.#restore(entry);
    }
    this.#notifyHead();
    return { head: this.#head, listeners: this.#watchers.size };
  }

  async timeMs(): Promise<number> {
    this.sweep();
    return this.#forgottenMs + KEPT_AFTER_MS;
  }

  async watch(onNotice: (notice: StoreNotice) => void): Promise<AsyncDisposable> {
    this.#watchers.add(onNotice);
    return { [Symbol.asyncDispose]: async () => void this.#watchers.delete(onNotice) };
  }

  /** Tells all watchers; also used for limit resets. */
  notify(notice: StoreNotice): void {
    for (const watcher of this.#watchers) watcher(notice);
  }

  /** Removes what has expired a while ago; answers how many left. */
  sweep(): number {
    const before = this.#entries.size;
    const nowMs = this.#forgetByMs() - KEPT_AFTER_MS;
    this.#forgottenMs = Math.max(this.#forgottenMs, nowMs);
    for (const [entryId, { untilMs }] of this.#entries) {
      if (untilMs !== 'forever' && untilMs <= nowMs) this.#entries.delete(entryId);
    }
    return before - this.#entries.size;
  }

  /** Forgets everything, as a flushed store would; for tests of what follows. */
  lose(): void {
    this.#head = undefined;
    this.#entries = new Map();
    this.#events = [];
  }

  /** Forgets the last `count` changes, as a failover to a lagging replica would; for tests of what follows. */
  rewind(count: number): void {
    for (const event of this.#events.splice(-count)) {
      if (event.type === 'put') this.#entries.delete(event.entry.entryId);
      else this.#entries.set(event.entry.entryId, event.entry);
      if (this.#head) this.#head = { epoch: this.#head.epoch, seq: this.#head.seq - 1 };
    }
  }

  /** A map goes on over what is put and removed while it is walked. */
  async *#batches(): AsyncGenerator<readonly RevocationEntry[]> {
    let batch: RevocationEntry[] = [];
    for (const entry of this.#entries.values()) {
      if (batch.push(entry) < BATCH) continue;
      yield batch;
      batch = [];
    }
    yield batch;
  }

  #restore(entry: RevocationEntry): void {
    const held = this.#entries.get(entry.entryId);
    if (held === undefined || isLater(entry, held)) this.#put(entry, entry.revokedAtMs, true);
  }

  #put(draft: RevocationDraft, revokedAtMs: number, restored: boolean): RevocationEntry {
    const entryId = revocationEntryId(draft.kind, draft.issuer, draft.id);
    const { kind, issuer, id, untilMs, notBeforeMs, reason, madeAtMs } = draft;
    const bounds = notBeforeMs === undefined ? { untilMs } : { untilMs, notBeforeMs };
    const made = madeAtMs === undefined ? {} : { madeAtMs };
    const what = { kind, issuer, id, ...bounds, reason, ...made };
    const entry = Object.freeze({ ...what, entryId, seq: this.#nextSeq(), revokedAtMs });
    this.#entries.set(entryId, entry);
    this.#record({ type: 'put', entry, restored });
    return entry;
  }

  #nextSeq(): number {
    return (this.#head?.seq ?? 0) + 1;
  }

  #record(event: RevocationEvent): void {
    this.#events.push(event);
    if (this.#events.length > MAX_EVENTS * 2) this.#events = this.#events.slice(-MAX_EVENTS);
    this.#head = { epoch: (this.#head as RevocationHead).epoch, seq: seqOf(event) };
  }

  #notifyHead(): void {
    if (this.#head) this.notify({ type: 'revocations', head: this.#head });
  }
}

const seqOf = (event: RevocationEvent) => (event.type === 'put' ? event.entry.seq : event.seq);
