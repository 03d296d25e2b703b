// Contract of the signing keys of our own issuers: their states, their times, and the private parts, sealed. What follows
// when is decided by keys/signing-schedule.ts; here it only becomes true, for all replicas at once.

/**
 * pending: published, does not sign yet. active: signs. retiring: published until the last token it signed has died.
 * retired: gone from the key set, private part deleted. banned: refused everywhere, for ever.
 */
export type SigningKeyState = 'pending' | 'active' | 'retiring' | 'retired' | 'banned';

/** Algorithms that we sign with. */
export type SigningKeyAlgorithm = 'ES256' | 'RS256' | 'EdDSA';

/** A key without its private part. */
export interface SigningKeyRecord {
  /** `iss` of the issuer block. */
  readonly issuer: string;
  /** RFC 7638 thumbprint. */
  readonly kid: string;
  readonly algorithm: SigningKeyAlgorithm;
  /** Public members, `kid`, `alg` and `use`; never a private one (attack 85). */
  readonly publicJwk: Readonly<Record<string, unknown>>;
  readonly state: SigningKeyState;
  readonly createdAtMs: number;
  /** When it began to sign, or shall. */
  readonly activateAtMs: number;
  /** When its last token will have died; defined from retiring on. */
  readonly retireAtMs: number | undefined;
  /** When it became retired or banned. */
  readonly endedAtMs: number | undefined;
}

/** A key about to be stored; only as pending or active. */
export interface NewSigningKey extends Omit<SigningKeyRecord, 'retireAtMs' | 'endedAtMs' | 'state'> {
  readonly state: 'pending' | 'active';
  /** PKCS8 DER, sealed for table signing_key, row [issuer, kid], column private_key. */
  readonly sealedPrivate: Buffer;
}

/** One step of a key. Steps of one change are applied in order, all or none. */
export type SigningKeyChange =
  | { readonly type: 'create'; readonly key: NewSigningKey }
  | { readonly type: 'activate'; readonly kid: string; readonly activateAtMs: number }
  | { readonly type: 'begin_retiring'; readonly kid: string; readonly retireAtMs: number }
  | { readonly type: 'retire'; readonly kid: string; readonly endedAtMs: number }
  | { readonly type: 'ban'; readonly kid: string; readonly endedAtMs: number }
  | { readonly type: 'forget'; readonly kid: string };

/** The keys of an issuer at one moment. */
export interface SigningKeysState {
  /** Grows with every change, also past what a restored backup knew (it is never below the time in ms); 0 before the first. */
  readonly revision: number;
  /** Oldest first. */
  readonly keys: readonly SigningKeyRecord[];
}

/**
 * Guarantees: one active key per issuer at most, over all replicas; a change sees and makes one consistent state, and of
 * replicas that race each sees the other's result; a kid is never reused; every call rejects with `store_unavailable` when
 * PostgreSQL is away.
 */
export interface SigningKeyStore {
  read(issuer: string): Promise<SigningKeysState>;
  /** The sealed private part; undefined for a key that is not there, or has none any more. */
  sealedPrivate(issuer: string, kid: string): Promise<Buffer | undefined>;
  /**
   * Applies what `decide` answers to the keys as they are; resolves with the state afterwards, which has another revision
   * unless nothing was to be done. `decide` may be called again and must depend on its argument alone; what it throws
   * rejects the change, and nothing is changed. Retiring for good and banning delete the private part. A step that does not
   * fit the state of its key is a TypeError.
   */
  change(
    issuer: string,
    nowMs: number,
    decide: (keys: readonly SigningKeyRecord[]) => readonly SigningKeyChange[],
  ): Promise<SigningKeysState>;
}
