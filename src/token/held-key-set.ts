// Keys that somebody hands in: our own signing keys as the control plane moves them, or the published ones of our issuer as
// a data-plane replica reads them. An unknown kid asks whoever hands them in to look again, a few times per cooldown.
import type { Clock } from '../core/clock.ts';
import { type KeySet, type KeySource, type KeySourceState, keyUnknown, type RefreshOutcome } from './key-set.ts';
import { keysUnavailable } from './refusal.ts';
import type { VerificationKey } from './verification-key.ts';

/** Where the keys come from. */
export interface HeldKeysOrigin {
  /** The keys as they are known now, without waiting; undefined while there are none, or when they are too old. */
  held(): KeySet | undefined;
  /** Looks again. Rejects when it cannot; what is held stays. */
  reload(): Promise<void>;
  /** Calls back whenever `held` answers otherwise than before; returns the undo. */
  onChange(listener: () => void): () => void;
}

/** Settings of {@link HeldKeySet}. */
export interface HeldKeySetOptions {
  readonly origin: HeldKeysOrigin;
  readonly clock: Clock;
  /** Unknown kids that stay unknown ask the origin at most five times per this time. */
  readonly cooldownMs: number;
  /** Told how each look went, for metrics and log. */
  readonly onRefresh?: ((outcome: RefreshOutcome, detail: string | undefined) => void) | undefined;
}

const MOST_VAIN = 5;

/** A {@link KeySource} over keys that are handed in. */
export class HeldKeySet implements KeySource {
  readonly #options: HeldKeySetOptions;
  readonly #listeners = new Set<(keyIds: readonly string[]) => void>();
  readonly #unfollow: () => void;
  #last: KeySet | undefined;
  #lastOutcome: RefreshOutcome | undefined;
  #vainSinceMs = Number.NEGATIVE_INFINITY;
  #vain = 0;
  #asking: Promise<void> | undefined;

  constructor(options: HeldKeySetOptions) {
    this.#options = options;
    this.#unfollow = options.origin.onChange(() => this.#notice());
    this.#notice();
  }

  find(kid: string | undefined, algorithm: string): readonly VerificationKey[] | Promise<readonly VerificationKey[]> {
    const found = this.#options.origin.held()?.find(kid, algorithm);
    if (found !== undefined && found.length > 0) return found;
    return this.#mayAsk() ? this.#findLater(kid, algorithm) : this.#refuse();
  }

  state(): KeySourceState {
    const set = this.#options.origin.held();
    return {
      ageSeconds: undefined,
      keys: set?.keys.length ?? 0,
      kids: set?.keys.map((key) => key.id) ?? [],
      lastOutcome: this.#lastOutcome,
      ready: set !== undefined && set.keys.length > 0,
    };
  }

  warm(): Promise<void> {
    return this.refresh();
  }

  refresh(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  onKeysRemoved(listener: (keyIds: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unfollow();
    this.#listeners.clear();
  }

  #mayAsk(): boolean {
    if (this.#asking !== undefined) return true;
    const over = this.#options.clock.monotonicMs() - this.#vainSinceMs >= this.#options.cooldownMs;
    return over || this.#vain < MOST_VAIN;
  }

  async #findLater(kid: string | undefined, algorithm: string): Promise<readonly VerificationKey[]> {
    await (this.#asking ?? this.refresh());
    const found = this.#options.origin.held()?.find(kid, algorithm);
    if (found !== undefined && found.length > 0) return found;
    this.#noteVain();
    return this.#refuse();
  }

  /** Only what was asked in vain counts, so that a new key is found at once however many were found before. */
  #noteVain(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#vainSinceMs >= this.#options.cooldownMs) {
      this.#vainSinceMs = nowMs;
      this.#vain = 0;
    }
    this.#vain += 1;
  }

  #refuse(): never {
    throw this.#options.origin.held() === undefined ? keysUnavailable : keyUnknown;
  }

  async #ask(): Promise<void> {
    try {
      await this.#options.origin.reload();
      this.#lastOutcome = this.#options.origin.held() === undefined ? 'no_keys' : 'ok';
      this.#options.onRefresh?.(this.#lastOutcome, undefined);
    } catch (error) {
      this.#lastOutcome = 'unreachable';
      this.#options.onRefresh?.('unreachable', error instanceof Error ? error.message : undefined);
    }
  }

  #notice(): void {
    const next = this.#options.origin.held();
    const gone = this.#last?.idsMissingFrom(next) ?? [];
    this.#last = next;
    if (gone.length > 0) for (const listener of this.#listeners) listener(gone);
  }
}
