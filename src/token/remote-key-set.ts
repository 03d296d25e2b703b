// An issuer's keys fetched over the network: ahead of need, at most one fetch at a time, and never worse than before. No
// request waits while its kid is known; an unknown kid waits for one fetch, at most one per cooldown. Where to fetch and
// how much to read is fetch-document.ts and discovery.ts; which keys are fit is verification-key.ts.
import type { LookupFunction } from 'node:net';
import { Agent } from 'undici';
import type { Clock } from '../core/clock.ts';
import { backoffMs } from './backoff.ts';
import { jwksUrl, metadataUrl } from './discovery.ts';
import { documentUrl, FetchFailure, fetchDocument } from './fetch-document.ts';
import {
  type KeySet,
  type KeySource,
  type KeySourceState,
  keyUnknown,
  type RefreshOutcome,
  readKeySet,
} from './key-set.ts';
import { keysUnavailable } from './refusal.ts';
import type { VerificationKey } from './verification-key.ts';

/** Metadata is asked again after this, and after any failure, so that a moved JWKS is found. */
const METADATA_FOR_MS = 3_600_000;
/** What setTimeout can hold; beyond it would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** One finished refresh; for metrics and log. */
export interface RefreshReport {
  readonly outcome: RefreshOutcome;
  /** What failed, or which published keys were left out; undefined when all is well. */
  readonly detail: string | undefined;
}

/** All durations in ms. */
export interface RemoteKeySetOptions {
  /** Exact `iss`; compared with the metadata. */
  readonly issuer: string;
  /** URL of the JWKS; undefined to find it through the issuer's metadata. */
  readonly url: string | undefined;
  readonly algorithms: ReadonlySet<string>;
  readonly refreshMs: number;
  readonly cooldownMs: number;
  /** Keys serve this long beyond `refreshMs` after the last good fetch. */
  readonly staleForMs: number;
  /** Limit of one refresh, metadata and redirects included. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Yields [0, 1); spreads retries. */
  readonly random?: () => number;
  readonly onRefresh?: ((report: RefreshReport) => void) | undefined;
  /** Resolves host names; default: the system. For URLs that strangers name, so that they do not lead inside. */
  readonly lookup?: LookupFunction;
}

interface Held {
  readonly set: KeySet;
  readonly atMs: number;
}

/** A {@link KeySource} that fetches. Starts nothing until `warm`, `refresh` or the first `find`. */
export class RemoteKeySet implements KeySource {
  readonly #options: RemoteKeySetOptions;
  readonly #random: () => number;
  readonly #agent: Agent;
  readonly #ended = new AbortController();
  readonly #listeners = new Set<(keyIds: readonly string[]) => void>();
  #held: Held | undefined;
  #flight: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #started = 0;
  #settled = 0;
  #failures = 0;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #askedForUnknownMs = Number.NEGATIVE_INFINITY;
  #lastOutcome: RefreshOutcome | undefined;
  #jwks: { readonly url: URL; readonly atMs: number } | undefined;

  constructor(options: RemoteKeySetOptions) {
    this.#options = options;
    const connect = options.lookup === undefined ? {} : { connect: { lookup: options.lookup } };
    this.#agent = new Agent({ connections: 2, keepAliveTimeout: 4000, maxHeaderSize: 16 * 1024, ...connect });
    this.#random = options.random ?? Math.random;
  }

