// What the durable audit log guarantees. Events form one hash chain per writer (a process start): number n names the hash
// of number n - 1, and checkpoints signed by a key that is not in the tables in clear name the heads of all chains.
import type { AuditActorKind } from '../../core/audit-trail.ts';
import type { AuditType } from '../../core/audit-types.ts';

/** One event, chained. All members but `sealed` stand under `hash`; undefined and empty are different. */
export interface AuditRecord {
  /** Random per process start. */
  readonly writer: string;
  /** From 1, without gaps. */
  readonly number: number;
  readonly id: string;
  readonly type: AuditType;
  readonly atMs: number;
  readonly actorKind: AuditActorKind;
  readonly actor: string | undefined;
  readonly address: string | undefined;
  readonly requestId: string | undefined;
  readonly subject: string | undefined;
  readonly client: string | undefined;
  readonly tenant: string | undefined;
  readonly outcome: 'success' | 'failure';
  /** A word of a closed list, mostly of core/reasons.ts. */
  readonly reason: string | undefined;
  /** Number of the last checkpoint that the writer knew of; 0 for none. A later deletion of that one shows. */
  readonly checkpoint: number;
  /** SHA-256 of salt and details, hex; the salt lies sealed with the details, so the digest tells nothing. */
  readonly detailsDigest: string | undefined;
  /** Hash of the one before, hex; of the writer's name for the first one. */
  readonly previous: string;
  /** Hex. */
  readonly hash: string;
}

/** A record as it lies in the table. */
export interface StoredAuditRecord extends AuditRecord {
  /** Salt and details under a data key; may be sealed anew at any time. */
  readonly sealed: Uint8Array | undefined;
}

/** The end of a chain, or the end of a part of it that was cut off. */
export interface AuditHead {
  readonly writer: string;
  readonly number: number;
  readonly hash: string;
}

/** A signed statement; what it says is audit/checkpoint.ts's. */
export interface StoredCheckpoint {
  /** From 1. */
  readonly number: number;
  readonly atMs: number;
  /** Thumbprint of the public key (RFC 7638). */
  readonly keyId: string;
  /** JSON, the signed bytes. */
  readonly statement: string;
  /** Ed25519, base64url. */
  readonly signature: string;
}

/** A key that signs checkpoints; `sealed` holds its private part, or proves that the key-encryption key vouches for it. */
export interface StoredAuditKey {
  readonly keyId: string;
  /** SPKI, base64url. */
  readonly publicKey: string;
  readonly sealed: Uint8Array;
  readonly createdAtMs: number;
}

/** Which events are wanted; members are joined by and. Times in ms, `since` included, `until` not. */
export interface AuditFilter {
  readonly sinceMs?: number;
  readonly untilMs?: number;
  readonly type?: AuditType;
  readonly actor?: string;
  readonly subject?: string;
  readonly client?: string;
  readonly tenant?: string;
  readonly requestId?: string;
}

/** A place in a list that is ordered newest first. */
export interface AuditPlace {
  readonly atMs: number;
  readonly writer: string;
  readonly number: number;
}

/** What a checkpoint is made from, read under the lock that lets one replica make checkpoints at a time. */
export interface CheckpointFacts {
  readonly last: StoredCheckpoint | undefined;
  /** The end of every chain that has rows, ordered by writer. */
  readonly heads: readonly AuditHead[];
  /** The highest checkpoint that a row at the end of a chain names. */
  readonly namedCheckpoint: number;
  /** Per chain with rows before the cutoff: its last row of the leading rows that are all older, at most 5000 rows on. */
  readonly expired: readonly AuditHead[];
  /** The stored hash of a row, for comparing with what an earlier checkpoint says. */
  hashesOf(places: readonly AuditHead[]): Promise<ReadonlyMap<string, string>>;
}

/** A checkpoint to write, what it allows to remove, and the oldest checkpoint to keep. */
export interface NewCheckpoint {
  readonly checkpoint: StoredCheckpoint;
  /** Rows up to and with these are removed in the same transaction. */
  readonly cuts: readonly AuditHead[];
  readonly keepFrom: number;
}

/**
 * The durable audit log. Every method rejects with `store_unavailable` when the database does not answer.
 *
 * - `append` stores all or none, keeps the order, and ignores records that are there already (by writer and number): calling
 *   it again after a lost answer does no harm.
 * - `walk` yields whole chains in order of writer and number, each page a consistent read.
 * - `find` is stable under inserts: a place names a row and not a count.
 */
export interface AuditStore {
  append(records: readonly StoredAuditRecord[]): Promise<void>;
  find(filter: AuditFilter, after: AuditPlace | undefined, limit: number): Promise<readonly StoredAuditRecord[]>;
  walk(
    after: { readonly writer: string; readonly number: number } | undefined,
    limit: number,
  ): Promise<readonly StoredAuditRecord[]>;
  /** Number of the newest checkpoint; 0 for none. */
  lastCheckpoint(): Promise<number>;
  /** Checkpoints after the number, in order. */
  checkpoints(afterNumber: number, limit: number): Promise<readonly StoredCheckpoint[]>;
  /**
   * Makes a checkpoint, one replica at a time. `decide` gets the facts and answers undefined for none. Resolves with what was
   * written, and rejects with what `decide` throws, nothing changed.
   */
  checkpoint(
    cutoffMs: number,
    decide: (facts: CheckpointFacts) => Promise<NewCheckpoint | undefined>,
  ): Promise<NewCheckpoint | undefined>;
  keys(): Promise<readonly StoredAuditKey[]>;
  /** Adds the key unless there is one with the id; with `onlyIfNone` unless there is any. Resolves with all keys. */
  addKey(key: StoredAuditKey, options: { readonly onlyIfNone: boolean }): Promise<readonly StoredAuditKey[]>;
}

/** Key of {@link CheckpointFacts.hashesOf}. */
export const placeKey = ({ writer, number }: { readonly writer: string; readonly number: number }): string =>
  `${writer} ${number}`;
