// Signs checkpoints over what PostgreSQL holds of all chains, one at a time: whenever it is asked to, and early after many events.
// What a checkpoint says stands in checkpoint.ts, what may be signed in checkpointer.ts.
import type { Clock } from '../core/clock.ts';
import type { AuditRecord, AuditStore } from '../stores/contracts/audit.ts';
import type { Sealer } from '../stores/contracts/sealer.ts';
import { checkpointDigest } from './checkpoint.ts';
import { nextCheckpoint } from './checkpointer.ts';
import { type CheckpointKeys, openCheckpointKeys } from './keys.ts';
import type { Troubles } from './troubles.ts';

/** How checkpoints are made. */
export interface SignerSettings {
  readonly retentionMs: number;
  /** A checkpoint comes early after this many events. */
  readonly checkpointEvents: number;
  /** PKCS8 PEM of `audit.signing_key`. */
  readonly signingKey: string | undefined;
}

/** What signing rests on and tells. */
export interface SignerParts {
  readonly store: AuditStore;
  readonly sealer: Sealer;
  readonly clock: Clock;
  /** A checkpoint was signed: its number and digest belong somewhere that the database cannot reach. */
  readonly onCheckpoint: (number: number, digest: string) => void;
}

/** The checkpoints of one process. */
export class CheckpointSigner {
  readonly #settings: SignerSettings;
  readonly #parts: SignerParts;
  readonly #troubles: Troubles;
  #signing: Promise<void> | undefined;
  #since = 0;
  #last = 0;
  #keys: CheckpointKeys | undefined;
  /** The last event of ours that PostgreSQL took. */
  #stored: AuditRecord | undefined;

  constructor(settings: SignerSettings, parts: SignerParts, troubles: Troubles) {
    this.#settings = settings;
    this.#parts = parts;
    this.#troubles = troubles;
  }

  /** Number of the newest checkpoint that is known here; 0 before the first. */
  get last(): number {
    return this.#last;
  }

  /** PostgreSQL took this event of ours: what lies there in its place is the same, or was tampered with. */
  took(record: AuditRecord): void {
    this.#stored = record;
  }

  /** So many events came since; signs early when they are many. */
  count(events: number): void {
    this.#since += events;
    if (this.#since >= this.#settings.checkpointEvents) void this.checkpoint();
  }

  /** Signs now, if anything has happened; never rejects. What fails is noted among the troubles. */
  checkpoint(): Promise<void> {
    this.#signing ??= this.#sign()
      .catch((error) => this.#troubles.noteFailure(error))
      .finally(() => {
        this.#signing = undefined;
      });
    return this.#signing;
  }

  /** Signs what has come by now: one that is being signed may have looked before the last events came. */
  async signLast(): Promise<void> {
    await this.#signing;
    await this.checkpoint();
  }

  /** Resolves when nothing is being signed. */
  async settled(): Promise<void> {
    await this.#signing;
  }

  /** The keys of checkpoints. Rejects with `store_unavailable`. */
  async keys(): Promise<CheckpointKeys> {
    const { store, sealer, clock } = this.#parts;
    this.#keys ??= await openCheckpointKeys({ store, sealer, clock, configured: this.#settings.signingKey });
    return this.#keys;
  }

  async #sign(): Promise<void> {
    const { store, clock, onCheckpoint } = this.#parts;
    const keys = await this.keys();
    const nowMs = clock.nowMs();
    this.#since = 0;
    const cutoffMs = nowMs - this.#settings.retentionMs;
    // One that is as old as that may have been removed by right.
    const own = this.#stored !== undefined && this.#stored.atMs >= cutoffMs ? this.#stored : undefined;
    const made = await store.checkpoint(cutoffMs, (facts) => nextCheckpoint(facts, keys, nowMs, own));
    this.#troubles.end('tampered');
    this.#last = made?.checkpoint.number ?? (await store.lastCheckpoint());
    if (made !== undefined) onCheckpoint(made.checkpoint.number, checkpointDigest(made.checkpoint));
  }
}
