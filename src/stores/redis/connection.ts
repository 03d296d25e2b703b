// Connections to Redis: how they are opened, how long anything may take, and what the server says about itself. A command
// is never sent twice and never waits in a queue: a lost answer is an error for the caller's fail mode, not a second charge.
//
// The ACL line that Doorward needs (prefix `doorward`), tested in test/faults/redis.test.ts:
//   ACL SETUSER doorward on >PASSWORD ~doorward:* &doorward:* -@all +auth +hello +select +ping +info +time +evalsha +eval
//     +get +set +psetex +setrange +del +hget +hset +hdel +hscan +zadd +zrem +zrangebyscore +zremrangebyscore +zcard
//     +lindex +llen +ltrim +rpush +pexpire +xadd +xrange +xrevrange +publish +subscribe +unsubscribe
import { Redis, type RedisOptions } from 'ioredis';

/** What a connection is made of; secrets already resolved. */
export interface RedisSettings {
  /** `redis://` or `rediss://`; may carry user, password and database. */
  readonly url: string;
  /** First part of every key. */
  readonly prefix: string;
  /** Longest a request waits for an answer. */
  readonly timeoutMs: number;
  /** PEM of the only CA to trust, for `rediss`. */
  readonly ca?: string;
}

const CONNECT_TIMEOUT_MS = 2000;
const RETRY_BASE_MS = 50;
const RETRY_MAX_MS = 2000;
const SLOW_TIMEOUT_MS = 2000;

/** Wait before attempt n: exponential with full jitter below it, so that replicas do not come back all at once. */
export function retryDelay(attempt: number): number {
  const ceiling = Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** Math.min(attempt, 10));
  return Math.round(ceiling * (0.5 + Math.random() / 2));
}

/**
 * Opens a connection that keeps reconnecting until it is closed. `fast` is for the request path (the configured timeout),
 * `slow` for what may take longer (appending, snapshots, heartbeats), `subscriber` for notices.
 */
export function connect(settings: RedisSettings, purpose: 'fast' | 'slow' | 'subscriber'): Redis {
  const timeout = purpose === 'fast' ? settings.timeoutMs : Math.max(SLOW_TIMEOUT_MS, settings.timeoutMs);
  const options: RedisOptions = {
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    // 0 flushes what is under way at the first disconnect; the default of 20 would keep it for 20 reconnects.
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    commandTimeout: timeout,
    // A peer that stalls without closing is given up, or every request would wait its full timeout for ever.
    socketTimeout: Math.max(1000, 4 * timeout),
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: 10_000,
    retryStrategy: retryDelay,
    disableClientInfo: true,
    ...(settings.ca !== undefined && { tls: { ca: settings.ca } }),
  };
  const redis = new Redis(settings.url, options);
  // Without a listener ioredis prints to the console; the state is read from `status`, errors come from commands.
  redis.on('error', () => undefined);
  return redis;
}

/** Resolves true once the connection is ready, false when it is not within `waitMs`. */
export async function becomesReady(redis: Redis, waitMs: number): Promise<boolean> {
  if (redis.status === 'ready') return true;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const onReady = () => resolve(true);
  const timer = setTimeout(() => resolve(false), waitMs);
  redis.once('ready', onReady);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    redis.off('ready', onReady);
  }
}
