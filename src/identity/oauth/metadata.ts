// What clients find out by themselves: metadata (RFC 8414, OpenID Connect Discovery) and the key set. Only what is true: there
// is no authorization endpoint but the one of the application that sidecar.yaml names.

import { assertionAlgorithms } from '../../clients/properties.ts';
import { digest } from '../../core/encoding.ts';
import { authMethods, grantTypes } from '../../stores/contracts/clients.ts';
import { JWKS_TYPE, jwksAnswer } from '../../token/jwks.ts';
import type { OAuthSettings } from './dependencies.ts';
import { OAuthError } from './errors.ts';
import type { OAuthExchange } from './exchange.ts';
import { chargeCall } from './limits.ts';
import type { OAuthAnswer } from './send.ts';

/** Anybody may read these documents, from any page. */
const OPEN: readonly string[] = ['Access-Control-Allow-Origin', '*'];
const METADATA_MAX_AGE_S = 300;

/** The metadata of our issuer; one document serves both specifications. */
export function metadataOf({ issuer, urls, authorizationEndpoint, signingAlgorithm, signer }: OAuthSettings) {
  const proving = authMethods.filter((method) => method !== 'none');
  const algorithms = [...assertionAlgorithms];
  return {
    issuer,
    ...(authorizationEndpoint === undefined ? {} : { authorization_endpoint: authorizationEndpoint }),
    token_endpoint: urls.token,
    jwks_uri: urls.jwks,
    registration_endpoint: urls.register,
    revocation_endpoint: urls.revoke,
    introspection_endpoint: urls.introspect,
    userinfo_endpoint: urls.userinfo,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: grantTypes,
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: authMethods,
    token_endpoint_auth_signing_alg_values_supported: algorithms,
    introspection_endpoint_auth_methods_supported: proving,
    introspection_endpoint_auth_signing_alg_values_supported: algorithms,
    revocation_endpoint_auth_methods_supported: authMethods,
    revocation_endpoint_auth_signing_alg_values_supported: algorithms,
    scopes_supported: ['openid'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: signedWith(signingAlgorithm, signer),
    claims_supported: ['iss', 'sub', 'aud', 'exp', 'iat', 'auth_time', 'nonce', 'at_hash', 'sid'],
    request_parameter_supported: false,
    request_uri_parameter_supported: false,
  };
}

/** The configured one first; while it is being changed the key of the other signs on until everybody can know its successor. */
function signedWith(configured: string, signer: OAuthSettings['signer']): readonly string[] {
  return [...new Set([configured, ...signer.publicJwks().keys.map(({ alg }) => String(alg))])];
}

/** GET of either metadata document. */
export async function metadataEndpoint(exchange: OAuthExchange): Promise<OAuthAnswer> {
  await chargeDocument(exchange);
  const body = JSON.stringify(metadataOf(exchange.settings));
  const headers = ['Content-Type', 'application/json', 'Cache-Control', `public, max-age=${METADATA_MAX_AGE_S}`];
  return cached(exchange, body, [...headers, ...OPEN]);
}

/** GET of the key set; 503 while no key is known, because an empty set would make every token bad for as long as it is kept. */
export async function jwksEndpoint(exchange: OAuthExchange): Promise<OAuthAnswer> {
  const { settings } = exchange;
  await chargeDocument(exchange);
  if (settings.signer.publicJwks().keys.length === 0) {
    throw new OAuthError('temporarily_unavailable', 'no key is known yet', { status: 503, retryAfter: 1 });
  }
  const { body, cacheControl } = jwksAnswer(settings.signer, settings.publishBeforeMs);
  return cached(exchange, body, ['Content-Type', JWKS_TYPE, 'Cache-Control', cacheControl, ...OPEN]);
}

/** With an entity tag, and 304 for those who have it (RFC 9110 section 13.1.2). */
function cached({ request }: OAuthExchange, body: string, headers: readonly string[]): OAuthAnswer {
  const tag = `"${digest(body).slice(0, 22)}"`;
  const held = (request.headers['if-none-match'] ?? '').split(',').map((one) => one.trim().replace(/^W\//, ''));
  const known = held.includes(tag) || held.includes('*');
  return { status: known ? 304 : 200, body: known ? undefined : body, headers: [...headers, 'ETag', tag] };
}

async function chargeDocument({ parts, settings, address }: OAuthExchange): Promise<void> {
  const caller = { address, issuer: settings.issuer, claimedClient: undefined };
  await chargeCall(parts, settings.limits, 'documents', caller);
}
