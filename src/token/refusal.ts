// Prepared refusals. The same few errors are thrown for every bad token, so that a refusal costs no stack trace and no
// allocation, and so that what a message says can never depend on what the token said.
import { SidecarError, unauthenticated } from '../core/errors.ts';
import type { Reason } from '../core/reasons.ts';

/** An `unauthenticated` error made once, to be thrown many times; it must not be changed by whoever catches it. */
export function refusal(reason: Reason, message: string): SidecarError {
  const error = unauthenticated(reason, message);
  error.stack = `${error.name}: ${message}`;
  return error;
}

/** No usable key set: kind `store_unavailable`, answered 503, never remembered for a token. */
export const keysUnavailable = new SidecarError(
  'store_unavailable',
  'keys_unavailable',
  'the issuer has no usable keys: none were ever fetched, or the last good ones are older than stale_for',
);

/** A configuration that cannot work, found while opening an issuer or a signing key. */
export function misconfigured(message: string, options?: ErrorOptions): SidecarError {
  return new SidecarError('misconfigured', 'internal', message, options);
}
