// The one error type that crosses module borders. Leaf modules throw it for bad input; http/problem.ts alone turns it
// into an answer. Misuse by the programmer is a TypeError instead.
import type { Reason } from './reasons.ts';

/** What sort of failure it is; decides how planes react (style.md 5). */
export type ErrorKind =
  | 'malformed'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'limited'
  | 'upstream_unreachable'
  | 'upstream_timeout'
  | 'store_unavailable'
  | 'misconfigured'
  | 'internal';

/**
 * A failure with a stable reason. `message` is for logs and operators and never holds a secret or a token; `cause` keeps
 * the underlying error and is never shown to a client.
 */
export class SidecarError extends Error {
  override readonly name = 'SidecarError';
  readonly kind: ErrorKind;
  readonly reason: Reason;

  constructor(kind: ErrorKind, reason: Reason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
    this.reason = reason;
  }
}

/** A token or credential was refused: always answered 401 with one public code, whatever the reason. */
export function unauthenticated(reason: Reason, message: string, options?: ErrorOptions): SidecarError {
  return new SidecarError('unauthenticated', reason, message, options);
}

/** A store did not answer (in time) or answered nonsense; the caller applies its configured fail mode. */
export function storeUnavailable(message: string, options?: ErrorOptions): SidecarError {
  return new SidecarError('store_unavailable', 'store_unavailable', message, options);
}

/** True for what {@link storeUnavailable} makes. */
export function isStoreUnavailable(error: unknown): boolean {
  return error instanceof SidecarError && error.kind === 'store_unavailable';
}
