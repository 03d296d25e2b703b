// Opens one socket to one address: plain, TLS, or a Unix socket. The name that a certificate must carry comes from the
// configuration, never from the client's Host and never from the address that a name was resolved to (RFC 9110 section 4.3.4).
import { connect, isIP, type OnReadOpts, type Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, createSecureContext, type SecureContext } from 'node:tls';

/** Where a socket goes. */
export type DialAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** How TLS is spoken to an upstream. */
export interface DialTls {
  readonly context: SecureContext;
  /** Host name or address expected in the certificate. */
  readonly serverName: string;
}

/** PEM material of an upstream. */
export interface TlsMaterial {
  /** The only CA to trust; default: those of Node. */
  readonly ca: string | undefined;
  /** Our own certificate, the leaf first, for upstreams that ask for one; with its key or not at all. */
  readonly certificate: string | undefined;
  readonly key: string | undefined;
}

/** Reads the material once for all connections; throws OpenSSL's error for what it cannot use. */
export function tlsContext({ ca, certificate, key }: TlsMaterial): SecureContext {
  return createSecureContext({
    minVersion: 'TLSv1.2',
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { cert: certificate }),
    ...(key === undefined ? {} : { key }),
  });
}

/** The event after which a socket may carry a request; with TLS the certificate has been verified then. */
export const readyEvent = (tls: DialTls | undefined): 'connect' | 'secureConnect' =>
  tls === undefined ? 'connect' : 'secureConnect';

/** Begins to connect, with TLS for `protocol` only. `onread` spares plain sockets a buffer per read; TLS sockets emit `data` instead. */
export function dial(
  address: DialAddress,
  tls: DialTls | undefined,
  onread?: OnReadOpts,
  protocol: 'http/1.1' | 'h2' = 'http/1.1',
): Socket {
  if (tls === undefined) return connect({ ...address, noDelay: true, ...(onread === undefined ? {} : { onread }) });
  const { context, serverName } = tls;
  return connectTls({
    ...address,
    secureContext: context,
    // An address is no server name (RFC 6066 section 3), and is compared all the same.
    ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
    checkServerIdentity: (_, certificate) => checkServerIdentity(serverName, certificate),
    ALPNProtocols: [protocol],
  }).setNoDelay(true);
}
