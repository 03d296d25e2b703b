// Token families: what one grant makes from its beginning to its end. Begins with a redeemed code, yields an access token and
// a refresh token at a time, and ends as a whole: on reuse, on revocation, by time. Which caller may do what is decided by the
// endpoints.
import { familyId as newFamilyId } from '../../core/ids.ts';
import type { Principal } from '../../core/principal.ts';
import type {
  CodeRecord,
  FamilyEnd,
  FamilyRecord,
  GrantHolder,
  Grants,
  NewFamily,
} from '../../stores/contracts/grants.ts';
import type { OAuthDependencies, OAuthSettings } from './dependencies.ts';
import { invalidGrant } from './errors.ts';
import {
  type FamilyContent,
  familyPlace,
  isGenuine,
  newFamilySecret,
  type PersonContent,
  parseRefreshToken,
  refreshToken,
  sealedBytes,
  unsealedContent,
} from './refresh-token.ts';

type Parts = Pick<OAuthDependencies, 'clock' | 'grants' | 'sealer' | 'revocations'>;

/** A family with what is sealed in its row. */
export interface OpenFamily {
  readonly family: FamilyRecord;
  readonly content: FamilyContent;
}

/** A genuine refresh token. */
export interface GenuineToken extends OpenFamily {
  readonly counter: number;
}

/** A family about to begin from a code, and what its row seals. */
export async function draftFamily(
  code: CodeRecord,
  person: PersonContent,
  refreshable: boolean,
  { clock, sealer }: Parts,
  settings: OAuthSettings,
): Promise<{ readonly family: NewFamily; readonly content: FamilyContent }> {
  const { issuer, client, subject, session, tenant, scopes, audience } = code;
  const familyId = newFamilyId();
  const nowMs = clock.nowMs();
  // Without refresh tokens a grant is over when its access token is.
  const lifeMs = refreshable ? settings.refreshLifetimeMs : settings.maxLifetimeMs;
  const { nonce: _, ...lasting } = person;
  const content: FamilyContent = { secret: newFamilySecret(), person: lasting };
  const family: NewFamily = {
    ...{ issuer, client, subject, session, tenant, scopes, audience },
    familyId,
    // When the person was there: a cut between that and the code's redemption is meant for this grant too.
    createdAtMs: code.createdAtMs,
    expiresAtMs: nowMs + lifeMs,
    idleUntilMs: nowMs + (refreshable ? Math.min(settings.refreshIdleMs, lifeMs) : lifeMs),
    refreshable,
    sealed: await sealer.seal(familyPlace(familyId), sealedBytes(content)),
  };
  return { family, content };
}

/**
 * The family of a refresh token that we made; undefined for everything else. The number is proved, so that nobody ends a
 * family by guessing at its id, which every access token carries.
 */
export async function openToken(
  token: string,
  { grants, sealer }: Parts,
  { issuer }: OAuthSettings,
): Promise<GenuineToken | undefined> {
  const read = parseRefreshToken(token);
  const family = read && (await grants.find(read.familyId));
  if (read === undefined || family === undefined || family.issuer !== issuer || !family.refreshable) return undefined;
  const opened = await openFamily(family, sealer);
  return isGenuine(opened.content.secret, read) ? { ...opened, counter: read.counter } : undefined;
}

/** Unseals what a family's row holds. */
export async function openFamily(family: FamilyRecord, sealer: Parts['sealer']): Promise<OpenFamily> {
  const bytes = await sealer.unseal(familyPlace(family.familyId), family.sealed);
  return { family, content: unsealedContent<FamilyContent>(bytes) };
}

/** The refresh token that may be redeemed next. */
export const currentRefreshToken = ({ secret }: FamilyContent, { familyId, counter }: FamilyRecord): string =>
  refreshToken(secret, familyId, counter);

/** True while it can be refreshed. */
export const isLive = (family: FamilyRecord, nowMs: number): boolean =>
  family.endedAtMs === undefined && family.idleUntilMs > nowMs;

/**
 * Ends a family: no refresh token of it counts any more, and its access tokens are refused everywhere. Also for a family that
 * has ended already, whose revocation somebody may not have lived to make.
 */
export async function endFamily(
  familyId: string,
  reason: FamilyEnd,
  { clock, grants, revocations }: Pick<Parts, 'clock' | 'revocations'> & { readonly grants: Pick<Grants, 'end'> },
  settings: OAuthSettings,
): Promise<void> {
  const nowMs = clock.nowMs();
  await grants.end(familyId, reason, nowMs);
  await revocations.revoke({
    kind: 'family',
    issuer: settings.issuer,
    id: familyId,
    untilMs: nowMs + settings.maxLifetimeMs + 2 * settings.clockToleranceMs,
    reason,
  });
}

/**
 * True when what the grant rests on was revoked after it began. Replicas without PostgreSQL can revoke and cannot end families,
 * so the revocations are asked too, and not only the row.
 */
export function isRevoked(
  holder: GrantHolder & { readonly createdAtMs: number },
  familyId: string | undefined,
  { revocations }: Pick<Parts, 'revocations'>,
  { issuerName }: OAuthSettings,
): boolean {
  const principal: Principal = {
    ...{ issuerName, issuer: holder.issuer, subject: holder.subject, client: holder.client },
    ...{ tenant: holder.tenant, session: holder.session, scopes: holder.scopes, roles: [] },
    ...{ family: familyId, tokenId: '', keyId: '', claims: {} },
    issuedAtMs: holder.createdAtMs,
    expiresAtMs: Number.MAX_SAFE_INTEGER,
  };
  return revocations.refuses(principal) !== undefined;
}

/** Throws OAuthError `invalid_grant` where {@link isRevoked}. */
export function refuseRevoked(...asked: Parameters<typeof isRevoked>): void {
  if (isRevoked(...asked)) throw invalidGrant('revoked');
}
