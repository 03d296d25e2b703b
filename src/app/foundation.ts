// What the decisions of a replica rest on, opened in this order: the stores, what needs PostgreSQL, revocations, client records,
// the gate that asks for limits and revocations, and published keys. Nothing of it takes requests or follows reloads, and any
// store may be away.
import type { ClientAnnouncer } from '../clients/announcer.ts';
import type { LoadedConfig } from '../config/loaded.ts';
import type { SidecarConfig } from '../config/schema.ts';
import type { AuditTrail } from '../core/audit-trail.ts';
import type { Clock } from '../core/clock.ts';
import { KnownClients } from '../limits/clients.ts';
import { DeniedKeys } from '../limits/denied.ts';
import { LocalLimits } from '../limits/local.ts';
import { type CheckGate, checkGate } from '../proxy/decide/check-gate.ts';
import type { RevocationFollower } from '../revocation/follower.ts';
import { RevocationIndex } from '../revocation/index.ts';
import { MemoryChecks } from '../stores/memory/checks.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { openClients } from './clients.ts';
import type { ControlPlane } from './control-plane.ts';
import type { HealthLog } from './health-log.ts';
import type { PublishedKeys } from './published-keys.ts';
import { openPublishing } from './publishing.ts';
import { openFollower, openRevoker } from './revoking.ts';
import type { Revoker, Siblings } from './siblings.ts';
import { openStores, type Stores } from './stores.ts';
import { postgresShare } from './worker-share.ts';

/** What every part of a replica is given. */
export interface Ground {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What it is opened with. */
export interface FoundationParts extends Ground {
  /** The configuration of the start. */
  readonly loaded: LoadedConfig;
  /** The configuration in force. */
  readonly config: () => SidecarConfig;
  readonly stateDir: string;
  /** By which a store counts the processes of this replica. */
  readonly instanceId: string;
  /** The other processes of this replica; undefined with one. */
  readonly siblings: Siblings | undefined;
  /** In the primary of several processes: its workers, which share the connections to PostgreSQL with it. */
  readonly workers: number | undefined;
  /** In a worker: where its events go. */
  readonly primaryTrail: AuditTrail | undefined;
  /** Told of Redis and of the revocation log; undefined in a worker. */
  readonly health: HealthLog | undefined;
}

/** The parts that decisions rest on. */
export interface Foundation {
  readonly stores: Stores;
  /** Undefined without `postgres`, as the two after it. */
  readonly controlPlane: ControlPlane | undefined;
  /** Revokes for all processes, durably where there is PostgreSQL; undefined where the follower alone revokes. */
  readonly revoker: Revoker | undefined;
  /** Tells of changes to clients. */
  readonly announcer: ClientAnnouncer | undefined;
  readonly index: RevocationIndex;
  readonly follower: RevocationFollower;
  readonly knownClients: KnownClients;
  /** Limit keys that are known to be used up. */
  readonly denied: DeniedKeys;
  readonly gate: CheckGate;
  /** Undefined without `control_plane.public_key`. */
  readonly publishedKeys: PublishedKeys | undefined;
}

/** Opens it all; what was opened ends with `closing`, also where this rejects. */
export async function openFoundation(parts: FoundationParts, closing: AsyncDisposableStack): Promise<Foundation> {
  const { loaded, config, clock, log, metrics, siblings, health } = parts;
  let follower: RevocationFollower | undefined;
  const stores = await openStores(
    loaded,
    clock,
    (why) => {
      if (why === 'another_server') health?.serverReplaced();
      follower?.refresh();
    },
    parts.instanceId,
  );
  closing.use(stores.backend);
  const controlPlane = await openTruth(parts, closing);
  const [index, denied] = [new RevocationIndex(), new DeniedKeys(clock)];
  const revoking = { stores, controlPlane, index, clock, closing };
  follower = await openFollower({
    ...{ ...revoking, config, denied, metrics },
    onLogChange: (change) => health?.logChanged(change),
    onSetBack: (ms) => log.warn({ set_back_ms: Math.round(ms) }, 'clock_set_back'),
  });
  const revoker = await openRevoker({ ...revoking, follower, siblings });
  const known = new KnownClients(() => denied.clear());
  const { published } = stores.backend;
  const announcer = await openClients(
    { clock, log, metrics, known, published, controlPlane, index, revoker, loaded, config, siblings },
    closing,
  );
  const gate = openGate({ clock, metrics, denied, follower, index }, stores);
  const publishedKeys = await openPublishing({ loaded, stores, controlPlane, clock, log, metrics }, closing);
  return {
    stores,
    controlPlane,
    revoker,
    announcer,
    index,
    follower,
    knownClients: known,
    denied,
    gate,
    publishedKeys,
  };
}

/** A sidecar without PostgreSQL loads none of it: it starts sooner and stays smaller. */
async function openTruth(
  { loaded, stateDir, clock, log, metrics, workers, primaryTrail }: FoundationParts,
  closing: AsyncDisposableStack,
): Promise<ControlPlane | undefined> {
  const { config } = loaded;
  if (config.postgres === undefined) return undefined;
  const { openControlPlane } = await import('./control-plane.ts');
  const postgres = workers === undefined ? config.postgres : postgresShare(config.postgres, workers);
  const shared = { ...loaded, config: { ...config, postgres } };
  const plane = await openControlPlane({ loaded: shared, primaryTrail, stateDir, clock, log, metrics });
  if (plane !== undefined) closing.use(plane);
  return plane;
}

type GateParts = Pick<Parameters<typeof checkGate>[0], 'clock' | 'metrics' | 'denied' | 'follower' | 'index'>;

function openGate(parts: GateParts, { backend, redis }: Stores): CheckGate {
  const counters = new MemoryChecks({ clock: parts.clock, head: () => undefined });
  const local = new LocalLimits(counters, () => backend.replicas());
  return checkGate({ ...parts, store: backend.checks, batched: redis !== undefined, local });
}
