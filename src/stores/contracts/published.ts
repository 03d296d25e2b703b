// Contract of published documents: what the control plane lets replicas without PostgreSQL know (key sets, client records).
// A store of them may lose or withhold documents, never make one: each is signed (keys/publications.ts), and read as such.

/** Kinds of documents; part of every name. */
export type PublicationKind = 'keys' | 'client';

/** Tells that a document may have changed. */
export interface PublicationNotice {
  readonly kind: PublicationKind;
  readonly name: string;
}

/** Some documents by name, and where to go on. */
export interface PublicationPage {
  readonly documents: ReadonlyMap<string, string>;
  readonly next?: string;
}

/**
 * Guarantees: a document never gives way to one of a lower `seq`, whatever publishers race; after `put` resolved, `get` on
 * every replica answers it or a later one; calls reject with `store_unavailable` when the store is away.
 */
export interface PublishedStore {
  /**
   * Stores the document unless one of a higher `seq` is there; then false. Equal ones replace each other. `over` gives way
   * whatever its `seq`: a document that the caller has read and found to be nobody's.
   */
  put(kind: PublicationKind, name: string, seq: number, document: string, over?: string): Promise<boolean>;
  /** The document; undefined when there is none. */
  get(kind: PublicationKind, name: string): Promise<string | undefined>;
  /**
   * Documents of a kind, from `cursor` ('' for the start) on; without `next` on the last page. Whatever was there from before
   * the first page until after the last one stands in at least one of them; pages may be empty.
   */
  page(kind: PublicationKind, cursor: string): Promise<PublicationPage>;
  /** Calls back soon after every put by any replica, best effort, and once with undefined whenever some may have been missed. */
  watch(onNotice: (notice: PublicationNotice | undefined) => void): Promise<AsyncDisposable>;
}
