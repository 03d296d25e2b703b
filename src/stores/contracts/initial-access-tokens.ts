// What the durable table of initial access tokens guarantees (RFC 7591 section 3): each lets its bearer register a client,
// a limited number of times, until it expires.

/** A token as it is kept: never itself. */
export interface InitialAccessToken {
  readonly id: string;
  /** SHA-256, hex. */
  readonly digest: string;
  /** Registrations it still allows; 0 once spent. */
  readonly usesLeft: number;
  readonly createdAtMs: number;
  readonly createdBy: string;
  readonly expiresAtMs: number;
}

/** A place in the list. */
export type InitialTokenPlace = Pick<InitialAccessToken, 'createdAtMs' | 'id'>;

/** Rejects with `store_unavailable` when the database does not answer. */
export interface InitialAccessTokens {
  add(token: InitialAccessToken): Promise<void>;
  /** Unspent and unexpired at `nowMs`, newest first, after the place. */
  page(nowMs: number, after: InitialTokenPlace | undefined, limit: number): Promise<readonly InitialAccessToken[]>;
  /**
   * Takes one use and answers the token's id; undefined when it is unknown, spent or expired. Of N redemptions at once as many
   * succeed as uses were left. A registration that fails afterwards has spent it: giving uses back would let one token be
   * tried without end.
   */
  redeem(digest: string, nowMs: number): Promise<string | undefined>;
  remove(id: string): Promise<boolean>;
  /** Deletes what is spent or expired; answers how many. */
  expire(nowMs: number): Promise<number>;
}
