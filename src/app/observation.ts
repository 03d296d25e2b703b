// What is asked of this process from outside: is it fit for traffic, how much does it hold, how is what it rests on.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { ReadinessFacts } from '../admin/readiness.ts';
import type { Clock } from '../core/clock.ts';
import type { OpenExchanges } from '../proxy/open-exchanges.ts';
import type { RevocationFollower } from '../revocation/follower.ts';
import type { RevocationIndex } from '../revocation/index.ts';
import type { SigningKeyState } from '../stores/contracts/signing-keys.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { auditComponent } from './audit.ts';
import { setCertificateGauges } from './certificate-gauges.ts';
import type { ControlPlane } from './control-plane.ts';
import type { Current } from './generations.ts';
import { hasRotatingKeys } from './own-keys.ts';
import type { Stores } from './stores.ts';
import { setUpstreamGauges, upstreamsComponent } from './upstreams.ts';

/** The parts of a process that are looked at. */
export interface ObservedParts {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly current: () => Current;
  readonly stores: Stores;
  /** Undefined without `postgres`. */
  readonly controlPlane: ControlPlane | undefined;
  readonly follower: RevocationFollower;
  readonly index: RevocationIndex;
  readonly open: OpenExchanges;
  readonly isDraining: () => boolean;
}

/** What readiness is decided from. */
export function readinessFacts({ current, stores, controlPlane, follower, isDraining }: ObservedParts): ReadinessFacts {
  const { issuers, upstreams } = current();
  const { backend, redis } = stores;
  const { up, warnings, problem } = backend.health();
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
        detail: { backend: backend.name, replicas: backend.replicas(), warnings, ...(problem && { problem }) },
      },
      revocations: {
        status: follower.state() === 'ready' || redis === undefined ? 'up' : 'degraded',
        detail: { state: follower.state(), pending: follower.pending().length },
      },
      ...(controlPlane && { postgres: postgresComponent(controlPlane) }),
      ...(controlPlane?.audit && { audit: auditComponent(controlPlane.audit.trail.state()) }),
      issuers: { status: down.length === 0 ? 'up' : 'degraded', detail: { without_keys: down } },
      ...(upstreams.size > 0 && { upstreams: upstreamsComponent(upstreams) }),
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

/** Figures for /v1/status. */
export function countsOf({ current, index, follower, open }: ObservedParts): Readonly<Record<string, number>> {
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

/** Sets the gauges that are read at the scrape rather than kept up to date. */
export function setGauges({
  current,
  stores,
  controlPlane,
  follower,
  index,
  metrics,
  stateDir,
  clock,
}: ObservedParts): void {
  const { backend, redis } = stores;
  const health = backend.health();
  metrics.storeUp.labels(backend.name).set(health.up ? 1 : 0);
  metrics.degraded.reset();
  for (const warning of health.warnings) metrics.degraded.labels('store', warning).set(1);
  if (!health.up) {
    metrics.degraded.labels('store', 'away').set(1);
    for (const { on_store_down: mode } of Object.values(current().loaded.config.limits))
      metrics.degraded.labels('limits', mode).set(1);
  }
  if (follower.state() !== 'ready' && redis !== undefined)
    metrics.degraded.labels('revocation', follower.state()).set(1);
  metrics.revocationEntries.set(index.size);
  metrics.revocationsPending.set(follower.pending().length);
  setCertificateGauges(current().loaded, metrics);
  setUpstreamGauges(current().upstreams, metrics);
  const made = statSync(join(stateDir, 'signing-key.pem'), { throwIfNoEntry: false })?.mtimeMs;
  if (made !== undefined) metrics.signingKeyAge.set((clock.nowMs() - made) / 1000);
  const facts = redis?.serverFacts();
  if (facts !== undefined) metrics.redisEvictedKeys.set(facts.evictedKeys);
  metrics.redisConnections.set(redis?.connections() ?? 0);
  if (controlPlane !== undefined) {
    setPostgresGauges(controlPlane, metrics);
    setKeyGauges(controlPlane, current(), metrics, clock.nowMs());
  }
  metrics.jwksAge.reset();
  for (const [name, { keys }] of current().issuers) {
    const { ageSeconds } = keys.state();
    if (ageSeconds !== undefined) metrics.jwksAge.labels(name).set(ageSeconds);
  }
}

function setPostgresGauges({ postgres, audit }: ControlPlane, metrics: Metrics): void {
  const { trouble, waitingBytes = 0 } = audit?.trail.state() ?? {};
  metrics.auditWaiting.set(waitingBytes);
  if (trouble !== undefined) metrics.degraded.labels('audit', trouble).set(1);
  const { status } = postgres.state();
  metrics.storeUp.labels('postgres').set(status === 'down' ? 0 : 1);
  if (status === 'down') metrics.degraded.labels('postgres', 'away').set(1);
  if (status === 'refused') metrics.degraded.labels('postgres', 'schema').set(1);
  for (const [state, count] of Object.entries(postgres.pool.size())) metrics.postgresPool.labels(state).set(count);
}

const SIGNING_KEY_STATES: readonly SigningKeyState[] = ['pending', 'active', 'retiring', 'retired', 'banned'];

function setKeyGauges({ sealing, ownKeys }: ControlPlane, { loaded }: Current, metrics: Metrics, nowMs: number): void {
  metrics.dataKeySeals.set(sealing.seals);
  metrics.signingKeys.reset();
  for (const [name, issuer] of Object.entries(loaded.config.issuers).filter(([, block]) => hasRotatingKeys(block))) {
    const keys = ownKeys.ring(issuer.issuer).state?.keys ?? [];
    // A state without keys is shown as 0: that none is active is what an operator must be told.
    for (const state of SIGNING_KEY_STATES) metrics.signingKeys.labels(name, state).set(0);
    for (const { state } of keys) metrics.signingKeys.labels(name, state).inc();
    const active = keys.find(({ state }) => state === 'active');
    if (active !== undefined) metrics.signingKeyAge.set((nowMs - active.activateAtMs) / 1000);
  }
}
