// The certificate that a client has shown and TLS has verified: its names, its digest, when it ends. Who that is, operators
// decide in admin/client-certificate.ts and the data plane in proxy/inbound/certificate.ts. RFC 5280 section 4.2.1.6.
import type { Socket } from 'node:net';
import { type PeerCertificate, TLSSocket } from 'node:tls';

/** One alternative name. */
export interface AlternativeName {
  readonly kind: 'DNS' | 'URI' | 'email';
  readonly name: string;
}

/** A verified client certificate. */
export interface ClientCertificate {
  /** SHA-256 of its DER, lower-case hex, as openssl prints it without colons. */
  readonly digest: string;
  /** The same in base64url: `x5t#S256` of RFC 8705. */
  readonly thumbprint: string;
  /** DNS names in lower case. */
  readonly names: readonly AlternativeName[];
  /** Common name of the subject; undefined without one, or with several. */
  readonly commonName: string | undefined;
  /** Hex, as the authority counted. */
  readonly serialNumber: string;
  /** In ms since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

const PLAIN_ENTRY = /^(DNS|URI|email):([\x21\x23-\x2b\x2d-\x7e]+)$/;

/**
 * Entries of node's rendering of alternative names. A rendering that node had to quote is left out whole: a comma or quote
 * inside of one name could otherwise read as another entry (CVE-2021-44532).
 */
export function alternativeNames(rendered: string | undefined): readonly AlternativeName[] {
  if (rendered === undefined || rendered.includes('"')) return [];
  const names: AlternativeName[] = [];
  for (const entry of rendered.split(', ')) {
    const [, kind, name] = PLAIN_ENTRY.exec(entry) ?? [];
    if (kind === undefined || name === undefined) continue;
    names.push({ kind: kind as AlternativeName['kind'], name: kind === 'DNS' ? name.toLowerCase() : name });
  }
  return names;
}

/** The client certificate of a connection; undefined without TLS, without one, or with one that did not verify. */
export function clientCertificateOf(socket: Socket): ClientCertificate | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const certificate: Partial<PeerCertificate> = socket.getPeerCertificate();
  const { fingerprint256, raw, subject } = certificate;
  if (fingerprint256 === undefined || raw === undefined) return undefined;
  const digest = fingerprint256.replaceAll(':', '').toLowerCase();
  return {
    digest,
    thumbprint: Buffer.from(digest, 'hex').toString('base64url'),
    names: alternativeNames(certificate.subjectaltname),
    // Several common names: nobody can say which one the authority vouched for.
    commonName: typeof subject?.CN === 'string' ? subject.CN : undefined,
    serialNumber: certificate.serialNumber as string,
    notBeforeMs: Date.parse(certificate.valid_from as string),
    notAfterMs: Date.parse(certificate.valid_to as string),
  };
}

/** True when the client has shown a certificate, whether or not it verified. */
export function showsCertificate(socket: TLSSocket): boolean {
  return (socket.getPeerCertificate() as Partial<PeerCertificate>).raw !== undefined;
}
