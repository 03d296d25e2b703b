// Opens the admin port, its Unix socket and the observe port, and hands them the replica's parts.
import { chmodSync } from 'node:fs';
import type { AdminDependencies } from '../admin/dependencies.ts';
import type { GrantDesk } from '../admin/grant-desk.ts';
import { observeHandlers } from '../admin/observe.ts';
import { adminHandlers } from '../admin/server.ts';
import type { ClientAnnouncer } from '../clients/announcer.ts';
import type { LoadedConfig } from '../config/loaded.ts';
import { printConfig } from '../config/print.ts';
import type { ReloadOutcome } from '../config/reload.ts';
import { listen, listenAddress } from '../http/listener.ts';
import type { ListenerTls } from '../http/tls.ts';
import type { DataPlane } from '../proxy/server.ts';
import { MemoryIdempotentAnswers } from '../stores/memory/idempotency.ts';
import type { Log } from '../telemetry/log.ts';
import { logTrail } from './audit.ts';
import { behind } from './behind.ts';
import { clientDesk } from './clients.ts';
import { limitDesk, revocationDesk, routeRows, tokenDesk } from './desks.ts';
import { signingKeyDesk } from './key-desk.ts';
import { countsOf, type ObservedParts, setGauges } from './observation.ts';
import { openOperatorCheck } from './operators.ts';
import { RELEASE } from './release.ts';
import type { Revoker } from './siblings.ts';
import { countsTogether, decisionsTogether, factsNow, setWorkerGauges, upstreamsTogether } from './together-seen.ts';
import { upstreamRows } from './upstreams.ts';
import type { WorkerPool } from './workers.ts';

/** What the private ports are opened with. */
export interface AdminParts extends ObservedParts {
  readonly socketPath: string;
  readonly log: Log;
  /** Revokes durably; undefined without `postgres`. */
  readonly revoker: Revoker | undefined;
  /** Tells of changes to clients; undefined without `postgres`. */
  readonly announcer: ClientAnnouncer | undefined;
  /** Undefined without `proxy.endpoints.oauth`. */
  readonly grants: GrantDesk | undefined;
  readonly plane: DataPlane;
  /** The workers, where there are any. */
  readonly pool: WorkerPool | undefined;
  readonly reload: () => Promise<ReloadOutcome>;
  readonly drain: () => Promise<boolean>;
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
    parts.controlPlane?.audit?.trail.start();
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
  const { clock, log, metrics, current, stores, follower, index, plane, controlPlane, pool } = parts;
  const audit = controlPlane?.trail ?? logTrail(log, metrics);
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
    auditDesk: controlPlane?.audit?.desk,
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
    decisions: pool ? decisionsTogether(stores.backend.decisions, pool) : stores.backend.decisions,
    config: {
      file: current().loaded.file,
      hash: () => current().loaded.hash,
      behind: (verdict) => behind(current().loaded, verdict),
      print: (options) => printConfig(current().loaded, options),
      reload: parts.reload,
    },
    explain: (question) => plane.explain(question),
    drain: async () => void (await parts.drain()),
    readiness: () => factsNow(parts, pool),
    routes: () => routeRows(current),
    upstreams: async () =>
      pool ? upstreamsTogether(await pool.upstreams()) : upstreamRows(current().upstreams, clock.monotonicMs()),
    counts: () => (pool ? countsTogether(countsOf(parts), pool) : countsOf(parts)),
    beforeScrape: () => {
      setGauges(parts);
      if (pool) setWorkerGauges(pool, metrics);
    },
    ...(pool && {
      metricsText: () => pool.metricsText(),
      refusedElsewhere: (draft, tenant) => pool.wouldRefuse(draft, tenant),
    }),
  };
}
