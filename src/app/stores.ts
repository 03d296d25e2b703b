// Opens the ephemeral stores that a configuration asks for: memory for one replica, Redis for several.
import type { SecretReference } from '../config/fields.ts';
import type { LoadedConfig } from '../config/loaded.ts';
import type { Clock } from '../core/clock.ts';
import type { CheckStore } from '../stores/contracts/checks.ts';
import type { DecisionStore } from '../stores/contracts/decisions.ts';
import type { EphemeralBackend } from '../stores/contracts/health.ts';
import type { PublishedStore } from '../stores/contracts/published.ts';
import type { RevocationLog } from '../stores/contracts/revocations.ts';
import { openMemory } from '../stores/memory/backend.ts';
import { openRedis, type RedisBackend, type RedisBackendOptions } from '../stores/redis/backend.ts';
import type { NodeAddress, RedisSettings, TlsSettings } from '../stores/redis/settings.ts';
import { workerCount } from './worker-share.ts';

/** The stores of one replica. */
export interface Stores {
  readonly backend: EphemeralBackend & {
    readonly checks: CheckStore;
    readonly revocations: RevocationLog;
    readonly decisions: DecisionStore;
    readonly published: PublishedStore;
  };
  /** Undefined in memory. */
  readonly redis: RedisBackend | undefined;
}

/** How long a start waits for Redis before it goes on without, not ready. */
const START_WAIT_MS = 2000;

/**
 * Opens them; with Redis away it resolves after two seconds and the stores go on trying. Processes with one `instanceId` count
 * as one replica.
 */
export async function openStores(
  loaded: LoadedConfig,
  clock: Clock,
  onReplaced: RedisBackendOptions['onReplaced'] & {},
  instanceId: string,
): Promise<Stores> {
  const settings = redisSettings(loaded);
  if (settings === undefined) return { backend: openMemory(clock), redis: undefined };
  const backend = openRedis(settings, { onReplaced, instanceId, processes: workerCount(loaded) });
  await backend.ready(START_WAIT_MS);
  return { backend, redis: backend };
}

/** How the configured Redis is reached, secrets resolved; undefined when there is none. */
export function redisSettings(loaded: LoadedConfig): RedisSettings | undefined {
  const { redis } = loaded.config;
  if (redis === undefined) return undefined;
  const { prefix, timeout: timeoutMs, url, sentinel, cluster } = redis;
  const shared = { prefix, timeoutMs, ...access(loaded, redis) };
  if (url !== undefined) return { ...shared, url: loaded.secrets.get(url) };
  if (cluster !== undefined) return { ...shared, cluster: { nodes: cluster.nodes.map(nodeAddress) } };
  if (sentinel === undefined) throw new TypeError('checks/redis.ts lets no configuration without a place through');
  const nodes = sentinel.nodes.map(nodeAddress);
  return { ...shared, sentinel: { name: sentinel.name, nodes, ...access(loaded, sentinel) } };
}

interface Access {
  readonly user?: string | undefined;
  readonly password?: SecretReference | undefined;
  readonly tls?: { readonly ca?: SecretReference | undefined; readonly server_name?: string | undefined } | undefined;
}

function access(
  { secrets }: LoadedConfig,
  { user, password, tls }: Access,
): Partial<Pick<RedisSettings, 'user' | 'password' | 'tls'>> {
  const trust: TlsSettings = {
    ...(tls?.ca !== undefined && { ca: secrets.get(tls.ca) }),
    ...(tls?.server_name !== undefined && { serverName: tls.server_name }),
  };
  return {
    ...(user !== undefined && { user }),
    ...(password !== undefined && { password: secrets.get(password) }),
    ...(tls !== undefined && { tls: trust }),
  };
}

/** `host:port`, with or without the brackets of IPv6. */
function nodeAddress(text: string): NodeAddress {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}
