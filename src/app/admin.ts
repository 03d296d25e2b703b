// Opens the admin port, its Unix socket and the observe port, and hands them the replica's parts.
import { chmodSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { AdminDependencies } from '../admin/dependencies.ts';
import type { GrantDesk } from '../admin/grant-desk.ts';
import { observeHandlers } from '../admin/observe.ts';
import type { ReadinessFacts } from '../admin/readiness.ts';
import { adminHandlers } from '../admin/server.ts';
import type { ClientAnnouncer } from '../clients/announcer.ts';
import type { LoadedConfig } from '../config/loaded.ts';
import { printConfig } from '../config/print.ts';
import type { ReloadOutcome } from '../config/reload.ts';
import type { Clock } from '../core/clock.ts';
import { listen, listenAddress } from '../http/listener.ts';
import type { ListenerTls } from '../http/tls.ts';
import type { OpenExchanges } from '../proxy/open-exchanges.ts';
import type { DataPlane } from '../proxy/server.ts';
import type { DurableRevoker } from '../revocation/durable.ts';
import type { RevocationFollower } from '../revocation/follower.ts';
import type { RevocationIndex } from '../revocation/index.ts';
import { MemoryIdempotentAnswers } from '../stores/memory/idempotency.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { auditComponent, logTrail } from './audit.ts';
import { clientDesk } from './clients.ts';
import type { ControlPlane } from './control-plane.ts';
import { limitDesk, revocationDesk, routeRows, tokenDesk } from './desks.ts';
import type { Current } from './generations.ts';
import { signingKeyDesk } from './key-desk.ts';
import { openOperatorCheck } from './operators.ts';
import { hasRotatingKeys } from './own-keys.ts';
import { RELEASE } from './release.ts';
import type { Stores } from './stores.ts';

/** What the private ports are opened with. */
export interface AdminParts {
  readonly stateDir: string;
  readonly socketPath: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly current: () => Current;
  readonly stores: Stores;
  /** Undefined without `postgres`. */
  readonly controlPlane: ControlPlane | undefined;
  readonly follower: RevocationFollower;
  /** Revokes durably; undefined without `postgres`. */
  readonly revoker: DurableRevoker | undefined;
  readonly index: RevocationIndex;
  /** Tells of changes to clients; undefined without `postgres`. */
  readonly announcer: ClientAnnouncer | undefined;
  /** Undefined without `proxy.endpoints.oauth`. */
  readonly grants: GrantDesk | undefined;
  readonly plane: DataPlane;
  readonly open: OpenExchanges;
  readonly reload: () => ReloadOutcome;
  readonly drain: () => Promise<void>;
  readonly isDraining: () => boolean;
}

/** The private ports. */
export interface AdminPorts extends AsyncDisposable {
  readonly adminUrl: string | undefined;
  readonly observeUrl: string | undefined;
  /** Takes over the certificate of a new configuration. */
  use(loaded: LoadedConfig): void;
}

/** Resolved TLS material of the admin port. */
function tlsOf({ config, secrets }: LoadedConfig): ListenerTls | undefined {
  const { tls } = config.admin;
  if (tls === undefined) return undefined;
  const clientCa = tls.client_ca && secrets.get(tls.client_ca);
  return { certificates: [{ certificate: secrets.get(tls.certificate), key: secrets.get(tls.key) }], clientCa };
}

const LIMITS = { headerBytes: 16_384, headerTimeoutMs: 10_000, keepAliveMs: 5000, maxConnections: 1000 };

/** Opens them; rejects with the system's error when an address cannot be bound. */
export async function openAdmin(parts: AdminParts): Promise<AdminPorts> {
  const { admin, observe } = parts.current().loaded.config;
  const opened = new AsyncDisposableStack();
  const dependencies = dependenciesOf(parts, opened);
  const openPort = async (address: string, handlers: Parameters<typeof listen>[2], tls?: ListenerTls) =>
    address === 'off' ? undefined : opened.use(await listen(listenAddress(address), LIMITS, handlers, tls));
  try {
    opened.use(await listen({ path: parts.socketPath }, LIMITS, adminHandlers(dependencies, 'socket')));
    chmodSync(parts.socketPath, 0o600);
    // The socket is bound, so no other process of ours writes to this state folder.
    parts.controlPlane?.audit.trail.start();
    const adminPort = await openPort(admin.listen, adminHandlers(dependencies, 'port'), tlsOf(parts.current().loaded));
    const observePort = await openPort(observe.listen, observeHandlers(dependencies));
    return {
      adminUrl: adminPort && `${admin.tls === undefined ? 'http' : 'https'}://${adminPort.address}`,
      observeUrl: observePort && `http://${observePort.address}`,
      use(loaded) {
        const tls = tlsOf(loaded);
        if (tls !== undefined && admin.tls !== undefined) adminPort?.useTls(tls);
      },
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  } catch (error) {
    await opened.disposeAsync();
    throw error;
  }
}

function dependenciesOf(parts: AdminParts, opened: AsyncDisposableStack): AdminDependencies {
  const { clock, log, metrics, current, stores, follower, index, plane, controlPlane } = parts;
  const audit = controlPlane?.audit.trail ?? logTrail(log, metrics);
  const table = controlPlane?.operators;
  const operators = opened.use(openOperatorCheck({ stateDir: parts.stateDir, clock, log, audit, table }));
  const nowMs = () => clock.nowMs();
  const revocations = revocationDesk(follower, index, nowMs, parts.revoker);
  return {
    clock,
    log,
    metrics,
    version: RELEASE,
    application: current().loaded.config.name,
    startedAtMs: nowMs(),
    hostNames: [],
    operators: operators.check,
    ownedFamilies: controlPlane && ((tenant, familyIds) => controlPlane.grants.within(tenant).owned(familyIds)),
    operatorStore: table,
    auditDesk: controlPlane?.audit.desk,
    clients: clientDesk(controlPlane, parts.announcer, () => current().loaded.config),
    audit,
    upkeep: controlPlane?.upkeep,
    idempotency: controlPlane?.idempotency ?? new MemoryIdempotentAnswers(),
    tokens: tokenDesk(current),
    revocations,
    limits: limitDesk(current, stores.backend.checks),
    signingKeys:
      parts.controlPlane &&
      signingKeyDesk({ ownKeys: parts.controlPlane.ownKeys, current, revoke: revocations.revoke }),
    dataKeys: parts.controlPlane?.sealing.desk,
    grants: parts.grants,
    decisions: stores.backend.decisions,
    config: {
      file: current().loaded.file,
      hash: () => current().loaded.hash,
      print: (options) => printConfig(current().loaded, options),
      reload: parts.reload,
    },
    explain: (question) => plane.explain(question),
    drain: parts.drain,
    readiness: () => readinessFacts(parts),
    routes: () => routeRows(current),
    counts: () => countsOf(parts),
    beforeScrape: () => setGauges(parts),
  };
}

function readinessFacts({ current, stores, controlPlane, follower, isDraining }: AdminParts): ReadinessFacts {
  const { issuers } = current();
  const { backend, redis } = stores;
  const { up, warnings } = backend.health();
  const issuerStates = [...issuers].map(([name, { keys }]) => [name, keys.state()] as const);
  const down = issuerStates.filter(([, state]) => !state.ready).map(([name]) => name);
  const status = up ? (warnings.length > 0 ? 'degraded' : 'up') : 'down';
  return {
    draining: isDraining(),
    revocationsLoaded: follower.loadedOnce,
    issuersConfigured: issuers.size,
    issuersWithKeys: issuerStates.length - down.length,
    configurationValid: true,
    components: {
      store: {
        status,
        detail: { backend: backend.name, replicas: backend.replicas(), warnings },
      },
      revocations: {
        status: follower.state() === 'ready' || redis === undefined ? 'up' : 'degraded',
        detail: { state: follower.state(), pending: follower.pending().length },
      },
      ...(controlPlane && { postgres: postgresComponent(controlPlane) }),
      ...(controlPlane && { audit: auditComponent(controlPlane.audit.trail.state()) }),
      issuers: { status: down.length === 0 ? 'up' : 'degraded', detail: { without_keys: down } },
    },
  };
}

function postgresComponent({ postgres }: ControlPlane): ReadinessFacts['components'][string] {
  const { status } = postgres.state();
  if (status === 'up') return { status, detail: { ...postgres.pool.size() } };
  return status === 'down'
    ? { status, detail: { state: 'away' } }
    : { status: 'degraded', detail: { state: 'schema' } };
}

function countsOf({ current, index, follower, open }: AdminParts): Readonly<Record<string, number>> {
  const { verifier, upstreams } = current();
  const { verified, refused } = verifier.sizes();
  let streams = 0;
  for (const upstream of upstreams.values()) streams += upstream.streams;
  return {
    requests_open: open.size,
    streams_open: streams,
    tokens_cached: verified,
    refusals_cached: refused,
    revocations: index.size,
    revocations_pending: follower.pending().length,
  };
}

/** Gauges that are read at the scrape rather than kept up to date. */
function setGauges({ current, stores, controlPlane, follower, index, metrics, stateDir, clock }: AdminParts): void {
  const { backend, redis } = stores;
  const health = backend.health();
  metrics.storeUp.labels(backend.name).set(health.up ? 1 : 0);
  metrics.degraded.reset();
  for (const warning of health.warnings) metrics.degraded.labels('store', warning).set(1);
  if (!health.up) metrics.degraded.labels('store', 'away').set(1);
  if (follower.state() !== 'ready' && redis !== undefined)
    metrics.degraded.labels('revocation', follower.state()).set(1);
  metrics.revocationEntries.set(index.size);
  const made = statSync(join(stateDir, 'signing-key.pem'), { throwIfNoEntry: false })?.mtimeMs;
  if (made !== undefined) metrics.signingKeyAge.set((clock.nowMs() - made) / 1000);
  const facts = redis?.serverFacts();
  if (facts !== undefined) metrics.redisEvictedKeys.set(facts.evictedKeys);
  metrics.redisConnections.set(redis === undefined ? 0 : health.up ? 3 : 0);
  if (controlPlane !== undefined) {
    setPostgresGauges(controlPlane, metrics);
    setKeyGauges(controlPlane, current(), metrics, clock.nowMs());
  }
  for (const [name, { keys }] of current().issuers) {
    const { ageSeconds } = keys.state();
    if (ageSeconds !== undefined) metrics.jwksAge.labels(name).set(ageSeconds);
  }
}

function setPostgresGauges({ postgres, audit }: ControlPlane, metrics: Metrics): void {
  const { trouble, waitingBytes } = audit.trail.state();
  metrics.auditWaiting.set(waitingBytes);
  if (trouble !== undefined) metrics.degraded.labels('audit', trouble).set(1);
  const { status } = postgres.state();
  metrics.storeUp.labels('postgres').set(status === 'down' ? 0 : 1);
  if (status === 'down') metrics.degraded.labels('postgres', 'away').set(1);
  if (status === 'refused') metrics.degraded.labels('postgres', 'schema').set(1);
  for (const [state, count] of Object.entries(postgres.pool.size())) metrics.postgresPool.labels(state).set(count);
}

function setKeyGauges({ sealing, ownKeys }: ControlPlane, { loaded }: Current, metrics: Metrics, nowMs: number): void {
  metrics.dataKeySeals.set(sealing.seals);
  metrics.signingKeys.reset();
  for (const [name, issuer] of Object.entries(loaded.config.issuers).filter(([, block]) => hasRotatingKeys(block))) {
    const keys = ownKeys.ring(issuer.issuer).state?.keys ?? [];
    for (const { state } of keys) metrics.signingKeys.labels(name, state).inc();
    const active = keys.find(({ state }) => state === 'active');
    if (active !== undefined) metrics.signingKeyAge.set((nowMs - active.activateAtMs) / 1000);
  }
}
