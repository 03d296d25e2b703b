// Limits on how much one caller has under way at once: `concurrent` instead of a rate. Counted in memory of this process, because
// only the process that serves a request sees every way in which it can end.
import { type AddressMatcher, addressMatcher } from '../core/address.ts';
import { byPrincipal, keyFor, type LimitSettings, type LimitSubject } from './compile.ts';

/** Room for one request under one concurrency limit; the same object for the same caller. */
export interface ConcurrentSlot {
  readonly limit: ConcurrentLimit;
  /** Unique per limit and caller. */
  readonly key: string;
}

/** One concurrency limit, ready to count. */
export interface ConcurrentLimit {
  readonly name: string;
  /** Requests of one caller under way at once, streams among them. */
  readonly most: number;
  readonly shadow: boolean;
  /** The key holds something of the principal. */
  readonly byPrincipal: boolean;
  readonly exempts: AddressMatcher | undefined;
  slot(subject: LimitSubject): ConcurrentSlot;
}

/** Compiles the limit `name`, which has `concurrent`. */
export function compileConcurrent(
  name: string,
  settings: LimitSettings & { readonly concurrent: number },
  applicationName: string | undefined,
): ConcurrentLimit {
  const limit: ConcurrentLimit = {
    name,
    most: settings.concurrent,
    shadow: settings.mode === 'shadow',
    byPrincipal: byPrincipal(settings),
    exempts: settings.exempt.length > 0 ? addressMatcher(settings.exempt) : undefined,
    slot: (subject) => ({ limit, key: keyFor(name, settings, applicationName, subject) }),
  };
  return limit;
}

/** What every caller has under way, over all generations of the configuration. Holds callers only while they have something. */
export class InFlight {
  readonly #counts = new Map<string, number>();

  /** Callers with something under way. */
  get size(): number {
    return this.#counts.size;
  }

  /** How much is under way in the caller's place. */
  count(slot: ConcurrentSlot): number {
    return this.#counts.get(slot.key) ?? 0;
  }

  /** The first enforced limit without room; undefined when there is room under all of them. */
  full(slots: readonly ConcurrentSlot[]): ConcurrentLimit | undefined {
    for (const slot of slots) if (!slot.limit.shadow && this.count(slot) >= slot.limit.most) return slot.limit;
    return undefined;
  }

  /** Counts one more; {@link leave} must follow exactly once. */
  enter(slots: readonly ConcurrentSlot[]): void {
    for (const { key } of slots) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  /** Counts one less. */
  leave(slots: readonly ConcurrentSlot[]): void {
    for (const { key } of slots) {
      const left = (this.#counts.get(key) ?? 1) - 1;
      if (left > 0) this.#counts.set(key, left);
      else this.#counts.delete(key);
    }
  }
}
