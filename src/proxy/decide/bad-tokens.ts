// How many bad tokens an address has sent, in memory of this replica (attack 101): signature work is the most expensive
// thing that a stranger can make us do. Bounded by count; the least recently bad address is forgotten first.
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/clock.ts';
import type { Rate } from '../../core/units.ts';

interface Count {
  index: number;
  current: number;
  previous: number;
}

/** Counter of bad tokens per address. */
export interface BadTokens {
  charge(addressKey: string): void;
  /** Seconds to wait when the address is over its rate; undefined while it is not. */
  retryAfter(addressKey: string): number | undefined;
}

/**
 * Builds the counter; `rate` as under `proxy.bad_tokens`, sliding by the weight of the previous window. Time that passes counts: set
 * back by an hour, a machine's clock would keep every address out for that hour that was over its rate.
 */
export function badTokens(rate: Rate, clock: Clock): BadTokens {
  const counts = new LRUCache<string, Count>({ max: 20_000 });
  const current = (count: Count, nowMs: number): Count => {
    const index = Math.floor(nowMs / rate.windowMs);
    if (index > count.index) {
      count.previous = index === count.index + 1 ? count.current : 0;
      count.current = 0;
      count.index = index;
    }
    return count;
  };
  return {
    charge(key) {
      const nowMs = clock.monotonicMs();
      let count = counts.get(key);
      if (count === undefined) {
        count = { index: Math.floor(nowMs / rate.windowMs), current: 0, previous: 0 };
        counts.set(key, count);
      }
      current(count, nowMs).current += 1;
    },
    retryAfter(key) {
      if (counts.size === 0) return undefined;
      const count = counts.get(key);
      if (count === undefined) return undefined;
      const nowMs = clock.monotonicMs();
      const { previous, current: used } = current(count, nowMs);
      const elapsed = (nowMs % rate.windowMs) / rate.windowMs;
      if (previous * (1 - elapsed) + used < rate.limit) return undefined;
      return Math.max(1, Math.ceil(((1 - elapsed) * rate.windowMs) / 1000));
    },
  };
}
