// What a follower of the revocation log is made of, and what it answers to a revocation.
import type { Clock } from '../core/clock.ts';
import type { EndedGrants } from '../stores/contracts/grants.ts';
import type { RevocationEntry, RevocationLog } from '../stores/contracts/revocations.ts';
import type { RevocationIndex } from './index.ts';
import type { LogChange } from './losses.ts';
import type { RememberedRevocations } from './recovery.ts';

/** How a follower is set up. */
export interface FollowerOptions {
  readonly log: RevocationLog;
  readonly index: RevocationIndex;
  readonly clock: Clock;
  /** `revocation.on_store_down`. */
  readonly onStoreDown: 'known' | 'deny' | 'allow';
  /** `revocation.known_for`: how long `known` holds without contact. */
  readonly knownForMs: number;
  /** Longest `observe` makes a request wait; what it started goes on. */
  readonly waitMs: number;
  /** Asked when the log was lost or is met for the first time; iterating rejects with `store_unavailable` when it cannot tell. */
  readonly remembered?: () => AsyncIterable<RememberedRevocations>;
  /** Told of limit resets by any replica. */
  readonly onLimitReset?: (key: string) => void;
  /** Ms from revoking on another replica to refusing here, for the metric. */
  readonly onPropagation?: (ms: number) => void;
  /** Told when the clock was set back, and by how many ms. */
  readonly onSetBack?: (ms: number) => void;
  /** Told when the log is lost and when it is whole again. */
  readonly onLogChange?: (change: LogChange) => void;
}

/** Answer to a revocation: in the shared log, or in force here and sent as soon as the store is back. */
export interface RevokeAnswer {
  readonly entry: RevocationEntry;
  readonly applied: 'all' | 'pending';
  /** Grants that ended with it, where there are any to end. */
  readonly ended?: EndedGrants | undefined;
}
