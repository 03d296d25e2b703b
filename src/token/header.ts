// What the JOSE header of an access token may say (RFC 7515 section 4.1, RFC 8725, RFC 9068 section 4). It can only narrow:
// nothing in it chooses a key source or an algorithm. `jku`, `x5u`, `x5c` and `jwk` are neither read nor fetched.
import { refusal } from './refusal.ts';
import type { IssuerRules } from './rules.ts';
import { isKeyId } from './verification-key.ts';

/** What of the header is still needed once it passed. */
export interface AcceptedHeader {
  readonly algorithm: string;
  readonly kid: string | undefined;
}

const headerRefused = refusal('token_header_refused', 'the JOSE header has crit, b64, zip or enc');
const algorithmRefused = refusal('token_algorithm_refused', 'alg is not in the list of the issuer');
const typeRefused = refusal('token_type_refused', 'typ is not in the list of the issuer');
const kidUnusable = refusal('token_key_unknown', 'kid is not 1 to 256 printable characters');

// `crit` promises rules that we do not know; the others change what the bytes mean.
const REFUSED_MEMBERS = ['crit', 'b64', 'zip', 'enc'];

function isAcceptedType(typ: unknown, types: ReadonlySet<string>): boolean {
  if (typ === undefined) return types.has('absent');
  if (typeof typ !== 'string' || typ === 'absent') return false;
  return types.has(typ.toLowerCase().replace(/^application\//, ''));
}

/**
 * Checks a header against the rules of the token's issuer. Throws `token_header_refused`, `token_algorithm_refused`,
 * `token_type_refused`, or `token_key_unknown` for a `kid` that could name no key.
 */
export function acceptHeader(header: Readonly<Record<string, unknown>>, rules: IssuerRules): AcceptedHeader {
  for (const member of REFUSED_MEMBERS) if (Object.hasOwn(header, member)) throw headerRefused;
  const { alg, typ, kid } = header;
  if (typeof alg !== 'string' || !rules.algorithms.has(alg)) throw algorithmRefused;
  if (!isAcceptedType(typ, rules.types)) throw typeRefused;
  if (kid !== undefined && !isKeyId(kid)) throw kidUnusable;
  return { algorithm: alg, kid };
}
