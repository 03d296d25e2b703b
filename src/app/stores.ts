// Opens the ephemeral stores that a configuration asks for: memory for one replica, Redis for several.
import type { LoadedConfig } from '../config/loaded.ts';
import type { Clock } from '../core/clock.ts';
import type { CheckStore } from '../stores/contracts/checks.ts';
import type { DecisionStore } from '../stores/contracts/decisions.ts';
import type { EphemeralBackend } from '../stores/contracts/health.ts';
import type { PublishedStore } from '../stores/contracts/published.ts';
import type { RevocationLog } from '../stores/contracts/revocations.ts';
import { openMemory } from '../stores/memory/backend.ts';
import { openRedis, type RedisBackend } from '../stores/redis/backend.ts';

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

/** Opens them; with Redis away it resolves after two seconds and the stores go on trying. */
export async function openStores(loaded: LoadedConfig, clock: Clock, onReplaced: () => void): Promise<Stores> {
  const { redis } = loaded.config;
  if (redis === undefined) return { backend: openMemory(clock), redis: undefined };
  const ca = redis.tls?.ca === undefined ? {} : { ca: loaded.secrets.get(redis.tls.ca) };
  const settings = { url: loaded.secrets.get(redis.url), prefix: redis.prefix, timeoutMs: redis.timeout, ...ca };
  const backend = openRedis(settings, { onReplaced });
  await backend.ready(START_WAIT_MS);
  return { backend, redis: backend };
}
