// Whether the properties of a client hold together: forms of each, and what goes with what. Used for operators' calls and
// for registrations alike, so that no door is wider than the other. Problems name fields as JSON spells them.

import { nearestHint } from '../core/nearest.ts';
import type { ClientProperties } from '../stores/contracts/clients.ts';
import { readKeySet } from '../token/key-set.ts';
import { redirectUriProblem } from './redirect-uri.ts';
import { type TierSettings, tierScopes } from './scopes.ts';

/** One field that does not hold; never quotes a value. */
export interface PropertyProblem {
  readonly path: string;
  readonly problem: string;
}

/** Names that the configuration has. */
export interface KnownNames extends TierSettings {
  /** Tiers that limits have rates for. */
  readonly limitTiers: readonly string[];
  readonly limits: readonly string[];
}

/** What clients may sign assertions with (RFC 7523): public keys only, so no HMAC. */
export const assertionAlgorithms: ReadonlySet<string> = new Set(['ES256', 'RS256', 'PS256', 'EdDSA', 'Ed25519']);

const MAX_LIST = 100;
const MAX_KEYS = 10;
/** RFC 6749 3.3. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/;
/** RFC 3986: what a URL is parsed from is what is kept of it. */
const VISIBLE = /^[\x21-\x7e]+$/;
const TEXT = /^[^\p{Cc}]{1,200}$/u;
/** Members of a JWK that only its owner may have (RFC 7518 6). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** Everything that is wrong; empty when the client may be stored. */
export function propertyProblems(client: ClientProperties, known: KnownNames): readonly PropertyProblem[] {
  const found: PropertyProblem[] = [];
  const problem = (path: string, message: string) => void found.push({ path, problem: message });
  checkWords(client, problem);
  checkAuthentication(client, problem);
  checkGrants(client, problem);
  checkKnown(client, known, problem);
  return found;
}

type Report = (path: string, message: string) => void;

function checkWords({ name, tenant, scopes, audience, redirectUris, type }: ClientProperties, problem: Report): void {
  if (!TEXT.test(name)) problem('name', 'needs 1 to 200 characters without control characters');
  if (tenant !== undefined && !TEXT.test(tenant)) problem('tenant', 'needs 1 to 200 characters without control ones');
  checkList('scopes', scopes, (scope) => (SCOPE.test(scope) ? undefined : 'is no scope'), problem);
  checkList('audience', audience, (one) => (TEXT.test(one) ? undefined : 'is no audience'), problem);
  checkList('redirect_uris', redirectUris, (uri) => redirectUriProblem(uri, type === 'public'), problem);
}

function checkList(
  path: string,
  list: readonly string[],
  judge: (one: string) => string | undefined,
  problem: Report,
): void {
  if (list.length > MAX_LIST) problem(path, `has more than ${MAX_LIST}`);
  list.slice(0, MAX_LIST).forEach((one, at) => {
    const why = judge(one) ?? (list.indexOf(one) === at ? undefined : 'is listed twice');
    if (why !== undefined) problem(`${path}.${at}`, why);
  });
}

function checkAuthentication({ type, authMethod, jwks, jwksUri }: ClientProperties, problem: Report): void {
  if ((type === 'public') !== (authMethod === 'none')) {
    problem('token_endpoint_auth_method', 'needs to be none for public clients, and for them only');
  }
  if (jwks !== undefined && jwksUri !== undefined) problem('jwks', 'and jwks_uri exclude each other');
  const hasKeys = jwks !== undefined || jwksUri !== undefined;
  if (authMethod === 'private_key_jwt' && !hasKeys) problem('jwks', 'or jwks_uri is needed for private_key_jwt');
  if (authMethod !== 'private_key_jwt' && hasKeys) {
    problem(jwks === undefined ? 'jwks_uri' : 'jwks', 'is for private_key_jwt only');
  }
  const why = jwks === undefined ? undefined : jwksProblem(jwks);
  if (why !== undefined) problem('jwks', why);
  if (jwksUri !== undefined && !isFetchable(jwksUri)) {
    problem('jwks_uri', 'needs an https URL without credentials and fragment; http for loopback addresses');
  }
}

function jwksProblem(jwks: NonNullable<ClientProperties['jwks']>): string | undefined {
  if (jwks.keys.length > MAX_KEYS) return `has more than ${MAX_KEYS} keys`;
  // A private key that somebody sends by mistake must not be kept, not even for a moment.
  if (jwks.keys.some((key) => PRIVATE_MEMBERS.some((member) => Object.hasOwn(key, member)))) {
    return 'holds private members: send public keys only, and replace the one that was sent';
  }
  if (/\\u0000/.test(JSON.stringify(jwks))) return 'holds a NUL';
  const set = readKeySet(jwks, assertionAlgorithms);
  if (set === undefined || set.keys.length === 0 || set.ignored.length > 0) {
    return `needs public keys for ${[...assertionAlgorithms].join(', ')}`;
  }
  return undefined;
}

function isFetchable(text: string): boolean {
  const url = VISIBLE.test(text) ? URL.parse(text) : null;
  if (url === null || text.length > 2000 || url.hash !== '' || url.username !== '' || url.password !== '') return false;
  return (
    url.protocol === 'https:' || (url.protocol === 'http:' && /^(?:localhost|127\..*|\[::1\])$/.test(url.hostname))
  );
}

function checkGrants(client: ClientProperties, problem: Report): void {
  const { grantTypes, responseTypes, redirectUris, type } = client;
  const code = grantTypes.includes('authorization_code');
  if (new Set(grantTypes).size < grantTypes.length) problem('grant_types', 'lists a grant twice');
  if (type === 'public' && grantTypes.includes('client_credentials')) {
    problem('grant_types', 'client_credentials is for confidential clients (RFC 6749 4.4)');
  }
  if (grantTypes.includes('refresh_token') && !code) problem('grant_types', 'refresh_token needs authorization_code');
  if (responseTypes.includes('code') !== code || responseTypes.length > 1) {
    problem('response_types', 'needs code with the grant authorization_code, and nothing without');
  }
  if (code && redirectUris.length === 0) problem('redirect_uris', 'needs one for the grant authorization_code');
  if (!code && redirectUris.length > 0) problem('redirect_uris', 'are for the grant authorization_code only');
}

function checkKnown(client: ClientProperties, known: KnownNames, problem: Report): void {
  const { tier, limits, scopes } = client;
  const tierNames = [...new Set([...Object.keys(known.tiers), ...known.limitTiers])];
  if (tier !== undefined && !tierNames.includes(tier)) {
    problem(
      'tier',
      tierNames.length === 0 ? 'names a tier, and sidecar.yaml has none' : `needs ${tierNames.join(', ')}`,
    );
  }
  for (const [name, rates] of Object.entries(limits)) {
    if (!known.limits.includes(name)) {
      problem(`limits.${name}`, `names a limit that sidecar.yaml does not have${nearestHint(name, known.limits)}`);
    }
    if (rates.length === 0 || rates.length > 10) problem(`limits.${name}`, 'needs 1 to 10 rates');
    if (new Set(rates.map(({ windowMs }) => windowMs)).size < rates.length) {
      problem(`limits.${name}`, 'has two rates over the same window');
    }
  }
  const within = tierScopes(known, tier);
  scopes.forEach((scope, at) => {
    if (within !== undefined && !within.includes(scope)) problem(`scopes.${at}`, 'is beyond what the tier allows');
  });
}
