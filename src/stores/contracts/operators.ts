// What the durable list of operators guarantees: unique names and credentials, and always one left who can manage the rest.

/** Role names; what they may do is admin/roles.ts's. */
export type OperatorRole = 'viewer' | 'editor' | 'admin';

/** One operator. */
export interface OperatorRecord {
  readonly id: string;
  /** Unique, for people. */
  readonly name: string;
  /** SHA-256 of the token, hex; undefined for operators that come with a certificate only. */
  readonly tokenDigest: string | undefined;
  /** First characters of the token, by which a leaked one is recognised. */
  readonly tokenPrefix: string | undefined;
  /** `sha256:…`, `dns:…`, `uri:…`, `email:…` or `cn:…` of a client certificate. */
  readonly certificate: string | undefined;
  readonly role: OperatorRole | undefined;
  /** Beyond the role: `*` or names such as `clients:read`. */
  readonly permissions: readonly string[];
  /** The one tenant that the operator reaches; undefined: everything. */
  readonly tenant: string | undefined;
  readonly createdAtMs: number;
  /** Id of the operator who added it. */
  readonly createdBy: string;
  readonly expiresAtMs: number | undefined;
  readonly lastUsedAtMs: number | undefined;
}

/** A place in the list, which is ordered newest first. */
export interface OperatorPlace {
  readonly createdAtMs: number;
  readonly id: string;
}

/**
 * The operators of all replicas. Every method rejects with `store_unavailable` when the database does not answer. Reads see
 * every change that was acknowledged before, on whichever replica: there is no cache.
 */
export interface OperatorStore {
  /** Expired ones are found too; the caller knows the time. */
  findByDigest(tokenDigest: string): Promise<OperatorRecord | undefined>;
  /** The one operator that one of the names belongs to; undefined when there is none, or more than one. */
  findByCertificate(names: readonly string[]): Promise<OperatorRecord | undefined>;
  /** By id or name. */
  find(idOrName: string): Promise<OperatorRecord | undefined>;
  /** Newest first, after the place. */
  page(after: OperatorPlace | undefined, limit: number): Promise<readonly OperatorRecord[]>;
  /** False, with nothing changed, when name, token or certificate is taken. */
  add(record: OperatorRecord): Promise<boolean>;
  /** Adds it when there is no operator at all; of several at once one wins. */
  addFirst(record: OperatorRecord): Promise<boolean>;
  /** `last`: nobody else, unexpired at `nowMs`, could manage operators then, which none of a tenant can; nothing is changed. */
  remove(id: string, nowMs: number): Promise<'removed' | 'missing' | 'last'>;
  /** Notes a use; a later moment wins. */
  used(id: string, atMs: number): Promise<void>;
}
