// Random identifiers. All of them carry at least 120 bits, so none can be guessed and none collides.
import { randomBytes } from 'node:crypto';

const POOL_BYTES = 4096;
let pool = randomBytes(POOL_BYTES);
let used = 0;

function take(bytes: number): Buffer {
  if (used + bytes > POOL_BYTES) {
    pool = randomBytes(POOL_BYTES);
    used = 0;
  }
  used += bytes;
  return pool.subarray(used - bytes, used);
}

/** Request id: 20 base64url characters. Random bytes are drawn in bulk because this runs for every request. */
export function requestId(): string {
  return take(15).toString('base64url');
}

/** Id for entries, tokens and instances: 22 base64url characters (128 bits). */
export function randomId(): string {
  return randomBytes(16).toString('base64url');
}

/** Secret value for bearer use: 43 base64url characters (256 bits). */
export function randomSecret(): string {
  return randomBytes(32).toString('base64url');
}
