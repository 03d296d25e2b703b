// Contract of the data keys: wrapped keys, how often each has sealed, and the proof that all were wrapped by one
// key-encryption key (KEK). What is wrapped stays wrapped here; keys/sealer.ts alone unwraps it.
import type { SealedColumn } from './sealer.ts';

/** A data key as it is stored. */
export interface DataKeyRecord {
  readonly dataKeyId: string;
  /** The KEK that wrapped it. */
  readonly kekId: string;
  readonly wrapped: Buffer;
  /** One is active and seals; the others only open what they sealed. */
  readonly state: 'active' | 'retired';
  readonly createdAtMs: number;
  /** Undefined while active. */
  readonly retiredAtMs: number | undefined;
  /** Seals reserved so far by all replicas; never below those made. */
  readonly seals: number;
}

/** A data key about to be stored. */
export type NewDataKey = Pick<DataKeyRecord, 'dataKeyId' | 'kekId' | 'wrapped' | 'createdAtMs'>;

/** A known text under the KEK: a start compares it before it touches anything. */
export interface KekCheck {
  readonly kekId: string;
  readonly wrapped: Buffer;
}

/** Everything at one moment. Without a check nothing was ever sealed here. */
export interface DataKeysState {
  readonly check: KekCheck | undefined;
  /** Newest first. */
  readonly keys: readonly DataKeyRecord[];
}

/**
 * Guarantees: at most one active key at any moment, over all replicas; changes are all or nothing and name what they expect
 * to find, so that of replicas that race one wins and the others are told false and read again; counts of seals never go
 * back; every call rejects with `store_unavailable` when PostgreSQL is away.
 */
export interface DataKeyStore {
  read(): Promise<DataKeysState>;
  find(dataKeyId: string): Promise<DataKeyRecord | undefined>;
  /** First start: stores the check and the first, active key. False when there is a check already. */
  begin(check: KekCheck, first: NewDataKey): Promise<boolean>;
  /**
   * Sets aside up to `wanted` seals of the active key, so that its count never passes `most`; returns how many were granted.
   * 0: the key has none left, or is not active any more.
   */
  reserve(dataKeyId: string, wanted: number, most: number): Promise<number>;
  /** Retires `previous` and makes `next` active. False when `previous` is not the active one, or the KEK in force is not `next.kekId`. */
  rotate(previous: string, next: NewDataKey): Promise<boolean>;
  /** Another KEK: replaces the check and all wrapped keys. False when `expected` is not the check in force or a key is missing from `keys`. */
  rewrap(
    expected: KekCheck,
    check: KekCheck,
    keys: readonly Pick<DataKeyRecord, 'dataKeyId' | 'wrapped'>[],
  ): Promise<boolean>;
  /**
   * Deletes keys retired before `retiredBeforeMs` under which no field of `columns` is sealed, and returns their ids; never
   * the active one.
   */
  removeUnused(columns: readonly SealedColumn[], retiredBeforeMs: number): Promise<readonly string[]>;
}

/** One sealed field as re-sealing reads it. */
export interface SealedRow {
  readonly row: readonly string[];
  readonly tenant: string | undefined;
  readonly sealed: Buffer;
}

/** Sealed fields of any table, for re-sealing. `head` is what fields under the active key begin with: a byte, and the key. */
export interface SealedRows {
  /** Sealed fields of the column; reads all of an index. */
  total(column: SealedColumn): Promise<number>;
  /** How many of them are not under the key of `head`; reads those alone. */
  countOutdated(column: SealedColumn, head: Buffer): Promise<number>;
  /** Fields that are not under the key of `head`, in the order of the primary key, after the row `after`. */
  outdated(
    column: SealedColumn,
    head: Buffer,
    after: readonly string[] | undefined,
    limit: number,
  ): Promise<readonly SealedRow[]>;
  /** Puts `next` where still `row.sealed` stands; false when somebody changed or removed it meanwhile. */
  replace(column: SealedColumn, row: SealedRow, next: Buffer): Promise<boolean>;
}
