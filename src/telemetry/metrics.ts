// Every metric there is (design 9). Labels are bounded: names from the configuration and the closed list of reasons, never
// an id, an address or a word that a client chose.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { SecondsHistogram, TallyCounter } from './instruments.ts';

const LATENCY_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1];
const UPSTREAM_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const STORE_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** The registry and its instruments. */
export type Metrics = ReturnType<typeof openMetrics>;

/** Makes all instruments. `processMetrics: false` leaves out prom-client's process defaults (tests). */
export function openMetrics(options: { readonly processMetrics: boolean } = { processMetrics: true }) {
  const registry = new Registry();
  if (options.processMetrics) collectDefaultMetrics({ register: registry });
  const makers = makersFor(registry);
  return { registry, ...trafficInstruments(makers), ...programInstruments(makers) };
}

type Makers = ReturnType<typeof makersFor>;

/** What requests and the stores that they rest on do. */
function trafficInstruments({ registers, counter, gauge, tallies, seconds }: Makers) {
  return {
    decisions: tallies('decisions_total', 'Requests decided.', ['outcome', 'reason', 'route']),
    overhead: seconds('overhead_seconds', 'Our own time before a request left for the upstream.', LATENCY_BUCKETS),
    upstream: seconds('upstream_seconds', 'From dispatch to the response head.', UPSTREAM_BUCKETS),
    upstreamEndpoints: gauge('upstream_endpoints', 'Endpoints, by how they do.', ['upstream', 'state'], 'max'),
    upstreamEjections: counter('upstream_ejections_total', 'Endpoints ejected for failing requests.', ['upstream']),
    upstreamRetries: tallies('upstream_retries_total', 'Requests whose connect failed and that another could take.', [
      'upstream',
      'outcome',
    ]),
    upstreamHealthChecks: counter('upstream_health_checks_total', 'Active checks.', ['upstream', 'outcome']),
    upstreamLookups: counter('upstream_lookups_total', 'Lookups of host names.', ['upstream', 'outcome']),
    rateLimit: tallies('rate_limit_total', 'Limit checks.', ['limit', 'outcome', 'mode']),
    storeSeconds: seconds('store_seconds', 'One batch of checks, round trip.', LATENCY_BUCKETS),
    storeUp: gauge('store_up', 'Whether the store answered last.', ['store'], 'min'),
    degraded: gauge('degraded', 'Subsystems that run degraded, and how.', ['subsystem', 'mode'], 'max'),
    storeBatch: tallies('store_batched_requests_total', 'Requests checked in batches.').labels(),
    storeBatches: tallies('store_batches_total', 'Batches of checks.').labels(),
    redisEvictedKeys: gauge('redis_evicted_keys', 'Keys that Redis has evicted; anything above 0 loses revocations.'),
    postgresPool: gauge(
      'postgres_pool_size',
      'Connections to PostgreSQL, and calls that wait for one.',
      ['state'],
      'sum',
    ),
    postgresQuery: new Histogram({
      name: 'doorward_postgres_query_seconds',
      help: 'One call to PostgreSQL: waiting for a connection, and its whole transaction.',
      labelNames: ['operation'],
      buckets: STORE_BUCKETS,
      registers,
    }),
    redisConnections: gauge(
      'redis_connections_active',
      'Open connections to Redis for commands; those for notices come on top.',
      [],
      'sum',
    ),
    revocationEntries: gauge('revocation_entries', 'Active entries in the index.', [], 'max'),
    revocationsPending: gauge(
      'revocations_pending',
      'Revocations in force here that Redis has not got yet.',
      [],
      'sum',
    ),
    revocationPropagation: seconds('revocation_propagation_seconds', 'From append to this index.', LATENCY_BUCKETS),
    tokenOperations: counter('token_operations_total', 'Tokens issued, introspected, revoked.', ['operation']),
    jwksAge: gauge('jwks_age_seconds', 'Since the last good fetch of a key set.', ['issuer'], 'max'),
    jwksRefresh: counter('jwks_refresh_total', 'Fetches of key sets.', ['issuer', 'outcome']),
    tokenCache: tallies('token_cache_total', 'Look-ups in the verified-token cache.', ['outcome']),
    handshakesFailed: counter('tls_handshakes_failed_total', 'TLS handshakes of clients that failed, and why.', [
      'cause',
    ]),
    certificateNotAfter: gauge(
      'certificate_not_after_seconds',
      'When the certificate of a listener that expires first does so, in Unix time.',
      ['listener'],
    ),
    streamsOpen: gauge('streams_open', 'WebSockets and event streams.', [], 'sum'),
    streamsClosed: counter('streams_closed_total', 'Streams ended by us, and why.', ['reason']),
  };
}

/** The program itself, its private ports and what it keeps. */
function programInstruments({ registers, counter, gauge, tallies, seconds }: Makers) {
  return {
    configReloadSuccess: gauge('config_reload_success', '1 when the last reload took effect.'),
    configHash: gauge('config_hash', 'First 48 bits of the hash of the effective configuration.'),
    configRestartNeeded: gauge('config_restart_needed', '1 when a changed setting waits for a restart.'),
    workers: gauge('workers', 'Worker processes: those that serve, and those that should.', ['state']),
    workerDeaths: counter('worker_deaths_total', 'Worker processes that ended without being told to.'),
    adminRequests: counter('admin_requests_total', 'Requests to the admin port.', ['status']),
    dataKeySeals: gauge('data_key_seals', 'Seals of the active data key, all replicas.'),
    signingKeys: gauge('signing_keys', 'Our signing keys in PostgreSQL.', ['issuer', 'state']),
    adminSeconds: new Histogram({
      name: 'doorward_admin_seconds',
      help: 'One call to the admin port, by operation of the OpenAPI document.',
      labelNames: ['operation'],
      buckets: STORE_BUCKETS,
      registers,
    }),
    records: gauge('records', 'Records kept in PostgreSQL, counted every minute.', ['what']),
    cleanup: counter('cleanup_total', 'Expired entries removed.', ['what']),
    auditEvents: counter('audit_events_total', 'Audit events recorded.', ['type']),
    traceSpans: tallies('trace_spans_total', 'Spans made for the collector, and what became of them.', ['outcome']),
    auditWaiting: gauge('audit_spool_bytes', 'Audit events that wait for PostgreSQL.'),
    publicationsRefused: counter('publications_refused_total', 'Documents in Redis that were not believed.', [
      'kind',
      'why',
    ]),
    signingKeyAge: gauge('signing_key_age_seconds', 'Age of our signing key.'),
    tokenSign: seconds('token_sign_seconds', 'Signing one token.', LATENCY_BUCKETS),
  };
}

/** What makes instruments of each kind. */
function makersFor(registry: Registry) {
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter({ name: `doorward_${name}`, help, labelNames, registers });
  /** `together` says what several processes of one replica make of it; a figure that only the primary knows is `first`. */
  const gauge = <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[] = [],
    together: 'sum' | 'min' | 'max' | 'first' = 'first',
  ) => new Gauge({ name: `doorward_${name}`, help, labelNames, registers, aggregator: together });
  const tallies = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new TallyCounter(registry, `doorward_${name}`, help, labelNames);
  const seconds = (name: string, help: string, buckets: readonly number[]) =>
    new SecondsHistogram(registry, `doorward_${name}`, help, buckets);
  return { registers, counter, gauge, tallies, seconds };
}
