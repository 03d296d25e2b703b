// Ending many grants by one call: those of a subject or a session, or all of a subject but the current one. What access tokens
// they left is refused through revocations, made before or together with the end of the families, so that a call that died
// half-way is completed by asking again.
import { storeUnavailable } from '../../core/errors.ts';
import type { EndedGrants, GrantFilter, Grants } from '../../stores/contracts/grants.ts';
import type { RevocationDraft, RevocationGuard } from '../../stores/contracts/revocations.ts';
import type { OAuthDependencies, OAuthSettings, RevocationMade } from './dependencies.ts';

/** What it rests on. */
export interface EndingParts extends Pick<OAuthDependencies, 'clock' | 'revocations'> {
  /** Of one tenant, if `isFenced`. */
  readonly grants: Pick<Grants, 'dropCodes' | 'page'>;
  /** True where only grants that `grants` knows may be touched: no entry is made for a whole subject or session then. */
  readonly isFenced: boolean;
}

/** Whose grants: of a subject, if need be without a session or a family; or of one session. */
export type GrantsToEnd =
  | { readonly session: string }
  | {
      readonly subject: string;
      readonly exceptSession?: string | undefined;
      readonly exceptFamily?: string | undefined;
    };

/** What ended; `pending`: other replicas learn of it as soon as Redis is back. */
export type GrantsEnded = EndedGrants & Pick<RevocationMade, 'applied'>;

/** Families whose revocations are made side by side. */
const PAGE = 20;

/**
 * Ends them and refuses their access tokens; who logs in afterwards gets in. Without an exception and a fence also tokens that
 * came of no grant are refused, by the session or subject itself. Rejects with `store_unavailable`; then some may have ended.
 */
export async function endGrants(
  wanted: GrantsToEnd,
  reason: string,
  parts: EndingParts,
  settings: OAuthSettings,
): Promise<GrantsEnded> {
  if (parts.isFenced) return endEach({ issuer: settings.issuer, ...wanted }, reason, parts, settings);
  if ('session' in wanted) return endWhole('session', wanted.session, reason, parts, settings);
  const { subject, exceptSession, exceptFamily } = wanted;
  if (exceptSession === undefined && exceptFamily === undefined) {
    return endWhole('subject', subject, reason, parts, settings);
  }
  return endEach({ issuer: settings.issuer, subject, exceptSession, exceptFamily }, reason, parts, settings);
}

async function endWhole(
  kind: 'session' | 'subject',
  id: string,
  reason: string,
  { clock, revocations }: EndingParts,
  settings: OAuthSettings,
): Promise<GrantsEnded> {
  // Not knowing what stands there, this could let in again whom somebody has shut out.
  if (!revocations.isKnown()) throw storeUnavailable('revocations are not known yet');
  const { issuer } = settings;
  const nowMs = clock.nowMs();
  const draft = { kind, issuer, id, untilMs: nowMs + longestLifeMs(settings), notBeforeMs: nowMs, reason };
  const { applied, ended } = await revocations.revoke(draft, noWeaker(nowMs));
  return { families: ended?.families ?? 0, codes: ended?.codes ?? 0, applied };
}

/** One by one, because an entry for the subject would refuse the excepted ones too, or those beyond the fence. */
async function endEach(
  filter: GrantFilter,
  reason: string,
  { clock, grants, revocations }: EndingParts,
  settings: OAuthSettings,
): Promise<GrantsEnded> {
  // Codes first: what is being redeemed meanwhile is a family by the time families are listed.
  const codes = await grants.dropCodes(filter);
  let families = 0;
  let applied: RevocationMade['applied'] = 'all';
  for (;;) {
    const live = await grants.page(filter, undefined, PAGE, clock.nowMs());
    if (live.length === 0) return { families, codes, applied };
    const untilMs = clock.nowMs() + longestLifeMs(settings);
    const made = await Promise.all(
      live.map(({ issuer, familyId: id }) => revocations.revoke({ kind: 'family', issuer, id, untilMs, reason })),
    );
    families += live.length;
    if (made.some((one) => one.applied === 'pending')) applied = 'pending';
  }
}

const longestLifeMs = ({ maxLifetimeMs, clockToleranceMs }: OAuthSettings) => maxLifetimeMs + 2 * clockToleranceMs;

/** There is one entry per subject: ending the sessions of somebody who is shut out for a week must not end the week. */
const noWeaker =
  (nowMs: number): RevocationGuard =>
  (draft, held) => {
    if (held.untilMs !== 'forever' && held.untilMs <= nowMs) return draft;
    const { notBeforeMs, ...always } = { ...draft, untilMs: later(draft.untilMs, held.untilMs) };
    if (held.notBeforeMs === undefined) return { ...always, reason: held.reason };
    return notBeforeMs === undefined ? always : { ...always, notBeforeMs: Math.max(notBeforeMs, held.notBeforeMs) };
  };

const later = (one: RevocationDraft['untilMs'], other: RevocationDraft['untilMs']): RevocationDraft['untilMs'] =>
  one === 'forever' || other === 'forever' ? 'forever' : Math.max(one, other);
