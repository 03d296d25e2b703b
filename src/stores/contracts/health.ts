// Contract of what planes ask a store about itself, for /readyz, metrics and the replicas' share of local limits.

/** State of a store connection as planes report it. */
export interface StoreHealth {
  /** True while the last exchange succeeded. */
  readonly up: boolean;
  /** Problems that degrade without stopping, such as an eviction policy other than `noeviction`. */
  readonly warnings: readonly string[];
  /** Why it is not up: what the server or the system said, as a code such as `WRONGPASS` or `ECONNREFUSED`; undefined where neither did. */
  readonly problem?: string | undefined;
}

/** A backend as a whole: what the composition root opens and closes. */
export interface EphemeralBackend extends AsyncDisposable {
  readonly name: 'memory' | 'redis';
  health(): StoreHealth;
  /** Replicas seen by heartbeat, this one included; frozen at the last count while the store is away. At least 1. */
  replicas(): number;
}
