// What tokens were found to be, by digest of the whole token: verified ones until they expire, bad ones for some seconds.
// Digests, not tokens, so that a memory dump holds nothing that opens a door.
import { LRUCache } from 'lru-cache';
import type { Clock } from '../core/clock.ts';
import type { SidecarError } from '../core/errors.ts';
import { tokenExpired, tokenNotYetValid } from './claims.ts';
import type { VerifiedToken } from './verified-token.ts';

/** Bounds of the cache. */
export interface VerifiedCacheOptions {
  readonly clock: Clock;
  /** Most verified tokens kept. */
  readonly size: number;
  /** Most refusals kept. */
  readonly refusals: number;
  /** How long a refusal is kept, in ms. */
  readonly refusalTtlMs: number;
}

interface Remembered {
  readonly error: SidecarError;
  readonly untilMs: number;
}

/** Two bounded maps; least recently used entries leave first. Keys are digests of whole tokens. */
export class VerifiedCache {
  readonly #clock: Clock;
  readonly #refusalTtlMs: number;
  readonly #tokens: LRUCache<string, VerifiedToken>;
  readonly #refusals: LRUCache<string, Remembered>;
  #lookups = 0;

  constructor(options: VerifiedCacheOptions) {
    this.#clock = options.clock;
    this.#refusalTtlMs = options.refusalTtlMs;
    this.#tokens = new LRUCache({ max: options.size });
    this.#refusals = new LRUCache({ max: options.refusals });
  }

  /** What is known of a token now; undefined when it has to be verified. */
  get(key: string): VerifiedToken | SidecarError | undefined {
    // Noting that a token was used costs as much as finding it: every eighth look-up is enough to keep the busy ones.
    this.#lookups = (this.#lookups + 1) & 7;
    const token = this.#lookups === 0 ? this.#tokens.get(key) : this.#tokens.peek(key);
    if (token !== undefined) {
      const nowMs = this.#clock.nowMs();
      if (nowMs < token.notAfterMs && nowMs >= token.notBeforeMs) return token;
      return this.#refuseByTime(key, token, nowMs);
    }
    const refusal = this.#refusals.get(key);
    if (refusal === undefined) return undefined;
    if (this.#clock.monotonicMs() < refusal.untilMs) return refusal.error;
    this.#refusals.delete(key);
    return undefined;
  }

  put(key: string, token: VerifiedToken): void {
    this.#tokens.set(key, token);
  }

  /** Remembers a refusal that would be the same again, whenever it is asked for in the next seconds. */
  refuse(key: string, error: SidecarError): void {
    this.#refusals.set(key, { error, untilMs: this.#clock.monotonicMs() + this.#refusalTtlMs });
  }

  clear(): void {
    this.#tokens.clear();
    this.#refusals.clear();
  }

  /** Drops the verified tokens for which `forgotten` holds, and all refusals. Walks the whole cache. */
  forget(forgotten: (token: VerifiedToken) => boolean): void {
    for (const [key, token] of this.#tokens.entries()) if (forgotten(token)) this.#tokens.delete(key);
    this.#refusals.clear();
  }

  /** Remembered tokens for which `matches` holds; walks the whole cache. */
  count(matches: (token: VerifiedToken) => boolean): number {
    let found = 0;
    for (const token of this.#tokens.values()) if (matches(token)) found += 1;
    return found;
  }

  /** How much is kept. */
  sizes(): { readonly verified: number; readonly refused: number } {
    return { verified: this.#tokens.size, refused: this.#refusals.size };
  }

  #refuseByTime(key: string, token: VerifiedToken, nowMs: number): SidecarError {
    if (nowMs < token.notBeforeMs) return tokenNotYetValid;
    this.#tokens.delete(key);
    this.refuse(key, tokenExpired);
    return tokenExpired;
  }
}
