// What several processes need that one does not: a store that all of them count in, and connections for each.
import type { Check } from './context.ts';

/** Every process keeps at least so many connections to PostgreSQL (app/worker-share.ts). */
const LEAST_CONNECTIONS = 2;

/** Checks `proxy.workers`. `auto` is judged like several: a file must not hold on one machine and fail on the next. */
export const checkWorkers: Check = ({ config, given, problem }) => {
  const { workers } = config.proxy;
  if (workers === 1) return;
  const at = ['proxy', 'workers'];
  if (!config.redis) problem(at, 'needs redis: without it each process would count limits and keep revocations alone');
  if (!config.postgres || workers === 'auto') return;
  const needed = LEAST_CONNECTIONS * (workers + 1);
  if (config.postgres.connections >= needed) return;
  const connections = ['postgres', 'connections'];
  const message = `needs postgres.connections of at least ${needed}: ${LEAST_CONNECTIONS} for each worker and the primary`;
  problem(given(connections) ? connections : at, message);
};
