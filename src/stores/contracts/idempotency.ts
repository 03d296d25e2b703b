// Contract of answers kept by Idempotency-Key: a caller that lost the answer of a creation asks again, and gets the first
// answer instead of a second thing.

/** One call under a key. */
export interface IdempotentCall {
  /** SHA-256 of operator and key, 43 base64url characters. */
  readonly keyDigest: string;
  /** SHA-256 of everything else that makes it the same call: method, path, query, body; 43 base64url characters. */
  readonly requestDigest: string;
}

/** An answer as it was sent. */
export interface KeptAnswer {
  readonly status: number;
  readonly etag: string | undefined;
  /** Bytes of the body; undefined for an empty one. May hold a secret that is shown once. */
  readonly text: string | undefined;
}

/** What a key stands for now. */
export type IdempotencyState =
  /** Ours: the caller goes ahead, then finishes or abandons. */
  | { readonly state: 'begun' }
  /** Somebody else's who has not finished, or who died before. */
  | { readonly state: 'running' }
  /** Used for another call. */
  | { readonly state: 'other' }
  | { readonly state: 'answered'; readonly answer: KeptAnswer };

/**
 * Guarantees: of any number of parallel `begin` of one key one gets `begun`, over all replicas that share the store, until
 * `untilMs`; what is kept is sealed wherever others could read it; every call rejects with `store_unavailable` when the store
 * is away.
 */
export interface IdempotentAnswers {
  begin(call: IdempotentCall, nowMs: number, untilMs: number): Promise<IdempotencyState>;
  /** Keeps the answer of a call that was begun. */
  finish(call: IdempotentCall, answer: KeptAnswer): Promise<void>;
  /** The call failed and nothing happened: the key is free again. */
  abandon(call: IdempotentCall): Promise<void>;
  /** Deletes some of what has expired; answers how many. */
  expire(nowMs: number): Promise<number>;
}
