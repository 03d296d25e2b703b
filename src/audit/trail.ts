// The durable audit trail of this process: chains an event, writes it to the local spool (group commit) and confirms it; a
// flusher moves it to PostgreSQL in batches, in order, sealed; a timer has signer.ts sign checkpoints. PostgreSQL may be away for
// as long as the spool has room; then changes are refused.
import type { AuditDraft, AuditTrail } from '../core/audit-trail.ts';
import { SidecarError } from '../core/errors.ts';
import type { StoredAuditRecord } from '../stores/contracts/audit.ts';
import { AuditChain, type ChainedEvent } from './chain.ts';
import type { CheckpointKeys } from './keys.ts';
import { CheckpointSigner, type SignerParts, type SignerSettings } from './signer.ts';
import { frameOf, Spool } from './spool.ts';
import { type AuditTrouble, Troubles } from './troubles.ts';

/** How the trail works. */
export interface TrailSettings extends SignerSettings {
  /** Folder of the spool. */
  readonly folder: string;
  /** Bytes of events that may wait for PostgreSQL; above, changes are refused. */
  readonly spoolBytes: number;
  readonly checkpointEveryMs: number;
}

/** What the trail rests on and tells. */
export interface TrailParts extends SignerParts {
  /** Every event, for the log line and the metric. */
  readonly onEvent: (draft: AuditDraft, id: string) => void;
  /** Something that a person should know: a closed word, and the error. */
  readonly onTrouble: (trouble: AuditTrouble, error: unknown) => void;
}

/** State of the trail for /readyz and metrics. */
export interface TrailState {
  readonly waiting: number;
  readonly waitingBytes: number;
  readonly trouble: AuditTrouble | undefined;
}

interface Waiting {
  readonly event: ChainedEvent;
  readonly frame: Buffer;
  readonly kept: PromiseWithResolvers<void>;
  /** File of the spool that holds it; undefined until it is written, -1 when the disk refused it. */
  segment: number | undefined;
}

const BATCH = 200;
const LINGER_MS = 20;
const RETRY_MS = [100, 200, 500, 1000, 2000, 5000];
const LAST_FLUSH_MS = 2000;
/** For everything that a closing trail wants of PostgreSQL: the statements themselves may take a minute to fail. */
const LAST_CALLS_MS = 5000;
/** What `requireRoom` let through still has a place. */
const HEADROOM_BYTES = 1024 * 1024;

/** {@link AuditTrail} over spool and store. */
export class DurableTrail implements AuditTrail, AsyncDisposable {
  readonly #settings: TrailSettings;
  readonly #parts: TrailParts;
  readonly #spool: Spool;
  readonly #chain = new AuditChain();
  readonly #troubles: Troubles;
  readonly #signer: CheckpointSigner;
  #queue: Waiting[] = [];
  #bytes = 0;
  #writing: Promise<void> | undefined;
  #flushing: Promise<void> | undefined;
  #adopting: Promise<void> | undefined;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #lingering: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** The spool is closed: what PostgreSQL takes from now on it takes once more from the next process. */
  #ended = false;

  /** Opens the spool; throws the system's error. Nothing is sent before {@link DurableTrail.start}. */
  constructor(settings: TrailSettings, parts: TrailParts) {
    this.#settings = settings;
    this.#parts = parts;
    this.#spool = new Spool(settings.folder);
    this.#troubles = new Troubles((trouble, error) => parts.onTrouble(trouble, error));
    this.#signer = new CheckpointSigner(settings, parts, this.#troubles);
  }

  /** Takes up what an earlier process left, and begins to sign checkpoints. Only once the state folder is surely ours. */
  start(): void {
    this.#timer = setInterval(() => void this.checkpoint(), this.#settings.checkpointEveryMs).unref();
    this.#adopting = this.#adopt();
    void this.checkpoint();
  }

