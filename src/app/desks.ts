// What the admin port is handed: the replica's parts behind the plain functions that admin/dependencies.ts names.
import type { AdminDependencies, LimitDesk, RevocationDesk, TokenDesk } from '../admin/dependencies.ts';
import { matchText } from '../config/match-text.ts';
import { SidecarError } from '../core/errors.ts';
import { nearestHint } from '../core/nearest.ts';
import { certificateIssuerName } from '../core/principal.ts';
import { compileLimit, type LimitSettings } from '../limits/compile.ts';
import { subjectFromText } from '../limits/from-text.ts';
import type { RevocationFollower } from '../revocation/follower.ts';
import { type RevocationIndex, wouldRefuse } from '../revocation/index.ts';
import { newest } from '../revocation/newest.ts';
import type { CheckStore } from '../stores/contracts/checks.ts';
import { guarded, type RevocationDraft, type RevocationEntry } from '../stores/contracts/revocations.ts';
import { anyCertificate } from '../token/verify.ts';
import type { Current } from './generations.ts';
import { certificateIssuer, principalIssuers } from './principal-issuers.ts';

/** Client certificates as an issuer: revoked, and given records, like tokens. No authority says how long its certificates may live. */
const CERTIFICATES = {
  name: certificateIssuerName,
  maxLifetimeMs: 3650 * 86_400_000,
  clockToleranceMs: 0,
  signer: undefined,
};

/** Tokens: issuing, and what one is worth now. */
export function tokenDesk(current: () => Current): TokenDesk {
  return {
    issuers: () => {
      const { loaded, signers } = current();
      const issuers = Object.entries(loaded.config.issuers).map(([name, issuer]) => ({
        name,
        issuer: issuer.issuer,
        maxLifetimeMs: issuer.max_lifetime,
        clockToleranceMs: issuer.clock_tolerance,
        signer: signers.get(name),
      }));
      const certificates = certificateIssuer(loaded.config);
      return certificates === undefined ? issuers : [...issuers, { ...CERTIFICATES, issuer: certificates }];
    },
    async verify(token) {
      const { verifier, issuers } = current();
      const known = verifier.peek(token, anyCertificate);
      if (known instanceof SidecarError) throw known;
      return (known ?? (await verifier.verify(token, [...issuers.keys()], anyCertificate))).principal;
    },
    isDisabled(principal) {
      const { clients } = current();
      return principal.client !== undefined && (clients.get(principal.issuerName, principal.client)?.disabled ?? false);
    },
    countVerified: (matches) => current().verifier.count(matches),
  };
}

/** The revocation log for operators; `revoker` is the durable one where there is a durable store. */
export function revocationDesk(
  follower: RevocationFollower,
  index: RevocationIndex,
  nowMs: () => number,
  revoker: Pick<RevocationDesk, 'revoke' | 'undo'> = follower,
): RevocationDesk {
  const held = ({ kind, issuer, id }: RevocationDraft) => activeEntry(index.get(kind, issuer, id), nowMs());
  return {
    revoke: (draft, guard) => revoker.revoke(guarded(draft, held(draft), guard), guard),
    undo: (entryId) => revoker.undo(entryId),
    list: (query) => newest(index, query, nowMs()),
    find: async (entryId) => activeEntry(await follower.find(entryId), nowMs()),
    refuses: (principal) => index.refuses(principal, follower.time.steadyMs()),
    permit: async (draft, guard) => guarded(draft, held(draft), guard),
    isKnown: () => follower.state() !== 'unknown' || follower.policy() === 'index',
    wouldRefuse: (draft, principal) => wouldRefuse(draft, principal, nowMs()),
  };
}

const activeEntry = (entry: RevocationEntry | undefined, nowMs: number) =>
  entry !== undefined && (entry.untilMs === 'forever' || entry.untilMs > nowMs) ? entry : undefined;

/** Limits by name and key text. */
export function limitDesk(current: () => Current, store: CheckStore): LimitDesk {
  const chargeFor = (name: string, key: string) => {
    const { config } = current().loaded;
    const settings: LimitSettings | undefined = Object.hasOwn(config.limits, name) ? config.limits[name] : undefined;
    if (settings === undefined) {
      const message = `sidecar.yaml has no limit of this name${nearestHint(name, Object.keys(config.limits))}`;
      throw new SidecarError('not_found', 'resource_not_found', message);
    }
    if (settings.concurrent !== undefined) {
      const message = `${name} is concurrent: counted in memory of each replica and never reset; explain shows it`;
      throw new SidecarError('malformed', 'fields_invalid', message);
    }
    const names = { issuers: principalIssuers(config), routes: Object.keys(config.routes) };
    const subject = subjectFromText(settings.key, key, names);
    const { principal } = subject;
    const record =
      principal?.client === undefined ? undefined : current().clients.get(principal.issuerName, principal.client);
    return compileLimit(name, settings, config.name).charge(subject, record);
  };
  return {
    async look(name, key) {
      const charge = chargeFor(name, key);
      const states = await store.peek(charge);
      return charge.rates.map(({ limit, windowMs }, at) => ({
        limit,
        window_ms: windowMs,
        remaining: Math.max(0, states[2 * at] as number),
        reset_ms: states[2 * at + 1] as number,
      }));
    },
    reset: async (name, key) => store.reset(chargeFor(name, key)),
  };
}

/** The route table for people. */
export function routeRows(current: () => Current): ReturnType<AdminDependencies['routes']> {
  return current().generation.table.routes.map(({ name, config, auth, limits }) => ({
    name,
    match: matchText(config.match),
    auth,
    limits: [...limits.limits, ...limits.concurrent].map((limit) => limit.name),
  }));
}
