// How long replicas wait before they try Redis again: 50 ms to 2 s as docs/redis.md says, longer with every failure, and never
// in step, or all of them would come back in the same moment.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { connect, type Purpose, retryDelay } from '../../src/stores/redis/connection.ts';
import type { RedisSettings } from '../../src/stores/redis/settings.ts';

const LEAST_MS = 50;
const MOST_MS = 2000;

/** Attempts as ioredis counts them. */
const attempts = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 2 ** 31 }));

const longestOf = (attempt: number) => Math.min(MOST_MS, 2 * LEAST_MS * 2 ** (Math.min(attempt, 10) - 1));

test('every pause is between 50 ms and 2 s, and between half and all of what its attempt may wait', () => {
  fc.assert(
    fc.property(attempts, (attempt) => {
      const [pauseMs, longestMs] = [retryDelay(attempt), longestOf(attempt)];
      assert.ok(pauseMs >= LEAST_MS && pauseMs <= MOST_MS, `${pauseMs}`);
      assert.ok(pauseMs >= longestMs / 2 && pauseMs <= longestMs, `${pauseMs} of ${longestMs} at attempt ${attempt}`);
    }),
    { numRuns: 1000 },
  );
});

test('pauses of one attempt are spread evenly over their range', () => {
  fc.assert(
    fc.property(attempts, (attempt) => {
      const [longestMs, counts] = [longestOf(attempt), new Array<number>(8).fill(0)];
      for (let n = 0; n < 2000; n += 1) {
        const place = Math.floor((8 * (retryDelay(attempt) - longestMs / 2)) / (longestMs / 2 + 1));
        counts[place] = (counts[place] as number) + 1;
      }
      // Of 2000 an eighth is 250, or 200 to 300 where whole milliseconds fall unevenly; by chance not one in 10^10 is outside.
      assert.ok(
        counts.every((count) => count > 120 && count < 400),
        `attempt ${attempt}: ${counts}`,
      );
    }),
    { numRuns: 20 },
  );
});

test('every connection to Redis and to its Sentinels waits by them', () => {
  const sentinel = { name: 'main', nodes: [{ host: '127.0.0.1', port: 1 }] };
  const places: readonly RedisSettings[] = [
    { url: 'redis://127.0.0.1:1', prefix: 't', timeoutMs: 50 },
    { sentinel, prefix: 't', timeoutMs: 50 },
  ];
  for (const settings of places) {
    for (const purpose of ['fast', 'slow', 'subscriber'] satisfies Purpose[]) {
      const redis = connect(settings, purpose);
      redis.disconnect();
      const { retryStrategy, sentinelRetryStrategy, sentinelReconnectStrategy } = redis.options;
      const used =
        'url' in settings ? [retryStrategy] : [retryStrategy, sentinelRetryStrategy, sentinelReconnectStrategy];
      for (const pauseOf of used) {
        const pauses = Array.from({ length: 50 }, () => pauseOf?.(6));
        assert.ok(
          pauses.every((pauseMs) => typeof pauseMs === 'number' && pauseMs >= 1000 && pauseMs <= MOST_MS),
          String(pauses),
        );
        assert.ok(new Set(pauses).size > 25, 'they differ');
      }
    }
  }
});
