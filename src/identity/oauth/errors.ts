// Refusals of the public endpoints in the words of RFC 6749 section 5.2, RFC 6750 section 3.1 and RFC 7591 section 3.2.2.
// What a caller is told is the same for every cause behind it; the cause goes to the audit log.
import type { OAuthErrorCode } from '../../core/oauth-errors.ts';

/** What an answer says beyond its error. */
export interface OAuthErrorOptions {
  /** Default: 401 for invalid_client, else 400. */
  readonly status?: number;
  /** Seconds, at least 1. */
  readonly retryAfter?: number;
  /** Value of WWW-Authenticate. */
  readonly challenge?: string;
  /** A closed word for the audit log, never shown. */
  readonly why?: string;
  readonly allow?: string;
}

/** A refused call. `message` becomes `error_description`: words of ours, never a value of the caller. */
export class OAuthError extends Error {
  override readonly name = 'OAuthError';
  readonly code: OAuthErrorCode;
  readonly status: number;
  readonly options: OAuthErrorOptions;

  constructor(code: OAuthErrorCode, message: string, options: OAuthErrorOptions = {}) {
    super(message);
    this.code = code;
    this.status = options.status ?? (code === 'invalid_client' ? 401 : 400);
    this.options = options;
  }
}

/** A call that cannot be understood. */
export const invalidRequest = (message: string, options?: OAuthErrorOptions): OAuthError =>
  new OAuthError('invalid_request', message, options);

/** A code or refresh token that does not count, for whatever reason: one answer. */
export const invalidGrant = (why: string): OAuthError =>
  new OAuthError('invalid_grant', 'the code or refresh token is invalid, expired, revoked or not yours', { why });

/** Failed client authentication: one answer for unknown, disabled, wrong secret, wrong method (attack 121). */
export const invalidClient = (why: string): OAuthError =>
  new OAuthError('invalid_client', 'client authentication failed', { why, challenge: 'Basic realm="doorward"' });
