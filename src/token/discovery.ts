// Finds an issuer's JWKS through its metadata (OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3.3).
import { documentUrl, FetchFailure } from './fetch-document.ts';

/** Where the metadata of an issuer is: its URL without trailing slash, and the well-known path appended. */
export function metadataUrl(issuer: string): URL {
  return documentUrl(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
}

/**
 * `jwks_uri` of metadata fetched from `from`. The `issuer` inside must equal the configured one byte for byte, or any
 * host that serves metadata could lend its keys to another name. Throws FetchFailure.
 */
export function jwksUrl(metadata: Readonly<Record<string, unknown>>, issuer: string, from: URL): URL {
  if (metadata.issuer !== issuer) {
    throw new FetchFailure('issuer_mismatch', 'the metadata names another issuer than the configuration');
  }
  return documentUrl(metadata.jwks_uri, from);
}
