// What the primary says for all processes of its replica: ready when all that serve are, as degraded as the worst of them.
import type { UpstreamRow } from '../admin/dependencies.ts';
import type { Component, ReadinessFacts } from '../admin/readiness.ts';
import type { DecisionStore } from '../stores/contracts/decisions.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { type ObservedParts, readinessFacts } from './observation.ts';
import type { WorkerPool } from './workers.ts';

const BADNESS = { up: 0, degraded: 1, down: 2 } as const;

const worse = (a: Component, b: Component | undefined) =>
  b !== undefined && BADNESS[b.status] > BADNESS[a.status] ? b : a;

/** Facts of the primary and of every worker that serves. */
export function factsTogether(own: ReadinessFacts, pool: WorkerPool): ReadinessFacts {
  const workers = pool.states().map(({ facts }) => facts);
  const { serving, configured, deaths } = pool.figures();
  const components = Object.entries(own.components).map(
    ([name, component]) => [name, workers.map((facts) => facts.components[name]).reduce(worse, component)] as const,
  );
  return {
    ...own,
    trafficServed: serving > 0,
    revocationsLoaded: [own, ...workers].every(({ revocationsLoaded }) => revocationsLoaded),
    issuersWithKeys: Math.min(...[own, ...workers].map(({ issuersWithKeys }) => issuersWithKeys)),
    components: {
      ...(Object.fromEntries(components) as ReadinessFacts['components']),
      workers: {
        status: serving === configured ? 'up' : serving > 0 ? 'degraded' : 'down',
        detail: { serving, configured, deaths },
      },
    },
  };
}

/** What is decided from for the whole replica, however many processes it has. */
export const factsNow = (parts: ObservedParts, pool: WorkerPool | undefined): ReadinessFacts =>
  pool ? factsTogether(readinessFacts(parts), pool) : readinessFacts(parts);

/** Figures that every process has for itself are added up; the revocation index is the same in all. */
export function countsTogether(
  own: Readonly<Record<string, number>>,
  pool: WorkerPool,
): Readonly<Record<string, number>> {
  const workers = pool.states().map(({ counts }) => counts);
  const total = (name: string) => workers.reduce((sum, counts) => sum + (counts[name] ?? 0), own[name] ?? 0);
  return Object.fromEntries(
    Object.entries(own).map(([name, count]) => [name, name === 'revocations' ? count : total(name)]),
  );
}

type Endpoint = UpstreamRow['endpoints'][number];
const STATES: readonly Endpoint['state'][] = ['up', 'doubtful', 'unreachable', 'unhealthy', 'ejected'];

/** Upstreams of all workers as one: what is under way added up, an endpoint as bad as the worker that likes it least says. */
export function upstreamsTogether(workers: readonly (readonly UpstreamRow[])[]): readonly UpstreamRow[] {
  const byName = new Map<string, UpstreamRow>();
  for (const row of workers.flat()) {
    const before = byName.get(row.name);
    byName.set(row.name, before === undefined ? row : sumOf(before, row));
  }
  return [...byName.values()];
}

function sumOf(a: UpstreamRow, b: UpstreamRow): UpstreamRow {
  const endpoints = new Map(a.endpoints.map((endpoint) => [endpoint.address, endpoint]));
  for (const endpoint of b.endpoints) {
    const before = endpoints.get(endpoint.address);
    endpoints.set(endpoint.address, before === undefined ? endpoint : worstOf(before, endpoint));
  }
  return {
    name: a.name,
    takes_requests: a.takes_requests || b.takes_requests,
    requests: a.requests + b.requests,
    waiting: a.waiting + b.waiting,
    connections: a.connections + b.connections,
    streams: a.streams + b.streams,
    endpoints: [...endpoints.values()],
  };
}

const worstOf = (a: Endpoint, b: Endpoint): Endpoint => ({
  ...(STATES.indexOf(b.state) > STATES.indexOf(a.state) ? b : a),
  requests: a.requests + b.requests,
  connect_failures: Math.max(a.connect_failures, b.connect_failures),
  failures: Math.max(a.failures, b.failures),
  ejected_for_ms: Math.max(a.ejected_for_ms, b.ejected_for_ms),
});

/** Sets the gauges about workers. */
export function setWorkerGauges(pool: WorkerPool, metrics: Metrics): void {
  const { serving, configured } = pool.figures();
  metrics.workers.labels('serving').set(serving);
  metrics.workers.labels('configured').set(configured);
  if (serving < configured) metrics.degraded.labels('workers', serving > 0 ? 'some' : 'none').set(1);
}

/** Kept refusals of every process, newest first; those of workers need no store to be there. */
export function decisionsTogether(own: DecisionStore, pool: WorkerPool): DecisionStore {
  return {
    keep: (decision) => own.keep(decision),
    async find(filter, limit) {
      const asked = own.find(filter, limit);
      asked.catch(() => undefined);
      const kept = await pool.decisions(filter, limit);
      // With the store away, what workers remember answers a question about one request.
      const found = filter.request_id !== undefined && kept.length > 0 ? kept : [...(await asked), ...kept];
      const byId = new Map(found.map((decision) => [decision.request_id, decision]));
      return [...byId.values()].sort((a, b) => String(b.time).localeCompare(String(a.time))).slice(0, limit);
    },
  };
}
