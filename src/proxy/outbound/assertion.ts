// The identity assertion: who is calling, as a short-lived JWT that the application can verify by itself, so that it need not
// trust whoever reaches its port. Bound to one audience and a short time, so that one taken elsewhere is worth little
// (attack 32). Its own `typ` keeps any verifier of access tokens from taking it for one (RFC 8725 section 3.11).
import type { SidecarConfig } from '../../config/schema.ts';
import type { Clock } from '../../core/clock.ts';
import type { Principal } from '../../core/principal.ts';
import { signCompact } from '../../token/compact.ts';
import type { SigningKey } from '../../token/signing-key.ts';
import type { VerifiedToken } from '../../token/verified-token.ts';

/** `typ` of an assertion. */
export const ASSERTION_TYPE = 'assertion+jwt';

/** An assertion, and until when it may be sent again. */
export interface Assertion {
  readonly jwt: string;
  /** In ms since the epoch. */
  readonly staleAtMs: number;
}

/** The pen and what is needed to verify what it wrote. */
export interface AssertionPlan {
  readonly header: string;
  /** A JSON Web Key Set of public keys. */
  readonly jwks: string;
  assert(token: VerifiedToken): Assertion;
}

/** Compiles `identity_assertion`; the first of `keys` signs, all are published. */
export function assertionPlan(
  config: SidecarConfig['identity_assertion'],
  audience: string,
  keys: readonly SigningKey[],
  clock: Clock,
): AssertionPlan {
  const { header, issuer, lifetime } = config;
  const signing = keys[0] as SigningKey;
  return {
    header,
    jwks: `${JSON.stringify({ keys: keys.map(({ publicJwk }) => publicJwk) })}\n`,
    assert({ principal }) {
      const nowMs = clock.nowMs();
      const iat = Math.floor(nowMs / 1000);
      // Rounded up: one that goes out just before it is renewed must still be good when it is read.
      const exp = Math.min(Math.ceil((nowMs + lifetime) / 1000), Math.floor(principal.expiresAtMs / 1000));
      const claims = { iss: issuer, aud: audience, iat, exp, ...claimsOf(principal) };
      return { jwt: signCompact(claims, signing, ASSERTION_TYPE), staleAtMs: nowMs + lifetime / 2 };
    },
  };
}

/** JSON leaves out what is undefined, so a claim is there only when the token said so. */
function claimsOf({ issuer, subject, client, scopes, roles, tenant, session, tokenId }: Principal): object {
  return {
    sub: subject,
    client_id: client,
    scope: scopes.length === 0 ? undefined : scopes.join(' '),
    roles: roles.length === 0 ? undefined : roles,
    tenant,
    sid: session,
    token_issuer: issuer,
    token_id: tokenId,
  };
}
