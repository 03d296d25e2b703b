// The names of a client certificate that TLS has verified, in the form in which operators are registered under them.
import type { Socket } from 'node:net';
import { clientCertificateOf } from '../http/client-certificate.ts';

const PREFIXES = { DNS: 'dns', URI: 'uri', email: 'email' } as const;

/**
 * `sha256:` of the certificate, then its alternative names, then `cn:` of its subject; none without TLS or without a
 * certificate of the configured CA.
 */
export function certificateNames(socket: Socket): readonly string[] {
  const certificate = clientCertificateOf(socket);
  if (certificate === undefined) return [];
  const names = [`sha256:${certificate.digest}`];
  for (const { kind, name } of certificate.names) names.push(`${PREFIXES[kind]}:${name}`);
  if (certificate.commonName !== undefined) names.push(`cn:${certificate.commonName}`);
  return names;
}
