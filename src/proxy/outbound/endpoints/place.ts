// Where a configured url leads: an address, a name that has to be looked up, or a Unix socket.
import { isIP } from 'node:net';
import type { UpstreamConfig } from '../../../config/schema.ts';
import type { DialAddress } from '../http1/dial.ts';

/** One url of an upstream. */
export interface Place {
  /** As configured. */
  readonly url: string;
  /** The name to look up; undefined for addresses and sockets. */
  readonly name: string | undefined;
  readonly port: number;
  /** The address, or the name as long as no lookup has answered. */
  readonly address: DialAddress;
  readonly isTls: boolean;
  /** What a certificate must name unless `server_name` says otherwise. */
  readonly hostname: string;
  /** `host` or `host:port` for the Host field; a socket has none of its own, and says `localhost`. */
  readonly authority: string;
}

/** Reads a url that the configuration has accepted. */
export function placeOf(url: string): Place {
  const { protocol, hostname: bracketed, host, port: given, pathname } = new URL(url);
  if (protocol === 'unix:') {
    const address = { path: decodeURIComponent(pathname) };
    return { url, name: undefined, port: 0, address, isTls: false, hostname: 'localhost', authority: 'localhost' };
  }
  const hostname = bracketed.replace(/^\[|\]$/g, '');
  const isTls = protocol === 'https:';
  const port = Number(given || (isTls ? 443 : 80));
  const name = isIP(hostname) === 0 ? hostname : undefined;
  return { url, name, port, address: { host: hostname, port }, isTls, hostname, authority: host };
}

/** The name or address that the certificate of a place must carry. */
export const serverNameOf = (place: Place, { tls }: UpstreamConfig): string =>
  (tls?.server_name ?? place.hostname).replace(/^\[|\]$/g, '');

/** `host:port`, `[v6]:port`, or the path of a socket. */
export function addressText(address: DialAddress): string {
  if ('path' in address) return address.path;
  return isIP(address.host) === 6 ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
