// A token that has verified, as the caches and the later stages hold it.
import type { Principal } from '../core/principal.ts';

/** Encoded identity headers. */
export interface IdentityHeaders {
  /** Name and value in turn. */
  readonly fields: readonly string[];
  /** The same as lines of an HTTP/1.1 head, each with its line end. */
  readonly lines: string;
  /** In ms since the epoch: from then on they are made anew. Infinity without an assertion. */
  readonly staleAtMs: number;
}

/**
 * What `peek` and `verify` yield. It says nothing about the route: the caller must check that `principal.issuerName` is
 * one of the issuers its route allows, because a cached token is found whoever asks (attack 73).
 *
 * The writable members are memos of other stages, all made in the constructor so that every token has one shape.
 */
export class VerifiedToken {
  readonly principal: Principal;
  /** SHA-256 of `header.payload`, base64url; the signature is left out because anybody can vary it. */
  readonly digest: string;
  /** `nbf` (or `iat`) minus clock_tolerance, in ms since the epoch; 0 without one. */
  readonly notBeforeMs: number;
  /** `exp` plus clock_tolerance, in ms since the epoch: refused from this moment on. */
  readonly notAfterMs: number;
  /** Digest of the only client certificate with which the token counts (`x5t#S256`, RFC 8705); undefined for bearer tokens. */
  readonly certificate: string | undefined;
  /** Filled by proxy/outbound/identity. */
  identityHeaders: IdentityHeaders | undefined = undefined;
  /** Revocation sequence at which it was last found clear; -1 for never. */
  clearedAt = -1;
  /** What the limits of this token's requests were worked out to be; its type is the check stage's business. */
  limitMemo: object | undefined = undefined;

  constructor(
    principal: Principal,
    digest: string,
    times: { readonly notBeforeMs: number; readonly notAfterMs: number },
    certificate: string | undefined = undefined,
  ) {
    this.principal = principal;
    this.digest = digest;
    this.notBeforeMs = times.notBeforeMs;
    this.notAfterMs = times.notAfterMs;
    this.certificate = certificate;
  }
}