  state(): TrailState {
    return { waiting: this.#queue.length, waitingBytes: this.#bytes, trouble: this.#troubles.first };
  }

  async requireRoom(): Promise<void> {
    if (this.#bytes <= this.#settings.spoolBytes && !this.#troubles.has('spool_failing')) return;
    if (this.#bytes > this.#settings.spoolBytes) this.#troubles.note('spool_full', undefined);
    throw unavailable('the audit log has no room, so nothing may be changed');
  }

  record(draft: AuditDraft): Promise<void> {
    if (this.#closed || this.#bytes > this.#settings.spoolBytes + HEADROOM_BYTES) {
      return Promise.reject(unavailable('the audit log has no room'));
    }
    const event = this.#chain.next(draft, this.#parts.clock.nowMs(), this.#signer.last);
    const waiting: Waiting = {
      event,
      frame: frameOf(event),
      kept: Promise.withResolvers<void>(),
      segment: undefined,
    };
    // Whoever did not wait for it has been told by onTrouble.
    waiting.kept.promise.catch(() => undefined);
    this.#queue.push(waiting);
    this.#bytes += waiting.frame.length;
    this.#parts.onEvent(draft, event.record.id);
    this.#writing ??= this.#write();
    return waiting.kept.promise;
  }

  /** Resolves once everything recorded before is in PostgreSQL, or after the time. */
  async flushed(timeoutMs: number): Promise<boolean> {
    const last = this.#queue.at(-1);
    const deadlineMs = performance.now() + timeoutMs;
    this.#flush();
    while (last !== undefined && this.#queue.includes(last) && performance.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return last === undefined || !this.#queue.includes(last);
  }

  /** Signs a checkpoint now, if anything has happened; never rejects. */
  checkpoint(): Promise<void> {
    return this.#signer.checkpoint();
  }

  /** The keys of checkpoints. Rejects with `store_unavailable`. */
  keys(): Promise<CheckpointKeys> {
    return this.#signer.keys();
  }

  /**
   * Gives PostgreSQL two seconds to take what waits and five to sign for it as well; the rest stays in the spool for the next
   * start. Whoever ends us kills us after half a minute, and a server that says nothing must not use that up.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#timer);
    const deadlineMs = performance.now() + LAST_CALLS_MS;
    if (await this.flushed(LAST_FLUSH_MS)) await by(deadlineMs, this.#signer.signLast());
    this.#closed = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#lingering);
    await this.#writing;
    await by(deadlineMs, Promise.all([this.#flushing, this.#adopting, this.#signer.settled()]));
    this.#ended = true;
    this.#spool[Symbol.dispose]();
  }

  /** Everything that came meanwhile goes to the disk with one write and one fdatasync. */
  async #write(): Promise<void> {
    for (;;) {
      const batch = this.#queue.filter(({ segment }) => segment === undefined);
      if (batch.length === 0) {
        // At once and not when the promise is seen to be settled: an event in between would wait for ever.
        this.#writing = undefined;
        return;
      }
      try {
        await this.#spool.append(batch.map(({ frame }) => frame));
        for (const waiting of batch) {
          waiting.segment = this.#spool.segment;
          waiting.kept.resolve();
        }
        this.#troubles.end('spool_failing');
      } catch (error) {
        // The disk is full or gone: PostgreSQL may still take them, and then they are safe, too.
        for (const waiting of batch) waiting.segment = -1;
        this.#troubles.note('spool_failing', error);
      }
      this.#flushSoon();
    }
  }

  /**
   * What the spool holds is safe, so PostgreSQL gets it a moment later and in company: else every event would cost a commit
   * there, and the disk would make the next call wait for it.
   */
  #flushSoon(): void {
    if (this.#queue[0]?.segment === -1 || this.#queue.length >= BATCH) this.#flush();
    else this.#lingering ??= setTimeout(() => this.#flush(), LINGER_MS).unref();
  }

  #flush(): void {
    clearTimeout(this.#lingering);
    this.#lingering = undefined;
    const isReady = this.#queue[0]?.segment !== undefined;
    if (this.#closed || this.#retry !== undefined || !isReady) return;
    this.#flushing ??= this.#flushAll();
  }

  async #flushAll(): Promise<void> {
    for (;;) {
      const unwritten = this.#queue.findIndex(({ segment }) => segment === undefined);
      const batch = this.#queue.slice(0, Math.min(BATCH, unwritten < 0 ? BATCH : unwritten));
      if (batch.length === 0) {
        this.#flushing = undefined;
        return;
      }
      try {
        await this.#store(batch.map(({ event }) => event));
      } catch (error) {
        for (const { kept, segment } of batch) {
          if (segment === -1) kept.reject(unavailable('neither the disk nor PostgreSQL takes audit events', error));
        }
        this.#flushing = undefined;
        this.#later(error);
        return;
      }
      this.#failures = 0;
      this.#forget(batch);
    }
  }

  #forget(batch: readonly Waiting[]): void {
    for (const { kept, frame } of batch) {
      kept.resolve();
      this.#bytes -= frame.length;
    }
    this.#queue.splice(0, batch.length);
    const last = batch.at(-1)?.event.record;
    if (last !== undefined) this.#signer.took(last);
    this.#troubles.end('store_away', 'store_refuses', 'spool_full');
    // A disk that refused is tried again by the next event.
    if (this.#queue.length === 0) this.#troubles.end('spool_failing');
    if (this.#ended) return;
    const oldest = this.#queue.find(({ segment }) => segment !== undefined && segment >= 0)?.segment;
    this.#spool.forget(oldest ?? this.#spool.segment, this.#queue.length === 0);
    this.#signer.count(batch.length);
  }

  /** Repeating is harmless: the store ignores what it has. */
  async #store(events: readonly ChainedEvent[]): Promise<void> {
    const { store, sealer } = this.#parts;
    const records: StoredAuditRecord[] = [];
    for (const { record, details } of events) {
      const sealed = details && (await sealer.seal(detailsPlace(record), details));
      records.push({ ...record, sealed });
    }
    await store.append(records);
  }

  #later(error: unknown): void {
    this.#troubles.noteFailure(error);
    if (this.#closed) return;
    const waitMs = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)] as number;
    this.#failures += 1;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#offerAgain();
      this.#flush();
    }, waitMs).unref();
  }

  /** What the disk refused is offered to it again: it may have room while PostgreSQL is still away. */
  #offerAgain(): void {
    const refused = this.#queue.filter(({ segment }) => segment === -1);
    if (refused.length === 0) return;
    for (const waiting of refused) waiting.segment = undefined;
    this.#writing ??= this.#write();
  }

  async #adopt(): Promise<void> {
    for (const orphan of this.#spool.orphans()) {
      for (let at = 0; at < orphan.events.length; ) {
        if (this.#closed) return;
        try {
          await this.#store(orphan.events.slice(at, at + BATCH));
          at += BATCH;
        } catch (error) {
          this.#troubles.noteFailure(error);
          await new Promise((resolve) => setTimeout(resolve, 500).unref());
        }
      }
      orphan.remove();
    }
  }
}

/** Resolves with `work`, or at the time, whichever is first. */
async function by(deadlineMs: number, work: Promise<unknown>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, Math.max(0, deadlineMs - performance.now()));
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Where the details of an event lie sealed. */
export const detailsPlace = ({ writer, number }: { readonly writer: string; readonly number: number }) => ({
  table: 'audit_event',
  row: [writer, String(number)],
  column: 'sealed',
});

const unavailable = (message: string, cause?: unknown): SidecarError =>
  new SidecarError('store_unavailable', 'audit_unavailable', message, { cause });
