// Whose principals there are: those of the issuer blocks, and with client certificates the ones that those name.
import type { SidecarConfig } from '../config/schema.ts';
import { certificateIssuerName } from '../core/principal.ts';

/** `iss` of client certificates; undefined with `client_certificate: off`. */
export function certificateIssuer({ proxy }: SidecarConfig): string | undefined {
  return proxy.tls === undefined || proxy.tls.client_certificate === 'off' ? undefined : proxy.tls.client_issuer;
}

/** `iss` by the name that principals carry. */
export function principalIssuers(config: SidecarConfig): ReadonlyMap<string, string> {
  const names = new Map(Object.entries(config.issuers).map(([name, { issuer }]) => [name, issuer]));
  const certificates = certificateIssuer(config);
  return certificates === undefined ? names : names.set(certificateIssuerName, certificates);
}
