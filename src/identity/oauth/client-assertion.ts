// `private_key_jwt`: a client signs who it is, for us alone, for minutes, once (RFC 7523 section 3, OpenID Connect Core 9).
import { assertionAlgorithms } from '../../clients/properties.ts';
import { isStorable } from '../../core/encoding.ts';
import { SidecarError } from '../../core/errors.ts';
import type { Client } from '../../stores/contracts/clients.ts';
import { type CompactJws, type ParsedToken, parseAccessToken } from '../../token/parse.ts';
import { verifySignature } from '../../token/signature.ts';
import { isKeyId } from '../../token/verification-key.ts';
import type { OAuthDependencies, OAuthSettings } from './dependencies.ts';
import { invalidClient } from './errors.ts';

/** The one assertion type there is (RFC 7523 section 2.2). */
export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** Longest that an assertion may be good from now, in ms. */
const LONGEST_MS = 5 * 60_000;
const TOLERANCE_MS = 30_000;
const TYPES = /^(?:application\/)?(?:jwt|client-authentication\+jwt)$/i;

/** The assertion taken apart, before anything in it is believed. Throws OAuthError `invalid_client`. */
export function readAssertion(text: string): ParsedToken {
  try {
    return parseAccessToken(text);
  } catch (error) {
    if (error instanceof SidecarError) throw invalidClient('assertion_malformed');
    throw error;
  }
}

/** Whom an assertion speaks of; not proved yet. */
export function assertedClient({ claims }: ParsedToken): string | undefined {
  return typeof claims.sub === 'string' && isStorable(claims.sub) ? claims.sub : undefined;
}

/** Resolves when the client signed the assertion for us and nobody has used it; else OAuthError `invalid_client`. */
export async function proveAssertion(
  assertion: ParsedToken,
  client: Client,
  parts: Pick<OAuthDependencies, 'clock' | 'clientKeys' | 'oneTime'>,
  settings: OAuthSettings,
): Promise<void> {
  const untilMs = checkClaims(assertion, client, settings, parts.clock.nowMs());
  await checkSignature(assertion, client, parts);
  // Last, so that only what the client signed can use a value up.
  const value = JSON.stringify([settings.issuer, client.clientId, assertion.claims.jti]);
  if (!(await parts.oneTime.take('client_assertion', value, untilMs))) throw invalidClient('assertion_replayed');
}

/** Until when the assertion could be presented again, in ms. */
function checkClaims({ claims }: ParsedToken, client: Client, settings: OAuthSettings, nowMs: number): number {
  const { iss, sub, aud, exp, nbf, iat, jti } = claims;
  if (iss !== client.clientId || sub !== client.clientId) throw invalidClient('assertion_party');
  const ours = [settings.issuer, settings.urls.token];
  const audiences = Array.isArray(aud) ? aud : [aud];
  // Every one of them must be us: one signed for others too could be theirs to present (attack 122).
  if (audiences.length === 0 || !audiences.every((one) => ours.includes(one)))
    throw invalidClient('assertion_audience');
  const expiresAtMs = seconds(exp);
  if (expiresAtMs === undefined || expiresAtMs + TOLERANCE_MS <= nowMs) throw invalidClient('assertion_expired');
  if (expiresAtMs > nowMs + LONGEST_MS + TOLERANCE_MS) throw invalidClient('assertion_too_long');
  for (const since of [nbf, iat]) {
    const sinceMs = since === undefined ? 0 : seconds(since);
    if (sinceMs === undefined || sinceMs > nowMs + TOLERANCE_MS) throw invalidClient('assertion_early');
  }
  if (typeof jti !== 'string' || jti === '' || jti.length > 256) throw invalidClient('assertion_without_jti');
  return expiresAtMs + TOLERANCE_MS;
}

const seconds = (value: unknown) =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value * 1000 : undefined;

async function checkSignature(
  assertion: CompactJws,
  client: Client,
  { clientKeys }: Pick<OAuthDependencies, 'clientKeys'>,
): Promise<void> {
  const { alg, kid, typ } = assertion.header;
  const fits =
    typeof alg === 'string' &&
    assertionAlgorithms.has(alg) &&
    (kid === undefined || isKeyId(kid)) &&
    (typ === undefined || (typeof typ === 'string' && TYPES.test(typ))) &&
    // `crit` promises rules that we do not know; `b64` changes what the bytes mean.
    !['crit', 'b64', 'zip', 'enc'].some((member) => Object.hasOwn(assertion.header, member));
  const keys = clientKeys.of(client);
  if (!fits || keys === undefined) throw invalidClient('assertion_header');
  try {
    await verifySignature(assertion, alg, await keys.find(kid as string | undefined, alg));
  } catch (error) {
    if (error instanceof SidecarError) throw invalidClient('assertion_signature');
    throw error;
  }
}
