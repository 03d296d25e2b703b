// TLS of a listener: which certificate a server name gets, and which hosts each certificate may answer for. One object per set
// of certificates; a reload makes a new one, and connections keep the one they shook hands with. RFC 6066 section 3,
// RFC 9110 section 7.4.
import { constants, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';

/** A certificate and the hosts it is for. */
export interface ListenerCertificate {
  /** PEM, the leaf first. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
  /** Hosts, `*.example.com` for one label; default: the alternative names of the certificate. */
  readonly hosts?: readonly string[] | undefined;
}

/** TLS of a listener. */
export interface ListenerTls {
  /** At least one; the first serves clients that name no server. */
  readonly certificates: readonly ListenerCertificate[];
  /** Default TLSv1.2. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;
  /** A server name or Host that no certificate is for: `refuse` it, or serve it with the `first` one (default). */
  readonly unknownHost?: 'refuse' | 'first' | undefined;
  /** PEM of the authorities of client certificates. With it nobody gets in without one, unless {@link clientOptional}. */
  readonly clientCa?: string | undefined;
  /** A client may come without a certificate; a bad one is refused all the same. */
  readonly clientOptional?: boolean | undefined;
}

interface Served {
  readonly context: SecureContext;
  readonly covers: (host: string) => boolean;
}

/** The certificates of a listener, ready to serve. */
export class TlsCertificates {
  /** What node's server takes for clients without a server name. */
  readonly defaults: SecureContextOptions;
  readonly #served: readonly Served[];
  readonly #refusesUnknown: boolean;

  /** Throws for a certificate or key that cannot be used. */
  constructor(tls: ListenerTls) {
    const options = tls.certificates.map((certificate) => contextOptions(certificate, tls));
    this.defaults = options[0] as SecureContextOptions;
    this.#served = options.map((each, at) => ({
      context: createSecureContext(each),
      covers: coverage(tls.certificates[at] as ListenerCertificate),
    }));
    this.#refusesUnknown = tls.unknownHost === 'refuse';
  }

  /** The context for a server name; undefined when it is to be refused. */
  contextFor(serverName: string): SecureContext | undefined {
    return this.#for(serverName)?.context;
  }

  /**
   * Whether a request for `host` is misdirected (421) on a connection that named `serverName`: its certificate is not for that
   * host, and another one is, or unknown hosts are refused. HTTP/2 clients put requests for other hosts on open connections
   * (RFC 9113 section 9.1.1).
   */
  isMisdirected(host: string, serverName: string | undefined): boolean {
    const own = serverName === undefined ? this.#served[0] : this.#for(serverName);
    if (own === undefined || own.covers(host)) return own === undefined;
    return this.#refusesUnknown || this.#served.some((each) => each.covers(host));
  }

  #for(serverName: string): Served | undefined {
    const name = serverName.toLowerCase().replace(/\.$/, '');
    const found = this.#served.find((each) => each.covers(name));
    return found ?? (this.#refusesUnknown ? undefined : this.#served[0]);
  }
}

function contextOptions({ certificate, key }: ListenerCertificate, tls: ListenerTls): SecureContextOptions {
  const { minVersion = 'TLSv1.2', clientCa } = tls;
  // A resumed session shows no certificate again: it would outlive the authority that vouched for its client.
  const withoutTickets = clientCa === undefined ? 0 : constants.SSL_OP_NO_TICKET;
  return {
    cert: certificate,
    key,
    minVersion,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | withoutTickets,
    ...(clientCa === undefined ? {} : { ca: clientCa }),
  };
}

function coverage({ certificate, hosts }: ListenerCertificate): (host: string) => boolean {
  if (hosts !== undefined) return listed(hosts);
  const leaf = new X509Certificate(certificate);
  return (host) => {
    const bare = host.startsWith('[') ? host.slice(1, -1) : host;
    if (isIP(bare) !== 0) return leaf.checkIP(bare) !== undefined;
    return leaf.checkHost(host, { subject: 'never', partialWildcards: false }) !== undefined;
  };
}

function listed(hosts: readonly string[]): (host: string) => boolean {
  const names = new Set(hosts.map((host) => host.toLowerCase()));
  return (host) => {
    const dot = host.indexOf('.');
    return names.has(host) || (dot > 0 && names.has(`*${host.slice(dot)}`));
  };
}
