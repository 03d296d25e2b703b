// How this room refuses: a key-encryption key that is unfit or wrong stops a start; a sealed field that cannot be opened is
// a failure of its own and never an empty value.
import { SidecarError } from '../core/errors.ts';

/** A key-encryption key that cannot be used as it is configured; the message never holds key material. */
export function kekRefused(message: string, options?: ErrorOptions): SidecarError {
  return new SidecarError('misconfigured', 'not_configured', message, options);
}

/** A sealed field that does not open: other key, other place, or changed bytes. The message names places, never values. */
export function unsealRefused(message: string, options?: ErrorOptions): SidecarError {
  return new SidecarError('internal', 'sealed_unreadable', message, options);
}