  find(kid: string | undefined, algorithm: string): readonly VerificationKey[] | Promise<readonly VerificationKey[]> {
    const held = this.#usable();
    const found = held?.set.find(kid, algorithm) ?? [];
    if (held !== undefined && found.length > 0) {
      // The timer may have slept with the machine; whoever finds the keys old asks for new ones and does not wait.
      if (this.#now() - held.atMs > this.#options.refreshMs && this.#mayFetch()) void this.#fetchOnce();
      return found;
    }
    const flight = held === undefined ? this.#fetchForNone() : this.#fetchForUnknown();
    return flight.then(() => this.#findNow(kid, algorithm));
  }

  state(): KeySourceState {
    const held = this.#usable();
    return {
      ageSeconds: held && (this.#now() - held.atMs) / 1000,
      keys: held?.set.keys.length ?? 0,
      kids: held?.set.keys.map((key) => key.id) ?? [],
      lastOutcome: this.#lastOutcome,
      ready: held !== undefined,
    };
  }

  async warm(): Promise<void> {
    if (this.#usable() === undefined) await this.#fetchOnce();
  }

  async refresh(): Promise<void> {
    await this.#fetch();
  }

  onKeysRemoved(listener: (keyIds: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#ended.abort();
    this.#listeners.clear();
    await this.#flight;
    await this.#agent.destroy();
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }

  #usable(): Held | undefined {
    const held = this.#held;
    if (held === undefined) return undefined;
    return this.#now() - held.atMs <= this.#options.refreshMs + this.#options.staleForMs ? held : undefined;
  }

  #findNow(kid: string | undefined, algorithm: string): readonly VerificationKey[] {
    const held = this.#usable();
    if (held === undefined) throw keysUnavailable;
    const found = held.set.find(kid, algorithm);
    if (found.length === 0) throw keyUnknown;
    return found;
  }

  #mayFetch(): boolean {
    return !this.#ended.signal.aborted && this.#now() >= this.#notBeforeMs;
  }

  #fetchForNone(): Promise<void> {
    if (this.#flight === undefined && !this.#mayFetch()) throw keysUnavailable;
    return this.#fetchOnce();
  }

  #fetchForUnknown(): Promise<void> {
    if (this.#flight !== undefined) return this.#flight;
    const now = this.#now();
    if (now - this.#askedForUnknownMs < this.#options.cooldownMs || !this.#mayFetch()) throw keyUnknown;
    this.#askedForUnknownMs = now;
    return this.#fetch();
  }

  #fetchOnce(): Promise<void> {
    return this.#flight ?? this.#fetch();
  }

  #fetch(): Promise<void> {
    this.#started += 1;
    const number = this.#started;
    const flight = this.#load().then(
      (set) => this.#settle(number, set),
      (error: unknown) => this.#settle(number, error),
    );
    this.#flight = flight;
    const done = () => {
      if (this.#flight === flight) this.#flight = undefined;
    };
    void flight.then(done, done);
    return flight;
  }

  async #load(): Promise<KeySet> {
    const { algorithms, timeoutMs } = this.#options;
    const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#ended.signal]);
    const url = await this.#locate(signal);
    const set = readKeySet(await fetchDocument(url, this.#agent, signal), algorithms);
    if (set === undefined) throw new FetchFailure('malformed', 'the answer is no JWKS of at most 100 keys');
    if (set.keys.length === 0) throw new FetchFailure('no_keys', `no usable key: ${describeIgnored(set) ?? 'empty'}`);
    return set;
  }

  async #locate(signal: AbortSignal): Promise<URL> {
    const { issuer, url } = this.#options;
    if (url !== undefined) return documentUrl(url);
    if (this.#jwks !== undefined && this.#now() - this.#jwks.atMs < METADATA_FOR_MS) return this.#jwks.url;
    const from = metadataUrl(issuer);
    const located = jwksUrl(await fetchDocument(from, this.#agent, signal), issuer, from);
    this.#jwks = { url: located, atMs: this.#now() };
    return located;
  }

  /** Takes a result, unless a refresh that was started later has already settled: that one is newer. */
  #settle(number: number, result: unknown): void {
    if (number < this.#settled || this.#ended.signal.aborted) return;
    this.#settled = number;
    const good = result instanceof Error ? undefined : (result as KeySet);
    if (good === undefined) this.#fail(result as Error);
    else this.#replace(good);
    this.#schedule(good === undefined ? this.#notBeforeMs - this.#now() : this.#options.refreshMs);
  }

  #replace(set: KeySet): void {
    const gone = this.#held?.set.idsMissingFrom(set) ?? [];
    this.#held = { set, atMs: this.#now() };
    this.#failures = 0;
    this.#notBeforeMs = Number.NEGATIVE_INFINITY;
    this.#report('ok', describeIgnored(set));
    this.#tellRemoved(gone);
  }

  #fail(error: Error): void {
    this.#failures += 1;
    this.#jwks = undefined;
    this.#notBeforeMs = this.#now() + backoffMs(this.#failures, this.#options.refreshMs, this.#random);
    this.#report(error instanceof FetchFailure ? error.outcome : 'unreachable', error.message);
    if (this.#held === undefined || this.#usable() !== undefined) return;
    // Past stale_for the keys count no more, and neither does what they signed while it was in a cache.
    const gone = this.#held.set.idsMissingFrom(undefined);
    this.#held = undefined;
    this.#tellRemoved(gone);
  }

  #report(outcome: RefreshOutcome, detail: string | undefined): void {
    this.#lastOutcome = outcome;
    this.#options.onRefresh?.({ outcome, detail });
  }

  #tellRemoved(keyIds: readonly string[]): void {
    if (keyIds.length > 0) for (const listener of this.#listeners) listener(keyIds);
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    const waitMs = Math.min(Math.max(delayMs, 10), LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => void this.#fetchOnce(), waitMs);
    this.#timer.unref();
  }
}

function describeIgnored(set: KeySet): string | undefined {
  if (set.ignored.length === 0) return undefined;
  const first = set.ignored.slice(0, 5).map((key) => `${key.kid ?? 'a key without kid'}: ${key.why}`);
  return `${set.ignored.length} left out: ${first.join('; ')}`;
}
