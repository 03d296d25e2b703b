// Random identifiers. All of them carry at least 120 bits, so none can be guessed and none collides.
import { randomBytes } from 'node:crypto';

const ID_LENGTH = 20;
const POOL_BYTES = 3000;
let pool = '';
let used = 0;

/** Request id: 20 characters of A-Z a-z 0-9 _ and dot. Drawn in bulk, because this runs for every request. */
export function requestId(): string {
  if (used + ID_LENGTH > pool.length) {
    // People type these ids: one that began with `-` would be an option to every command line.
    pool = randomBytes(POOL_BYTES).toString('base64url').replaceAll('-', '.');
    used = 0;
  }
  used += ID_LENGTH;
  return pool.slice(used - ID_LENGTH, used);
}

/** Id for entries, tokens and instances: 22 base64url characters (128 bits). */
export function randomId(): string {
  return randomBytes(16).toString('base64url');
}

/** Secret value for bearer use: 43 base64url characters (256 bits). */
export function randomSecret(): string {
  return randomBytes(32).toString('base64url');
}

/** Id of a data key: `dk` and 22 base64url characters (128 bits), so that it never looks like an option. */
export function dataKeyId(): string {
  return `dk${randomId()}`;
}

/** Id of a token family: `f_` and 22 base64url characters (128 bits), for people to type like the others. */
export function familyId(): string {
  return `f_${randomId()}`;
}
