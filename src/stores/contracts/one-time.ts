// Contract of values that may be used once, such as the `jti` of a client's assertion (RFC 7523 section 3).

/** Guarantees: of any number of parallel takes of one value one succeeds, over all replicas, until the value expires. */
export interface OneTimeValues {
  /**
   * True for the first take of the value of this purpose; false for every later one up to `untilMs`. The value is kept as its
   * digest. Rejects with `store_unavailable`: then the caller must refuse.
   */
  take(purpose: string, value: string, untilMs: number): Promise<boolean>;
  /**
   * Deletes some of what expired two hours ago, so that no clock that is ahead lets a value be taken again by one that is right;
   * answers how many.
   */
  expire(nowMs: number): Promise<number>;
}
