// Keys that need no network: a JWKS in the configuration or in a file, a PEM key, a shared secret, our own signing key.
import { type KeySet, type KeySource, type KeySourceState, keyUnknown, type RefreshOutcome } from './key-set.ts';
import type { VerificationKey } from './verification-key.ts';

/** How a local source reads its keys, and how tokens name them. */
export interface LocalKeySetOptions {
  /** Reads the keys; throws `misconfigured`. Called once at once, and again by `refresh`. */
  readonly read: () => KeySet;
  /** True for a lone PEM key or secret: the token's kid, which names it elsewhere, is not compared. */
  readonly anyKid: boolean;
  /** Told how each refresh went, for metrics and log. */
  readonly onRefresh?: ((outcome: RefreshOutcome, detail: string | undefined) => void) | undefined;
}

/** A {@link KeySource} without network. The constructor throws `misconfigured` when there is no usable key. */
export class LocalKeySet implements KeySource {
  readonly #options: LocalKeySetOptions;
  readonly #listeners = new Set<(keyIds: readonly string[]) => void>();
  #set: KeySet;
  #lastOutcome: RefreshOutcome = 'ok';

  constructor(options: LocalKeySetOptions) {
    this.#options = options;
    this.#set = options.read();
  }

  find(kid: string | undefined, algorithm: string): readonly VerificationKey[] {
    const found = this.#set.find(this.#options.anyKid ? undefined : kid, algorithm);
    if (found.length === 0) throw keyUnknown;
    return found;
  }

  state(): KeySourceState {
    return {
      ageSeconds: undefined,
      keys: this.#set.keys.length,
      kids: this.#set.keys.map((key) => key.id),
      lastOutcome: this.#lastOutcome,
      ready: true,
    };
  }

  async warm(): Promise<void> {}

  async refresh(): Promise<void> {
    let next: KeySet;
    try {
      next = this.#options.read();
    } catch (error) {
      this.#lastOutcome = 'malformed';
      this.#options.onRefresh?.('malformed', error instanceof Error ? error.message : undefined);
      return;
    }
    const gone = this.#set.idsMissingFrom(next);
    this.#set = next;
    this.#lastOutcome = 'ok';
    this.#options.onRefresh?.('ok', undefined);
    if (gone.length > 0) for (const listener of this.#listeners) listener(gone);
  }

  onKeysRemoved(listener: (keyIds: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear();
  }
}
