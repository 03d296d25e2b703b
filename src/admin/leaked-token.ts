// Revoking by the token itself, as it was leaked. It works when the token cannot be verified any more (expired, keys of its
// issuer away) and never fails for what is no token (RFC 7009 section 2.2, attack 87).
import { digest } from '../core/encoding.ts';
import { SidecarError } from '../core/errors.ts';
import type { Reason } from '../core/reasons.ts';
import type { RevocationDraft } from '../stores/contracts/revocations.ts';
import { type ParsedToken, parseAccessToken } from '../token/parse.ts';
import type { TokenDesk } from './dependencies.ts';
import { longestLife } from './revocation-draft.ts';

/** What to do about a leaked token: an entry, or nothing, because no replica accepts it anyway. */
export type LeakedToken = { readonly draft: RevocationDraft } | { readonly harmless: Reason };

// Refusals that no time, key or reload of keys turns into acceptance.
const FINAL: ReadonlySet<Reason> = new Set<Reason>([
  'token_malformed',
  'token_too_large',
  'token_issuer_unknown',
  'token_signature_invalid',
  'token_expired',
]);

// By how much this replica's clock may be ahead of another's: a token that expired here less long ago may be served there.
const CLOCK_DOUBT_MS = 86_400_000;

/** Reads a leaked token. Rejects only for defects. */
export async function readLeakedToken(
  token: string,
  tokens: TokenDesk,
  reason: string,
  nowMs: number,
): Promise<LeakedToken> {
  try {
    const { issuer: iss, tokenId: id, expiresAtMs } = await tokens.verify(token);
    const untilMs = expiresAtMs + toleranceOf(tokens, iss);
    return { draft: { kind: 'token', issuer: iss, id, untilMs, reason } };
  } catch (error) {
    if (!(error instanceof SidecarError)) throw error;
    if (FINAL.has(error.reason) && !expiredLately(error.reason, token, nowMs)) return { harmless: error.reason };
    return unverifiedDraft(token, tokens, reason, nowMs);
  }
}

/** An entry too many costs nothing; one too few leaves a leaked token to the replicas whose clocks are right. */
function expiredLately(reason: Reason, token: string, nowMs: number): boolean {
  if (reason !== 'token_expired') return false;
  const { exp } = parseAccessToken(token).claims;
  return typeof exp === 'number' && exp * 1000 > nowMs - CLOCK_DOUBT_MS;
}

const toleranceOf = (tokens: TokenDesk, iss: string) =>
  tokens.issuers().find(({ issuer }) => issuer === iss)?.clockToleranceMs ?? 0;

/**
 * The token may be accepted later, though it is not now: `iss` and `jti` are taken at their word, since the operator vouches
 * for where it came from. Not `exp`: a crafted one could fill the log for ever, or end the entry of the token whose id it bears.
 */
function unverifiedDraft(token: string, tokens: TokenDesk, reason: string, nowMs: number): LeakedToken {
  const parsed = parseAccessToken(token);
  const { iss } = parsed.claims;
  const issuer = tokens.issuers().find((candidate) => candidate.issuer === iss);
  if (issuer === undefined) return { harmless: 'token_issuer_unknown' };
  return {
    draft: {
      kind: 'token',
      issuer: issuer.issuer,
      id: tokenIdOf(parsed),
      untilMs: nowMs + longestLife(issuer),
      reason,
    },
  };
}

/** As token/claims.ts names it: `jti`, else the digest of `header.payload`. */
function tokenIdOf({ claims, signingInput }: ParsedToken): string {
  return typeof claims.jti === 'string' && claims.jti !== '' ? claims.jti : `sha256:${digest(signingInput)}`;
}
