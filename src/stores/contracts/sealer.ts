// Contract of sealing: what an aggregate calls before it stores a field that nobody with the database alone may read, and
// what re-sealing needs to know of such fields. Implemented by keys/sealer.ts.

/** Where a sealed field stands. All of it is authenticated, so that no sealed value works in another's place. */
export interface SealedPlace {
  readonly table: string;
  /** Primary key of the row as text, or its parts in the order of {@link SealedColumn.idColumns}. */
  readonly row: string | readonly string[];
  readonly column: string;
  /** Authenticated too, when the table has one. */
  readonly tenant?: string | undefined;
}

/** Seals and unseals fields under the data keys. */
export interface Sealer {
  /**
   * Format byte, data key id (16 bytes), nonce, ciphertext, tag; a fresh nonce each time, so equal fields differ. Rejects
   * with `store_unavailable` when a new block of seals or a new data key is needed and PostgreSQL is away.
   */
  seal(place: SealedPlace, plaintext: Uint8Array): Promise<Buffer>;
  /**
   * The field. Rejects with `sealed_unreadable`, which names place and data key and never a value, when it was sealed
   * elsewhere, was changed, or its data key is gone; with `store_unavailable` when the data key has to be read first.
   */
  unseal(place: SealedPlace, sealed: Uint8Array): Promise<Buffer>;
}

/** A column of sealed fields (`bytea`), as its aggregate declares it, so that re-sealing finds it. Identifiers, not SQL. */
export interface SealedColumn {
  readonly table: string;
  /** Columns of the primary key. */
  readonly idColumns: readonly string[];
  readonly column: string;
  /** Column with the tenant, where {@link SealedPlace.tenant} is given. */
  readonly tenantColumn?: string | undefined;
}
