// The public OAuth endpoints over the replica's parts, what operators do with grants, and how revocations end them. Loaded only
// where PostgreSQL is; the endpoints only with `proxy.endpoints.oauth`.
import type { GrantDesk } from '../admin/grant-desk.ts';
import type { ClientAnnouncer } from '../clients/announcer.ts';
import type { Clock } from '../core/clock.ts';
import { isStorable } from '../core/encoding.ts';
import { HeldClientKeys } from '../identity/oauth/client-keys.ts';
import { mintCode } from '../identity/oauth/codes.ts';
import type { OAuthDependencies, OAuthSettings } from '../identity/oauth/dependencies.ts';
import { endGrants } from '../identity/oauth/end-grants.ts';
import { endFamily } from '../identity/oauth/families.ts';
import { compileOAuth, oauthIssuerName } from '../identity/oauth/settings.ts';
import { oauthSite, type PublicSite } from '../identity/oauth/site.ts';
import { LocalLimits } from '../limits/local.ts';
import type { RevocationFollower } from '../revocation/follower.ts';
import type { RevocationIndex } from '../revocation/index.ts';
import type { ClientStore } from '../stores/contracts/clients.ts';
import type { EndedGrants, GrantFilter, Grants } from '../stores/contracts/grants.ts';
import { guarded, type RevocationDraft } from '../stores/contracts/revocations.ts';
import { MemoryChecks } from '../stores/memory/checks.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Signer } from '../token/issue.ts';
import { knownNames } from './clients.ts';
import type { ControlPlane } from './control-plane.ts';
import type { Current } from './generations.ts';
import type { Revoker } from './siblings.ts';
import type { Stores } from './stores.ts';

/** What they are opened with. */
export interface OAuthParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly current: () => Current;
  readonly stores: Stores;
  readonly controlPlane: ControlPlane;
  readonly follower: RevocationFollower;
  readonly index: RevocationIndex;
  readonly revoker: Revoker;
  readonly announcer: ClientAnnouncer;
}

/** Both sides of grants. */
export interface OpenedOAuth {
  readonly site: PublicSite;
  readonly desk: GrantDesk;
}

/** Opens them; everything opened ends with `closing`. */
export function openOAuth(parts: OAuthParts, closing: AsyncDisposableStack): OpenedOAuth {
  const { clock, log, metrics, stores, controlPlane, follower, index, revoker } = parts;
  const { grants, oneTime, clients, sealing, trail } = controlPlane;
  const counters = new MemoryChecks({ clock, head: () => undefined });
  const dependencies: OAuthDependencies = {
    ...{ clock, log, metrics, clients, grants, oneTime },
    audit: trail,
    clientKeys: closing.use(new HeldClientKeys(clock)),
    registration: {
      store: clients,
      initialTokens: controlPlane.initialTokens,
      announce: (notice) => parts.announcer.announce(notice),
    },
    sealer: sealing.sealer,
    checks: stores.backend.checks,
    local: new LocalLimits(counters, () => stores.backend.replicas()),
    revocations: {
      refuses: (principal) => index.refuses(principal, follower.time.steadyMs()),
      isKnown: () => follower.state() !== 'unknown' || follower.policy() === 'index',
      // Without an answer of the store nothing says that this replica is behind; isKnown judges that.
      observe: (head) => (head === undefined ? undefined : follower.observe(head)),
      revoke: (draft, guard) =>
        revoker.revoke(guarded(draft, index.get(draft.kind, draft.issuer, draft.id), guard), guard),
    },
    settings: settingsOf(parts.current),
  };
  return { site: oauthSite(dependencies), desk: grantDesk(dependencies, { clients, grants }) };
}

/** Compiled once per configuration. */
function settingsOf(current: () => Current): () => OAuthSettings {
  let held: { readonly from: Current; readonly settings: OAuthSettings } | undefined;
  return () => {
    const from = current();
    if (held?.from !== from) {
      const { config } = from.loaded;
      const signer = from.signers.get(oauthIssuerName(config)) as Signer;
      held = { from, settings: compileOAuth(config, { signer, verifier: from.verifier, known: knownNames(config) }) };
    }
    return held.settings;
  };
}

/** `tenant`: the only one there is to this desk. */
function grantDesk(
  parts: OAuthDependencies,
  whole: { readonly clients: ClientStore; readonly grants: Grants },
  tenant?: string,
): GrantDesk {
  const { clock, sealer, revocations } = parts;
  const clients = tenant === undefined ? whole.clients : whole.clients.within(tenant);
  const grants = tenant === undefined ? whole.grants : whole.grants.within(tenant);
  return {
    within: (name) => grantDesk(parts, whole, name),
    mint: (request) => mintCode(request, { clients, grants, clock, sealer }, parts.settings()),
    page: (filter, after, limit) =>
      grants.page({ ...filter, issuer: parts.settings().issuer }, after, limit, clock.nowMs()),
    end: async (familyId) => {
      const settings = parts.settings();
      const family = await grants.find(familyId);
      if (family === undefined || family.issuer !== settings.issuer) return undefined;
      await endFamily(familyId, 'operator', { clock, grants, revocations }, settings);
      return family;
    },
    endAll: (wanted, reason) =>
      endGrants(wanted, reason, { clock, grants, revocations, isFenced: tenant !== undefined }, parts.settings()),
  };
}

const KINDS = { session: 'session', family: 'family', subject: 'subject', client: 'client', tenant: 'tenant' } as const;

/**
 * Ends the families and drops the codes that a revocation concerns, so that none of them yields a token once its entry is gone.
 * A banned key and a single access token end none: neither says anything of the grant.
 */
export async function endGrantsOf(
  draft: RevocationDraft,
  grants: Grants,
  nowMs: number,
): Promise<EndedGrants | undefined> {
  const { kind, issuer, id, notBeforeMs } = draft;
  if (kind === 'token' || kind === 'key') return undefined;
  // No grant has such a name, and PostgreSQL cannot even be asked.
  if (![issuer, id].every(isStorable)) return undefined;
  const filter: GrantFilter = { issuer, [KINDS[kind]]: id, begunBeforeMs: notBeforeMs };
  return grants.endAll(filter, kind === 'client' ? 'client' : 'revoked', nowMs);
}
