// The names of a client certificate that TLS has verified, in the form in which operators are registered under them.
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

const PREFIXES: Readonly<Record<string, string>> = { DNS: 'dns', URI: 'uri', email: 'email' };
const PLAIN_ENTRY = /^(DNS|URI|email):([\x21\x23-\x2b\x2d-\x7e]+)$/;

/**
 * `sha256:` of the certificate, then its alternative names, then `cn:` of its subject; none without TLS or without a
 * certificate of the configured CA. Alternative names that node had to quote are left out: a comma or quote inside of one
 * could otherwise read as another entry (CVE-2021-44532).
 */
export function certificateNames(socket: Socket): readonly string[] {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return [];
  const { fingerprint256, subjectaltname, subject } = socket.getPeerCertificate();
  if (fingerprint256 === undefined) return [];
  const names = [`sha256:${fingerprint256.replaceAll(':', '').toLowerCase()}`];
  if (subjectaltname !== undefined && !subjectaltname.includes('"')) {
    for (const entry of subjectaltname.split(', ')) {
      const [, kind, name] = PLAIN_ENTRY.exec(entry) ?? [];
      if (kind !== undefined && name !== undefined) {
        names.push(`${PREFIXES[kind]}:${kind === 'DNS' ? name.toLowerCase() : name}`);
      }
    }
  }
  // Several common names: nobody can say which one the CA vouched for.
  if (typeof subject.CN === 'string') names.push(`cn:${subject.CN}`);
  return names;
}
