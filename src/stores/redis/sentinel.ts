// The connection to the master that Sentinels name. What they name is believed only when it calls itself master and has a
// replica that follows it: a master cut off from its replicas may have been replaced long ago (design 5), and answering from
// it would accept what was revoked at the new one.
import { type Redis, type RedisOptions, type SentinelConnectionOptions, SentinelConnector } from 'ioredis';
import { hearLateErrors } from './late-errors.ts';
import type { SentinelSettings, TlsSettings } from './settings.ts';

/** True when INFO says that no replica follows closely enough for `min-replicas-to-write`. */
export const isIsolated = (info: Readonly<Record<string, unknown>>): boolean => info.min_slaves_good_slaves === '0';

/** A connection to a Sentinel, as the connector makes it. */
interface SentinelDialler {
  connectToSentinel(sentinel: unknown, options?: RedisOptions): Redis;
}

/** Asks the next Sentinel when the one before named a replica or an isolated master. */
class TrustedMaster extends SentinelConnector {
  constructor(options: unknown) {
    super(options as SentinelConnectionOptions);
    // ioredis prints the errors of connections that nobody listens to, stack and all, as often as a Sentinel that is away is tried.
    const own = this as unknown as SentinelDialler;
    const dial = own.connectToSentinel.bind(this);
    own.connectToSentinel = (sentinel, options) =>
      hearLateErrors(dial(sentinel, { ...options, lazyConnect: true, disableClientInfo: true })).on(
        'error',
        () => undefined,
      );
  }

  override check(info: Readonly<Record<string, unknown>>): boolean {
    return super.check(isIsolated(info) ? { role: 'isolated' } : (info as { role?: string }));
  }
}

/** Options of ioredis for a connection through Sentinels; `retry` is the wait before attempt n, in ms. */
export function sentinelOptions(
  { name, nodes, user, password, tls }: SentinelSettings,
  serverTls: TlsSettings | undefined,
  retry: (attempt: number) => number,
  timeoutMs: number,
): RedisOptions {
  return {
    Connector: TrustedMaster,
    sentinels: [...nodes],
    name,
    role: 'master',
    sentinelRetryStrategy: retry,
    sentinelReconnectStrategy: retry,
    sentinelCommandTimeout: timeoutMs,
    // Only the Sentinels of the configuration are asked: what they say of others may be addresses we cannot reach.
    updateSentinels: false,
    // A switch of master ends the connection to the old one at once.
    failoverDetector: true,
    enableTLSForSentinelMode: serverTls !== undefined,
    ...(user !== undefined && { sentinelUsername: user }),
    ...(password !== undefined && { sentinelPassword: password }),
    ...(tls !== undefined && { sentinelTLS: tlsOptions(tls) }),
  };
}

/** Options of Node's TLS. */
export function tlsOptions({ ca, serverName }: TlsSettings): { ca?: string; servername?: string } {
  return { ...(ca !== undefined && { ca }), ...(serverName !== undefined && { servername: serverName }) };
}
