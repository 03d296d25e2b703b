// Key sets between planes: a control plane publishes those of our issuers, signed; a replica without PostgreSQL reads them.
// Redis only carries them: what is not signed, or older than what is known, is refused and said.
import type { Clock } from '../core/clock.ts';
import type { Publication, PublicationReader } from '../keys/publications.ts';
import type { SigningRing } from '../keys/signing-ring.ts';
import type { PublishedStore } from '../stores/contracts/published.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { HeldKeysOrigin } from '../token/held-key-set.ts';
import { type KeySet, readKeySet } from '../token/key-set.ts';
import type { OwnKeys } from './own-keys.ts';
import type { PublicationWriter } from './publication-writer.ts';

const CHECK_EVERY_MS = 3000;
/** Published again this often, so that what replicas hold does not expire. */
const REPEAT_MS = 60_000;

/** Publishes every change of our keys, and everything once a minute; goes on trying while Redis is away. */
export function publishKeys(parts: {
  readonly ownKeys: OwnKeys;
  readonly write: PublicationWriter;
  readonly clock: Clock;
  readonly log: Log;
}): Disposable {
  const { ownKeys, write, clock, log } = parts;
  const done = new Map<string, { readonly seq: number; readonly atMs: number }>();
  let failing = false;
  const publish = async (ring: SigningRing): Promise<void> => {
    const seq = ring.state?.revision ?? 0;
    const last = done.get(ring.issuer);
    const nowMs = clock.monotonicMs();
    if (seq === 0 || ring.isStale || (last?.seq === seq && nowMs - last.atMs < REPEAT_MS)) return;
    const document = { issuer: ring.issuer, keys: ring.published() };
    try {
      await write({ kind: 'keys', name: ring.issuer, seq, document });
      done.set(ring.issuer, { seq, atMs: nowMs });
      failing = false;
    } catch (error) {
      if (!failing) log.warn({ problem: error instanceof Error ? error.message : 'unknown' }, 'keys_not_published');
      failing = true;
    }
  };
  ownKeys.onChange((ring) => void publish(ring));
  const timer = setInterval(() => {
    for (const ring of ownKeys.rings()) void publish(ring);
  }, CHECK_EVERY_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** What a reading replica needs. */
export interface PublishedKeysParts {
  readonly store: PublishedStore;
  readonly read: PublicationReader;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Published key sets by issuer, on a replica that reads them. */
export class PublishedKeys implements AsyncDisposable {
  readonly #parts: PublishedKeysParts;
  readonly #held = new Map<string, Publication>();
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #timer: NodeJS.Timeout;
  #watch: AsyncDisposable | undefined;

  constructor(parts: PublishedKeysParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => this.#reloadAll(), 10 * CHECK_EVERY_MS).unref();
  }

  /** Follows notices of changes; resolves at once, whether Redis answers or not. */
  async start(): Promise<void> {
    this.#watch = await this.#parts.store.watch((notice) => {
      if (notice === undefined) this.#reloadAll();
      else if (notice.kind === 'keys' && this.#listeners.has(notice.name))
        void this.#reload(notice.name).catch(() => undefined);
    });
  }

  /** What verifies tokens of the issuer here. */
  origin(issuer: string, algorithms: ReadonlySet<string>): HeldKeysOrigin {
    const listeners = this.#listeners.get(issuer) ?? new Set();
    this.#listeners.set(issuer, listeners);
    let made: { readonly from: Publication | undefined; readonly set: KeySet | undefined } = {
      from: undefined,
      set: undefined,
    };
    return {
      held: () => {
        const from = this.#held.get(issuer);
        if (from === undefined || from.expiresAtMs <= this.#parts.clock.nowMs()) return undefined;
        if (made.from !== from) made = { from, set: readKeySet(from.document, algorithms) };
        return made.set;
      },
      reload: () => this.#reload(issuer),
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#watch?.[Symbol.asyncDispose]();
  }

  #reloadAll(): void {
    for (const issuer of this.#listeners.keys()) void this.#reload(issuer).catch(() => undefined);
  }

  async #reload(issuer: string): Promise<void> {
    const { store, read, log, metrics } = this.#parts;
    const jws = await store.get('keys', issuer);
    if (jws === undefined) return;
    const next = await read(jws, { kind: 'keys', name: issuer }, this.#held.get(issuer));
    if (typeof next === 'string') {
      metrics.publicationsRefused.labels('keys', next).inc();
      log.error({ issuer, problem: next }, 'publication_refused');
      return;
    }
    const before = this.#held.get(issuer);
    // A slower reading must not bring an older one back.
    if (before !== undefined && (next.seq < before.seq || next.publishedAtMs < before.publishedAtMs)) return;
    this.#held.set(issuer, next);
    if (before?.seq !== next.seq) for (const listener of this.#listeners.get(issuer) ?? []) listener();
  }
}
