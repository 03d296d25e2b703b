// Upstreams for the rest of the program: opens them with their secrets, logs and counts what becomes of their endpoints, and
// shows them to the admin port, /readyz and the scrape. Addresses stand in logs and the API, never in labels of metrics.
import type { UpstreamRow } from '../admin/dependencies.ts';
import type { Component } from '../admin/readiness.ts';
import type { LoadedConfig } from '../config/loaded.ts';
import type { UpstreamConfig } from '../config/schema.ts';
import type { Clock } from '../core/clock.ts';
import { type EndpointState, OUT } from '../proxy/outbound/endpoints/endpoint.ts';
import { type Lookup, systemLookup } from '../proxy/outbound/endpoints/names.ts';
import type { TlsMaterial } from '../proxy/outbound/http1/dial.ts';
import { Upstream, type UpstreamParts } from '../proxy/outbound/upstream.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** What all upstreams share. */
export interface UpstreamSurroundings {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Default: the system's resolver. */
  readonly lookup?: Lookup | undefined;
}

/** One upstream as core/reuse.ts wants it: all that it is made of as text, and how it is opened. */
export function upstreamEntry(
  name: string,
  config: UpstreamConfig,
  loaded: LoadedConfig,
  shared: UpstreamSurroundings,
) {
  const tls = tlsMaterial(config, loaded);
  const watcher = watcherFor(name, shared);
  const { clock, lookup = systemLookup } = shared;
  return {
    key: JSON.stringify([config, tls.ca, tls.certificate, tls.key]),
    open: () => new Upstream(name, config, { tls, clock, lookup, watcher }),
  };
}

/** The secrets behind `tls` of an upstream. */
export function tlsMaterial({ tls }: UpstreamConfig, { secrets }: LoadedConfig): TlsMaterial {
  return {
    ca: tls?.ca && secrets.get(tls.ca),
    certificate: tls?.certificate && secrets.get(tls.certificate),
    key: tls?.key && secrets.get(tls.key),
  };
}

function watcherFor(upstream: string, { log, metrics }: UpstreamSurroundings): UpstreamParts['watcher'] {
  const retries = {
    sent: metrics.upstreamRetries.labels(upstream, 'sent'),
    over_budget: metrics.upstreamRetries.labels(upstream, 'over_budget'),
  };
  const failing = new Set<string>();
  return {
    onState({ address, state, rank }, before) {
      if (state === 'ejected') metrics.upstreamEjections.labels(upstream).inc();
      if (rank === OUT) log.warn({ upstream, endpoint: address, state }, 'endpoint_out');
      else log.info({ upstream, endpoint: address, state, before }, 'endpoint_back');
    },
    onCheck: (passed) => metrics.upstreamHealthChecks.labels(upstream, passed ? 'passed' : 'failed').inc(),
    onLookup(name, outcome) {
      metrics.upstreamLookups.labels(upstream, outcome === 'failed' ? 'failed' : 'ok').inc();
      if (outcome === 'changed') log.info({ upstream, name }, 'endpoints_changed');
      // Once an outage, not every ten seconds of it.
      if (outcome !== 'failed') failing.delete(name);
      else if (!failing.has(name)) {
        failing.add(name);
        log.warn({ upstream, name }, 'lookup_failed');
      }
    },
    onRetry: (outcome) => retries[outcome].inc(),
  };
}

/** `upstreams` of /readyz: never a reason to be unready, because another replica has the same application behind it. */
export function upstreamsComponent(upstreams: ReadonlyMap<string, Upstream>): Component {
  const isDown = ({ endpoints, config }: Upstream) =>
    config.url.some((url) => endpoints.list.every((endpoint) => endpoint.url !== url || endpoint.rank === OUT));
  const down = [...upstreams.values()].filter(isDown).map(({ name }) => name);
  return { status: down.length === 0 ? 'up' : 'degraded', detail: { down } };
}

const shownStates = ['up', 'doubtful', 'unreachable', 'unhealthy', 'ejected'] as const;

/** Endpoints by state, read at the scrape. */
export function setUpstreamGauges(upstreams: ReadonlyMap<string, Upstream>, metrics: Metrics): void {
  metrics.upstreamEndpoints.reset();
  for (const { name, endpoints } of upstreams.values()) {
    for (const state of shownStates) metrics.upstreamEndpoints.labels(name, state).set(0);
    for (const { state } of endpoints.list) metrics.upstreamEndpoints.labels(name, state).inc();
  }
}

/** For `GET /v1/upstreams`. */
export function upstreamRows(upstreams: ReadonlyMap<string, Upstream>, monotonicMs: number): UpstreamRow[] {
  return [...upstreams.values()].map(({ name, endpoints, slots, streams }) => ({
    name,
    takes_requests: !endpoints.isOut,
    ...slots,
    streams,
    endpoints: endpoints.list.map((endpoint) => ({
      url: endpoint.url,
      address: endpoint.address,
      state: endpoint.state as Exclude<EndpointState, 'gone'>,
      requests: endpoint.active,
      connect_failures: endpoint.connectFailures,
      failures: endpoint.failures,
      ejected_for_ms: Math.max(0, Math.round(endpoint.ejectedUntilMs - monotonicMs)),
    })),
  }));
}
