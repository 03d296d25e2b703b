// Certificates, keys and authorities must be usable, and fit together: TLS that cannot work, or would accept anybody, refuses
// the start (attack 128). No answer repeats what it was given.
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { SecretReference } from '../fields.ts';
import type { Path } from '../places.ts';
import type { CheckContext } from './context.ts';

/** Reports a certificate that does not belong to its key. False when that, or either of them, could not be read. */
export function checkCertificate(
  { secrets, problem }: CheckContext,
  path: Path,
  pair: { readonly certificate: SecretReference; readonly key: SecretReference },
): boolean {
  if (!secrets.has(pair.certificate) || !secrets.has(pair.key)) return false;
  try {
    createSecureContext({ cert: secrets.get(pair.certificate), key: secrets.get(pair.key) });
    return true;
  } catch {
    // The words of OpenSSL help nobody, and the key must not be quoted.
    problem(path, 'has a certificate and key that cannot be read or do not belong together');
    return false;
  }
}

/** Why a PEM is no list of authorities. Every one is read: a bundle whose second one is broken would be half trusted. */
export function authoritiesProblem(pem: string): string | undefined {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    if (blocks.length > 0 && blocks.every((block) => new X509Certificate(block).ca)) return undefined;
  } catch {
    // Said below.
  }
  return 'holds no PEM certificates that can be read';
}

/** Whether a PEM certificate names hosts at all: TLS clients read the alternative names only. */
export function namesHosts(pem: string): boolean {
  return /(?:DNS|IP Address):/.test(new X509Certificate(pem).subjectAltName ?? '');
}
