// When this replica was last in step with the shared revocation log, and what holds since: the only place where
// `revocation.on_store_down` and `known_for` decide anything (design 5).
import type { FollowerOptions } from './follower-options.ts';

/** Contact is sought every second while there is none: so long without is no blink. */
const DENY_AFTER_MS = 3000;
/** In step for as long as two of the looks that are taken every second. */
const READY_MS = 2000;

/** One replica's contact with the log. It begins without any. */
export class Contact {
  /** Read at each use: the settings follow the configuration in force. */
  readonly #options: Pick<FollowerOptions, 'clock' | 'onStoreDown' | 'knownForMs'>;
  #atMs = Number.NEGATIVE_INFINITY;
  #loadedOnce = false;

  constructor(options: Pick<FollowerOptions, 'clock' | 'onStoreDown' | 'knownForMs'>) {
    this.#options = options;
  }

  /** The index is in step with the log at this moment. */
  made(): void {
    this.#atMs = this.#options.clock.monotonicMs();
  }

  /** The index is complete, by the log or by what the durable store remembers. */
  loaded(): void {
    this.#loadedOnce = true;
  }

  /** True once the index was complete. */
  get loadedOnce(): boolean {
    return this.#loadedOnce;
  }

  /** Time without contact, in ms. */
  sinceMs(): number {
    return this.#options.clock.monotonicMs() - this.#atMs;
  }

  /** As {@link RevocationFollower.state}; `isWhole`: nothing is doubted or being read anew. */
  state(isWhole: boolean): 'ready' | 'known' | 'unknown' {
    if (!this.#loadedOnce) return 'unknown';
    const sinceMs = this.sinceMs();
    if (isWhole && sinceMs < READY_MS) return 'ready';
    return sinceMs <= this.#options.knownForMs ? 'known' : 'unknown';
  }

  /** As {@link RevocationFollower.policy}. */
  policy(): 'index' | 'deny' {
    const { onStoreDown, knownForMs } = this.#options;
    if (onStoreDown === 'allow') return 'index';
    if (onStoreDown === 'deny' || !this.#loadedOnce) return 'deny';
    return this.sinceMs() <= knownForMs ? 'index' : 'deny';
  }

  /** As {@link RevocationFollower.mayKeepOpen}. */
  mayKeepOpen(): boolean {
    const { onStoreDown, knownForMs } = this.#options;
    if (onStoreDown === 'allow') return true;
    const boundMs = onStoreDown === 'deny' ? DENY_AFTER_MS : Math.max(DENY_AFTER_MS, knownForMs);
    return this.#loadedOnce && this.sinceMs() <= boundMs;
  }
}
