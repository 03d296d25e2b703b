// Opens what makes revocations count on this replica: the follower of the shared log, and the desk that revokes.
import type { SidecarConfig } from '../config/schema.ts';
import { type Clock, steadyWall } from '../core/clock.ts';
import type { DeniedKeys } from '../limits/denied.ts';
import { DurableRevoker, rememberedRevocations } from '../revocation/durable.ts';
import { RevocationFollower } from '../revocation/follower.ts';
import type { FollowerOptions } from '../revocation/follower-options.ts';
import type { RevocationIndex } from '../revocation/index.ts';
import type { RevocationDraft } from '../stores/contracts/revocations.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { ControlPlane } from './control-plane.ts';
import { amongSiblings, type Revoker, type Siblings } from './siblings.ts';
import type { Stores } from './stores.ts';

/** What both rest on; what is opened is closed with `closing`. */
interface RevokingParts {
  readonly stores: Stores;
  readonly controlPlane: ControlPlane | undefined;
  readonly clock: Clock;
  readonly closing: AsyncDisposableStack;
}

/** The follower, started: the index is filled as far as the stores answer now. `config` is read at each use. */
export async function openFollower({
  stores: { backend, redis },
  controlPlane,
  index,
  clock,
  closing,
  config,
  denied,
  metrics,
  onLogChange,
  onSetBack,
}: RevokingParts & {
  readonly index: RevocationIndex;
  readonly config: () => SidecarConfig;
  readonly denied: DeniedKeys;
  readonly metrics: Metrics;
  readonly onLogChange: FollowerOptions['onLogChange'];
  readonly onSetBack: FollowerOptions['onSetBack'];
}): Promise<RevocationFollower> {
  const forgetByMs = steadyWall(clock);
  const remembered = controlPlane && (() => rememberedRevocations(controlPlane.revocations, forgetByMs));
  const follower = new RevocationFollower({
    log: backend.revocations,
    index,
    clock,
    get onStoreDown() {
      return config().revocation.on_store_down;
    },
    get knownForMs() {
      return config().revocation.known_for;
    },
    waitMs: redis === undefined ? 1000 : (config().redis?.timeout ?? 50),
    ...(remembered && { remembered }),
    onLimitReset: (key) => denied.forget(key),
    ...(onSetBack && { onSetBack }),
    onPropagation: (ms) => metrics.revocationPropagation.observe(ms / 1000),
    ...(onLogChange && { onLogChange }),
  });
  closing.use(follower);
  await follower.start();
  return follower;
}

/** Durable with PostgreSQL, told to the siblings with several processes; undefined where the follower alone revokes. */
export async function openRevoker({
  stores: { backend },
  controlPlane,
  clock,
  closing,
  follower,
  siblings,
}: RevokingParts & {
  readonly follower: RevocationFollower;
  readonly siblings: Siblings | undefined;
}): Promise<Revoker | undefined> {
  if (controlPlane === undefined) return siblings && amongSiblings(follower, siblings);
  const { postgres, revocations: store, grants } = controlPlane;
  const { endGrantsOf } = await import('./oauth.ts');
  const endGrants = (draft: RevocationDraft) => endGrantsOf(draft, grants, clock.nowMs());
  const revoker = new DurableRevoker({ store, log: backend.revocations, follower, clock, endGrants });
  closing.use(revoker);
  // The follower has asked already when PostgreSQL was there at the start; what it missed before it came it asks now.
  postgres.onReady(() => follower.complete());
  return siblings ? amongSiblings(revoker, siblings) : revoker;
}
