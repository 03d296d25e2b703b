// From a validated configuration to what the public endpoints go by. Made once per configuration.
import type { KnownNames } from '../../clients/properties.ts';
import { allowedScopes } from '../../clients/scopes.ts';
import type { SidecarConfig } from '../../config/schema.ts';
import { hostName } from '../../http/canonical.ts';
import { addressReader } from '../../http/client-address.ts';
import type { Signer } from '../../token/issue.ts';
import type { Verifier } from '../../token/verify.ts';
import type { OAuthSettings } from './dependencies.ts';
import { compileEndpointLimits } from './limits.ts';

/** The issuer block that the endpoints serve; throws TypeError where config/checks/oauth.ts should have refused. */
export function oauthIssuerName({ issuers, oauth }: SidecarConfig): string {
  const signing = Object.entries(issuers).filter(([, { sign }]) => sign !== undefined);
  const found = oauth.issuer ?? signing[0]?.[0];
  if (found === undefined || issuers[found]?.sign === undefined) throw new TypeError('no issuer block has sign');
  return found;
}

/** Compiles them. */
export function compileOAuth(
  config: SidecarConfig,
  { signer, verifier, known }: { readonly signer: Signer; readonly verifier: Verifier; readonly known: KnownNames },
): OAuthSettings {
  const issuerName = oauthIssuerName(config);
  const block = config.issuers[issuerName] as SidecarConfig['issuers'][string];
  const url = new URL(block.issuer);
  const { oauth, proxy } = config;
  const basePath = `${proxy.reserved_prefix}/oauth/`;
  const at = (name: string) => `${url.origin}${basePath}${name}`;
  return {
    issuerName,
    issuer: block.issuer,
    host: hostName(url.host) ?? '',
    basePath,
    urls: {
      token: at('token'),
      revoke: at('revoke'),
      introspect: at('introspect'),
      register: at('register'),
      userinfo: at('userinfo'),
      jwks: `${url.origin}/.well-known/jwks.json`,
    },
    origins: new Set(oauth.origins),
    authorizationEndpoint: oauth.authorization_endpoint,
    signer,
    signingAlgorithm: block.sign?.algorithm ?? '',
    verifier,
    audience: block.audience,
    maxLifetimeMs: block.max_lifetime,
    clockToleranceMs: block.clock_tolerance,
    publishBeforeMs: block.sign?.publish_before ?? 0,
    codeLifetimeMs: oauth.code_lifetime,
    refreshLifetimeMs: oauth.refresh_lifetime,
    refreshIdleMs: oauth.refresh_idle,
    refreshGraceMs: oauth.refresh_grace,
    addresses: addressReader(proxy.trusted_proxies, proxy.client_address),
    readsForwarded: proxy.client_address === 'forwarded',
    limits: compileEndpointLimits(config),
    known,
    scopesOf: (client) => allowedScopes(client, config),
  };
}
