// Validates the claims of an access token and makes its principal (RFC 7519 section 4, RFC 8725 section 3, RFC 9068
// section 4). Validation may run before the signature is checked, because all it can do is refuse; principalOf must not.
import type { Principal } from '../core/principal.ts';
import {
  type Claims,
  claimAt,
  claimsInvalid,
  firstClaim,
  identifier,
  numericDate,
  oneOrManyStrings,
  scopeWords,
  words,
} from './claim-values.ts';
import { refusal } from './refusal.ts';
import type { IssuerRules } from './rules.ts';

/** Everything of a principal but what only the signature tells, with the times between which the token counts. */
export interface ValidClaims {
  readonly identity: Omit<Principal, 'keyId' | 'tokenId' | 'claims'> & { readonly jti: string | undefined };
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** `x5t#S256` of `cnf`; undefined for bearer tokens. */
  readonly certificate: string | undefined;
}

/** `exp` has passed by more than clock_tolerance. */
export const tokenExpired = refusal('token_expired', 'exp has passed');
/** `nbf` or `iat` lies in the future by more than clock_tolerance. */
export const tokenNotYetValid = refusal('token_not_yet_valid', 'nbf or iat lies in the future');
const lifetimeExceeded = refusal('token_lifetime_exceeded', 'exp - iat is above max_lifetime');
const audienceMismatch = refusal('token_audience_mismatch', 'no audience of the issuer block is in the token');
const idToken = refusal('token_type_refused', 'the claims are those of an ID token or a refresh token');
const senderConstrained = refusal('token_claims_invalid', 'the token is bound to a key in a way that is not supported');

// `typ` is Keycloak's and `token_use` Cognito's way to mark what is no access token though the same key signed it.
const OTHER_TOKENS = new Set(['id', 'refresh', 'offline', 'logout']);

function isMarkedOther(value: unknown): boolean {
  return typeof value === 'string' && OTHER_TOKENS.has(value.toLowerCase());
}

function refuseOtherTokens(claims: Claims): void {
  for (const name of ['nonce', 'at_hash', 'c_hash']) if (Object.hasOwn(claims, name)) throw idToken;
  if (isMarkedOther(claims.typ) || isMarkedOther(claims.token_use)) throw idToken;
}

const THUMBPRINT = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

/**
 * The certificate that a token is bound to (RFC 8705 section 3.1). Any other way of binding, alone or beside it, is refused:
 * whoever stole a DPoP-bound token must not get by with `Bearer` (RFC 9449 section 7.1, attack 113).
 */
function boundCertificate(claims: Claims): string | undefined {
  if (!Object.hasOwn(claims, 'cnf')) return undefined;
  const { cnf } = claims;
  if (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf)) throw senderConstrained;
  const [[method, value] = [], ...others] = Object.entries(cnf);
  const isCertificate = method === 'x5t#S256' && typeof value === 'string' && THUMBPRINT.test(value);
  if (!isCertificate || others.length > 0) throw senderConstrained;
  return value;
}

function checkAudience(claims: Claims, rules: IssuerRules): void {
  for (const audience of oneOrManyStrings(claimAt(claims, [rules.audienceClaim]))) {
    if (rules.audiences.has(audience)) return;
  }
  throw audienceMismatch;
}

interface Times {
  readonly issuedAtMs: number | undefined;
  readonly expiresAtMs: number;
  readonly notBeforeMs: number;
}

function checkTimes(claims: Claims, rules: IssuerRules, nowMs: number): Times {
  const expiresAtMs = numericDate(claimAt(claims, ['exp']));
  const nbf = numericDate(claimAt(claims, ['nbf']));
  const issuedAtMs = numericDate(claimAt(claims, ['iat']));
  if (expiresAtMs === undefined || expiresAtMs === 0) throw claimsInvalid;
  if (nowMs >= expiresAtMs + rules.clockToleranceMs) throw tokenExpired;
  const notBeforeMs = Math.max(nbf ?? 0, issuedAtMs ?? 0) - rules.clockToleranceMs;
  if (nowMs < notBeforeMs) throw tokenNotYetValid;
  if (expiresAtMs - (issuedAtMs ?? nowMs) > rules.maxLifetimeMs) throw lifetimeExceeded;
  return { issuedAtMs, expiresAtMs, notBeforeMs: Math.max(notBeforeMs, 0) };
}

function checkRequired(claims: Claims, rules: IssuerRules): void {
  for (const [name, wanted] of Object.entries(rules.require)) {
    const value = claimAt(claims, [name]);
    if (value === undefined || value === null) throw claimsInvalid;
    if (wanted === null) continue;
    const accepted: readonly unknown[] = Array.isArray(wanted) ? wanted : [wanted];
    const given: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (!given.some((element) => accepted.includes(element))) throw claimsInvalid;
  }
}

/**
 * Checks everything but `iss` (which chose `rules`) against the issuer's rules. Throws `token_type_refused`,
 * `token_claims_invalid`, `token_audience_mismatch`, `token_expired`, `token_not_yet_valid` or `token_lifetime_exceeded`.
 */
export function validateClaims(claims: Claims, rules: IssuerRules, nowMs: number): ValidClaims {
  refuseOtherTokens(claims);
  const certificate = boundCertificate(claims);
  checkAudience(claims, rules);
  const { issuedAtMs, expiresAtMs, notBeforeMs } = checkTimes(claims, rules, nowMs);
  checkRequired(claims, rules);
  const identity = {
    issuerName: rules.name,
    issuer: rules.issuer,
    subject: identifier(claimAt(claims, rules.subject)),
    client: identifier(firstClaim(claims, rules.client)),
    scopes: scopeWords(firstClaim(claims, rules.scopes)),
    roles: words(claimAt(claims, rules.roles)),
    tenant: identifier(claimAt(claims, rules.tenant)),
    session: identifier(claimAt(claims, rules.session)),
    family: rules.family && identifier(claimAt(claims, rules.family)),
    jti: identifier(claimAt(claims, ['jti'])),
    issuedAtMs,
    expiresAtMs,
  };
  return { identity, notBeforeMs, notAfterMs: expiresAtMs + rules.clockToleranceMs, certificate };
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
}

/** The principal of a token whose signature has verified with `keyId`; frozen throughout. `digest` is of `header.payload`. */
export function principalOf(valid: ValidClaims, claims: Claims, keyId: string, digest: string): Principal {
  const { jti, ...identity } = valid.identity;
  return deepFreeze({ ...identity, tokenId: jti ?? `sha256:${digest}`, keyId, claims });
}
