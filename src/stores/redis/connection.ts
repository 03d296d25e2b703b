// Connections to Redis: how they are opened, how long anything may take, and how they come back. A command is never sent
// twice and never waits in a queue: a lost answer is an error for the caller's fail mode, not a second charge.
import { Redis, type RedisOptions } from 'ioredis';
import { redisCode } from './errors.ts';
import { hearLateErrors } from './late-errors.ts';
import { sentinelOptions, tlsOptions } from './sentinel.ts';
import type { NodeAddress, RedisSettings } from './settings.ts';

/** `fast` is for the request path, `slow` for what may take longer, `subscriber` for notices. */
export type Purpose = 'fast' | 'slow' | 'subscriber';

const CONNECT_TIMEOUT_MS = 2000;
const RETRY_BASE_MS = 50;
const RETRY_MAX_MS = 2000;
const SLOW_TIMEOUT_MS = 2000;
/** A subscriber hears nothing for hours: only asking shows that its connection still is one. */
const SUBSCRIBER_PING_MS = 5000;

/** Wait before attempt n, from 1: exponential, half of it by chance, so that replicas do not come back all at once. */
export function retryDelay(attempt: number): number {
  const ceiling = Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** Math.min(attempt, 10));
  return Math.round(ceiling * (0.5 + Math.random() / 2));
}

/** Longest that a command of this purpose waits for its answer. */
export function timeoutOf({ timeoutMs }: RedisSettings, purpose: Purpose): number {
  return purpose === 'fast' ? timeoutMs : Math.max(SLOW_TIMEOUT_MS, timeoutMs);
}

/**
 * Opens a connection that keeps reconnecting until it is closed. `addresses` are those of a Cluster, asked at every attempt:
 * each attempt takes the next one.
 */
export function connect(
  settings: RedisSettings,
  purpose: Purpose,
  addresses: () => readonly NodeAddress[] = () => [],
): Redis {
  let attempts = 0;
  const next = (): Partial<NodeAddress> => {
    const known = addresses();
    return known[attempts++ % Math.max(1, known.length)] ?? {};
  };
  const retry = (attempt: number) => {
    Object.assign(redis.options, next());
    return retryDelay(attempt);
  };
  const options = { ...placeOptions(settings), ...next(), ...sharedOptions(settings, purpose), retryStrategy: retry };
  const redis = hearLateErrors('url' in settings ? new Redis(settings.url, options) : new Redis(options));
  // Without a listener ioredis prints to the console; the state is read from `status`, errors come from commands. One of a
  // connection that stands is an answer that nobody asked for: which answer belongs to which command is then anybody's guess.
  redis.on('error', () => void (redis.status === 'ready' && redis.stream?.destroy()));
  redis.on('connect', () => guardReplies(redis));
  redis.on('close', () => forgetSilence(redis));
  keepTrying(redis);
  if (purpose === 'subscriber') keepAsking(redis);
  void redis.connect().catch(() => undefined);
  return redis;
}

function placeOptions(settings: RedisSettings): RedisOptions {
  if (!('sentinel' in settings)) return {};
  return sentinelOptions(settings.sentinel, settings.tls, retryDelay, timeoutOf(settings, 'slow'));
}

function sharedOptions(settings: RedisSettings, purpose: Purpose): RedisOptions {
  const timeout = timeoutOf(settings, purpose);
  const { user, password, tls } = settings;
  return {
    // Dialled at the end of connect(), when every listener is there.
    lazyConnect: true,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    // 0 flushes what is under way at the first disconnect; the default of 20 would keep it for 20 reconnects.
    maxRetriesPerRequest: 0,
    autoResubscribe: false,
    commandTimeout: timeout,
    // A peer that stalls without closing is given up, or every request would wait its full timeout for ever.
    socketTimeout: Math.max(1000, 4 * timeout),
    connectTimeout: CONNECT_TIMEOUT_MS,
    disconnectTimeout: 200,
    keepAlive: 10_000,
    // While it loads its data the server is asked again this often; its own estimate is often "a second".
    maxLoadingRetryTime: 250,
    disableClientInfo: true,
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
    ...(tls !== undefined && { tls: tlsOptions(tls) }),
  };
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
 * The timer of `socketTimeout` outlives the connection whose silence it measured, and would cut the next one, which answers:
 * routes with `on_store_down: deny` refused again up to eight seconds after Redis was back (ioredis 2147, mended in 6.0).
 */
function forgetSilence(redis: Redis): void {
  const own = redis as unknown as { socketTimeoutTimer: NodeJS.Timeout | undefined };
  clearTimeout(own.socketTimeoutTimer);
  own.socketTimeoutTimer = undefined;
}

/** ioredis gives up for good when a connection is cut while Sentinels are being asked; only a close of ours is for good. */
function keepTrying(redis: Redis): void {
  let closed = false;
  let attempts = 0;
  let timer: NodeJS.Timeout | undefined;
  const disconnect = redis.disconnect.bind(redis);
  redis.disconnect = (reconnect = false) => {
    if (!reconnect) closed = true;
    if (closed) clearTimeout(timer);
    disconnect(reconnect);
  };
  redis.on('ready', () => {
    attempts = 0;
  });
  redis.on('end', () => {
    if (closed) return;
    attempts += 1;
    timer = setTimeout(() => void redis.connect().catch(() => undefined), retryDelay(attempts));
  });
}

/** A connection that went away without a word (a partition, a NAT that forgot it) is seen by its silence. */
function keepAsking(redis: Redis): void {
  const timer = setInterval(() => {
    if (redis.status !== 'ready') return;
    redis.ping().catch((error: unknown) => {
      if (redisCode(error) === '' && redis.status === 'ready') redis.stream?.destroy();
    });
  }, SUBSCRIBER_PING_MS).unref();
  const disconnect = redis.disconnect.bind(redis);
  redis.disconnect = (reconnect = false) => {
    if (!reconnect) clearInterval(timer);
    disconnect(reconnect);
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
