// Contract of the check (design 4.8): one round trip answers, for all requests of an event-loop turn, "is the revocation
// index current?" and "are the limits kept?". The memory backend is the readable reference; Redis does it in one Lua call.
import type { Rate } from '../../core/units.ts';
import type { RevocationHead } from './revocations.ts';

/** One limit to charge for one request: cost 1 against every rate, all or nothing. */
export interface Charge {
  /** Digest that already holds application name, limit name and key parts; unique per limit and caller. */
  readonly key: string;
  /** One counter per rate, kept under (key, algorithm, window): a changed quota keeps its count. Windows must differ. */
  readonly rates: readonly Rate[];
  /** `sliding` weighs the previous window by its remaining share; `log` remembers each hit and is exact. */
  readonly algorithm: 'sliding' | 'log';
  /** A shadow limit is counted and reported and never refuses. */
  readonly shadow: boolean;
}

/**
 * Two numbers per rate of every charge, in order: `remaining` (whole requests left after this one; -1 when this rate
 * refuses) and `resetMs` (ms until one more request can succeed when refused or empty, else until the window ends; for
 * `log` until the oldest hit leaves). A request was refused when an enforced charge has a -1: then nothing was charged,
 * and `remaining` of the other rates is what they have left.
 */
export type RateStates = readonly number[];

/** What the store says about a batch. A failed request is an Error in its place and spoils no other. */
export interface CheckReply {
  /** Undefined when the store holds no revocation log: it was lost, or never made. */
  readonly head: RevocationHead | undefined;
  /** True where the limits were counted and the log could not be asked (its node of a Cluster is away): `head` says nothing. */
  readonly headAway?: true;
  readonly results: readonly (RateStates | Error)[];
}

/**
 * Guarantees every backend gives:
 * - atomic per batch: N parallel requests at limit L in a fresh window admit exactly L, over all replicas;
 * - all or nothing: a request refused by any enforced rate charges none of its rates, shadow ones included; a shadow
 *   charge that is over any of its own rates is not charged and refuses nobody. Over a Cluster each limit is exact on its own,
 *   and what other lanes charged to a refused request is given back a moment later, best effort;
 * - a clock that is behind frees nobody, and keeps nobody out for longer than two windows: within a window it stands still, and by
 *   one that is farther behind all that was counted counts from now on (a failover to a skewed clock, attack 105);
 * - nothing is kept longer than twice its window;
 * - a store that can be read but not written (full, read-only) still answers the head: each charged request is an Error;
 * - rejects with `store_unavailable` within the configured timeout when the store is away.
 */
export interface CheckStore {
  /** At most 256 requests; an empty list of charges still reads the head. `nowMs` is given only by tests. */
  check(requests: readonly (readonly Charge[])[], nowMs?: number): Promise<CheckReply> | CheckReply;
  /** The state of one charge without charging it. */
  peek(charge: Charge, nowMs?: number): Promise<RateStates>;
  /** Forgets the counters of one charge; true when there were any. */
  reset(charge: Charge): Promise<boolean>;
}
