// Connections to Redis: how they are opened, how long anything may take, and what the server says about itself. A command
// is never sent twice and never waits in a queue: a lost answer is an error for the caller's fail mode, not a second charge.
//
// The ACL line that Doorward needs (prefix `doorward`), tested in test/faults/redis.test.ts:
//   ACL SETUSER doorward on >PASSWORD ~doorward:* &doorward:* -@all +auth +hello +select +ping +info +time +evalsha +eval
//     +get +set +psetex +setrange +del +hget +hset +hdel +hscan +zadd +zrem +zrangebyscore +zremrangebyscore +zcard
//     +lindex +llen +ltrim +rpush +pexpire +xadd +xrange +xrevrange +publish +subscribe +unsubscribe
import { Redis, type RedisOptions } from 'ioredis';
import { redisCode } from './errors.ts';

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
/** A connection on which every command has failed for this long is made anew. */
const HOPELESS_MS = 2000;

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
  redis.on('connect', () => guardReplies(redis));
  watchAnswers(redis);
  return redis;
}

/**
 * A reply of a shape that ioredis does not expect (a null to SUBSCRIBE, arrays nested a hundred thousand deep) throws out of
 * its parser and would be an uncaught exception; the connection that brought it is cut and made anew instead.
 */
function guardReplies({ stream }: Redis): void {
  for (const parse of stream.listeners('data')) {
    stream.off('data', parse as (chunk: Buffer) => void);
    stream.on('data', (chunk: Buffer) => {
      try {
        parse.call(stream, chunk);
      } catch (cause) {
        stream.destroy(new Error('Redis sent a malformed reply', { cause }));
      }
    });
  }
}

/**
 * Answers belong to commands by their order alone. Once one was lost, each command gets the answer of the one before or none
 * in time, though bytes keep coming: only a new connection ends that.
 */
function watchAnswers(redis: Redis): void {
  let failingSinceMs: number | undefined;
  const onAnswer = () => {
    failingSinceMs = undefined;
  };
  const onFailure = (error: unknown) => {
    if (redisCode(error) !== '' || redis.status !== 'ready') return onAnswer();
    failingSinceMs ??= performance.now();
    if (performance.now() - failingSinceMs < HOPELESS_MS) return;
    failingSinceMs = undefined;
    redis.disconnect(true);
  };
  const send = redis.sendCommand.bind(redis);
  redis.sendCommand = (command, stream) => {
    command.promise.then(onAnswer, onFailure);
    return send(command, stream);
  };
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
