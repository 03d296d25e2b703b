// How many replicas have followed a master lately. The one that a failover promotes stops following the old master at that
// moment, while the others may still confirm what it is told and will lose: a write that fewer confirm than followed a moment
// ago is not safe, however many confirm it.

/** A replica counts as following when its last word is at most this old, in seconds. */
const MOST_LAG_S = 2;
/** How long one that has gone is still waited for: longer than it takes until a replaced master is told. */
const RECENT_MS = 15_000;

/** The replicas of the master at the other end of a connection. */
export class RecentReplicas {
  #most = 1;
  #mostAtMs = Number.NEGATIVE_INFINITY;

  /** Takes in the section `replication` of INFO. */
  note(info: string, nowMs: number): void {
    const following = [...info.matchAll(/^slave\d+:.*state=online,.*lag=(\d+)/gm)].filter(
      ([, lag]) => Number(lag) <= MOST_LAG_S,
    ).length;
    if (following < this.#most && nowMs - this.#mostAtMs < RECENT_MS) return;
    this.#most = Math.max(1, following);
    this.#mostAtMs = nowMs;
  }

  /** Another master: what followed the one before says nothing of it. */
  forget(): void {
    this.#most = 1;
    this.#mostAtMs = Number.NEGATIVE_INFINITY;
  }

  /** How many have to confirm a write; at least one. */
  count(nowMs: number): number {
    return nowMs - this.#mostAtMs < RECENT_MS ? this.#most : 1;
  }
}
