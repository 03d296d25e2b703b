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
  return {
    registry,
    ...requestInstruments(makers),
    ...upstreamInstruments(makers),
    ...storeInstruments(makers),
    ...revocationInstruments(makers),
    ...keyInstruments(makers),
    ...programInstruments(makers),
  };
}

type Makers = ReturnType<typeof makersFor>;

/** What is decided, and how long it takes. */
function requestInstruments({ counter, gauge, tallies, seconds }: Makers) {
  return {
    decisions: tallies(
      'decisions_total',
      'Requests decided. outcome: allow, deny; with reason other than ok and ok_anonymous, allow is what shadow mode let through. route is empty where none was chosen.',
      ['outcome', 'reason', 'route'],
    ),
    overhead: seconds(
      'overhead_seconds',
      'From the head of a request to its dispatch to the upstream, or to the answer of one that never left: our own time, Redis and waiting for a connection included.',
      LATENCY_BUCKETS,
    ),
    rateLimit: tallies(
      'rate_limit_total',
      'Requests held against a limit. outcome: admitted, refused; mode: enforce, shadow (a refusal that only counts).',
      ['limit', 'outcome', 'mode'],
    ),
    tokenCache: tallies(
      'token_cache_total',
      'Tokens looked up in the cache of verified ones. outcome: hit, miss (verified then), refused (known to be bad).',
      ['outcome'],
    ),
    streamsOpen: gauge('streams_open', 'WebSockets and event streams that are open.', [], 'sum'),
    streamsClosed: counter(
      'streams_closed_total',
      'WebSockets and event streams that we ended. reason: of docs/reasons.md.',
      ['reason'],
    ),
    handshakesFailed: counter(
      'tls_handshakes_failed_total',
      'TLS handshakes of clients that failed. cause: client_certificate, server_name, timeout, protocol.',
      ['cause'],
    ),
  };
}

/** The applications behind us. */
function upstreamInstruments({ counter, gauge, tallies, seconds }: Makers) {
  return {
    upstream: seconds(
      'upstream_seconds',
      "From the dispatch of a request to the head of the upstream's answer.",
      UPSTREAM_BUCKETS,
    ),
    upstreamEndpoints: gauge(
      'upstream_endpoints',
      'Endpoints (addresses) of an upstream. state: up, doubtful (failed lately), unreachable, unhealthy (health check), ejected; the last three get no requests.',
      ['upstream', 'state'],
      'max',
    ),
    upstreamEjections: counter(
      'upstream_ejections_total',
      'Times that an endpoint was taken out of use because requests to it failed.',
      ['upstream'],
    ),
    upstreamRetries: tallies(
      'upstream_retries_total',
      'Requests that an endpoint did not take and another could. outcome: sent to the other, over_budget (refused, because too many were sent again).',
      ['upstream', 'outcome'],
    ),
    upstreamHealthChecks: counter(
      'upstream_health_checks_total',
      'Health checks that we made. outcome: passed, failed.',
      ['upstream', 'outcome'],
    ),
    upstreamLookups: counter(
      'upstream_lookups_total',
      'Look-ups of the host names of an upstream. outcome: ok, failed (the addresses known before stay).',
      ['upstream', 'outcome'],
    ),
  };
}

/** The stores, and what runs without them. */
function storeInstruments({ registers, counter, gauge, tallies, seconds }: Makers) {
  return {
    storeUp: gauge(
      'store_up',
      '1 while the store answers, 0 while it does not. store: redis or memory, postgres.',
      ['store'],
      'min',
    ),
    degraded: gauge(
      'degraded',
      '1 for each way in which we do less than configured. subsystem with mode: store (memory_store, or the modes of docs/redis.md), limits (local, deny, allow), revocation (known, unknown), postgres (away, schema), audit (store_away, store_refuses, spool_failing, spool_full, tampered), workers (some, none).',
      ['subsystem', 'mode'],
      'max',
    ),
    storeSeconds: seconds(
      'store_seconds',
      'One call of the store for the checks of all requests of a turn: round trip to Redis.',
      LATENCY_BUCKETS,
    ),
    storeBatch: tallies(
      'store_batched_requests_total',
      'Requests whose limits and revocation the store was asked about; divided by store_batches_total, how many share a call.',
    ).labels(),
    storeBatches: tallies('store_batches_total', 'Calls of the store for checks.').labels(),
    redisEvictedKeys: gauge(
      'redis_evicted_keys',
      'Keys that Redis has evicted since it started; each may have been a revocation, so anything above 0 asks for maxmemory-policy noeviction.',
    ),
    redisConnections: gauge(
      'redis_connections_active',
      'Open connections to Redis for commands; those for notices come on top.',
      [],
      'sum',
    ),
    postgresPool: gauge(
      'postgres_pool_size',
      'Connections to PostgreSQL. state: open, idle (of those open), waiting (calls that wait for one).',
      ['state'],
      'sum',
    ),
    postgresQuery: new Histogram({
      name: 'doorward_postgres_query_seconds',
      help: 'One call to PostgreSQL: waiting for a connection, and its whole transaction. operation: ours, such as revocations.put.',
      labelNames: ['operation'],
      buckets: STORE_BUCKETS,
      registers,
    }),
    records: gauge(
      'records',
      'Records in PostgreSQL, counted every minute. what: clients, token_families, credentials, operators, revocations.',
      ['what'],
    ),
    cleanup: counter(
      'cleanup_total',
      'Expired records removed from PostgreSQL. what: revocations, grants, one_time_values, idempotency_keys, initial_access_tokens.',
      ['what'],
    ),
  };
}

