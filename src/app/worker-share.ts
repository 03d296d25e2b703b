// What one process bounds by itself, divided among the workers, so that a setting means the same for one process and for
// several: a bound is never exceeded by all together. Rates under `limits` are counted in Redis and need no dividing.
import { availableParallelism } from 'node:os';
import type { LoadedConfig } from '../config/loaded.ts';
import type { SidecarConfig } from '../config/schema.ts';

/** Processes that `proxy.workers` asks for. */
export function workerCount({ config }: LoadedConfig): number {
  const { workers } = config.proxy;
  return workers === 'auto' ? availableParallelism() : workers;
}

/** At least one, unless the setting is 0; the rest of a division is given to nobody. */
const share = (bound: number, count: number) => (bound === 0 ? 0 : Math.max(1, Math.floor(bound / count)));

/** The part of a configuration that one of `count` workers works with. */
export function workerShare(loaded: LoadedConfig, count: number): LoadedConfig {
  const { proxy, upstreams, limits, postgres } = loaded.config;
  const { max_connections, max_requests, bad_tokens } = proxy;
  const config: SidecarConfig = {
    ...loaded.config,
    proxy: {
      ...proxy,
      max_connections: share(max_connections, count),
      max_requests: share(max_requests, count),
      bad_tokens: { ...bad_tokens, limit: share(bad_tokens.limit, count) },
    },
    limits: Object.fromEntries(
      Object.entries(limits).map(([name, limit]) => [
        name,
        limit.concurrent === undefined ? limit : { ...limit, concurrent: share(limit.concurrent, count) },
      ]),
    ),
    upstreams: Object.fromEntries(
      Object.entries(upstreams).map(([name, upstream]) => [
        name,
        {
          ...upstream,
          connections: share(upstream.connections, count),
          queue: share(upstream.queue, count),
          streams: share(upstream.streams, count),
          streams_per_caller: share(upstream.streams_per_caller, count),
        },
      ]),
    ),
    ...(postgres && { postgres: postgresShare(postgres, count) }),
  };
  return Object.freeze({ ...loaded, config: Object.freeze(config) });
}

/** Fewer than two connections would make calls of one request wait for one another. */
const LEAST_CONNECTIONS = 2;

/** Connections to PostgreSQL of one of `count` workers, or of their primary, which has as many. */
export function postgresShare<P extends { readonly connections: number }>(postgres: P, count: number): P {
  return { ...postgres, connections: Math.max(LEAST_CONNECTIONS, Math.floor(postgres.connections / (count + 1))) };
}