/** What replicas know of revocations, and what they take from Redis. */
function revocationInstruments({ counter, gauge, seconds }: Makers) {
  return {
    revocationEntries: gauge(
      'revocation_entries',
      'Revocations that this replica holds in memory: those in force, and those that expired in the last two hours.',
      [],
      'max',
    ),
    revocationsPending: gauge(
      'revocations_pending',
      'Revocations that are in force here and that Redis has not got yet, so other replicas do not know of them.',
      [],
      'sum',
    ),
    revocationPropagation: seconds(
      'revocation_propagation_seconds',
      'From the moment that a revocation was made to the moment that this replica refuses by it; clocks of both machines count.',
      LATENCY_BUCKETS,
    ),
    publicationsRefused: counter(
      'publications_refused_total',
      'Documents in Redis that were not believed. kind: keys, client; why: signature, malformed, mismatch, expired, replayed.',
      ['kind', 'why'],
    ),
  };
}

/** Tokens, the keys that they rest on, and certificates. */
function keyInstruments({ counter, gauge, seconds }: Makers) {
  return {
    tokenOperations: counter(
      'token_operations_total',
      'What was done with tokens at the OAuth endpoints and the admin API. operation: issue, refresh, introspect, revoke.',
      ['operation'],
    ),
    tokenSign: seconds(
      'token_sign_seconds',
      'Signing one access token that an operator asked for (POST /v1/tokens).',
      LATENCY_BUCKETS,
    ),
    jwksAge: gauge(
      'jwks_age_seconds',
      'Age of the keys of an issuer that are fetched: since they were last fetched well. Absent for keys that nobody fetches.',
      ['issuer'],
      'max',
    ),
    jwksRefresh: counter(
      'jwks_refresh_total',
      'Fetches of the keys of an issuer. outcome: ok, timeout, unreachable, status, redirect_refused, url_refused, too_large, malformed, issuer_mismatch, no_keys.',
      ['issuer', 'outcome'],
    ),
    signingKeys: gauge(
      'signing_keys',
      'Signing keys of an issuer of ours in PostgreSQL. state: pending, active, retiring, retired, banned.',
      ['issuer', 'state'],
    ),
    signingKeyAge: gauge(
      'signing_key_age_seconds',
      'Since the key that signs our tokens began to; of several issuers the one configured last.',
    ),
    dataKeySeals: gauge(
      'data_key_seals',
      'Seals that replicas have set aside of the active data key, in blocks; a new key comes at sealing.rotate_seals.',
    ),
    certificateNotAfter: gauge(
      'certificate_not_after_seconds',
      'When the certificate of a listener that expires first does so, Unix time. listener: proxy, admin.',
      ['listener'],
    ),
  };
}

/** The program itself and its private ports. */
function programInstruments({ registers, counter, gauge, tallies }: Makers) {
  return {
    configReloadSuccess: gauge(
      'config_reload_success',
      '1 when the configuration last read took effect, 0 when it was refused and the one before stays.',
    ),
    configHash: gauge(
      'config_hash',
      'The configuration in force, as the first 48 bits of its hash: replicas that should be alike show the same figure.',
    ),
    configRestartNeeded: gauge(
      'config_restart_needed',
      '1 when a setting was changed that takes effect with a restart only.',
    ),
    workers: gauge('workers', 'Worker processes (proxy.workers). state: serving, configured.', ['state']),
    workerDeaths: counter(
      'worker_deaths_total',
      'Worker processes that ended without being told to; each is started anew.',
    ),
    adminRequests: counter('admin_requests_total', 'Requests to the admin port and its socket. status: of HTTP.', [
      'status',
    ]),
    adminSeconds: new Histogram({
      name: 'doorward_admin_seconds',
      help: 'One call to the admin port. operation: operationId of the OpenAPI document.',
      labelNames: ['operation'],
      buckets: STORE_BUCKETS,
      registers,
    }),
    auditEvents: counter('audit_events_total', 'Audit events recorded. type: of docs/audit-events.md.', ['type']),
    auditWaiting: gauge(
      'audit_spool_bytes',
      'Size of the audit events that wait on the disk of this replica for PostgreSQL.',
    ),
    traceSpans: tallies(
      'trace_spans_total',
      'Spans made for the collector. outcome: delivered, queue_full, undelivered, refused (by the collector).',
      ['outcome'],
    ),
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
