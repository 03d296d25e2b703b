// Keeps browser pages away from the admin port (attack 126). A page can send requests to loopback (CSRF), and a name that
// its owner points at 127.0.0.1 makes them same-origin (DNS rebinding): so Host must be a name we know, and Origin ours.
import type { IncomingMessage } from 'node:http';
import ipaddr from 'ipaddr.js';
import type { Reason } from '../core/reasons.ts';

const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '::1'];
const HOST = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?$/;

/** Why the request may have been made by a foreign page; undefined when it cannot have been. */
export function foreignPage(request: IncomingMessage, hostNames: readonly string[]): Reason | undefined {
  const hosts = request.headersDistinct.host ?? [];
  const match = hosts.length === 1 ? HOST.exec(hosts[0] as string) : null;
  if (match === null) return 'host_malformed';
  const name = (match[1] ?? (match[2] as string)).toLowerCase();
  if (!isOurs(name, request.socket.localAddress, hostNames)) return 'host_refused';
  const origins = request.headersDistinct.origin ?? [];
  const scheme = 'encrypted' in request.socket ? 'https' : 'http';
  if (origins.some((origin) => origin !== `${scheme}://${hosts[0]}`)) return 'origin_refused';
  const site = request.headers['sec-fetch-site'];
  return site === undefined || site === 'same-origin' || site === 'none' ? undefined : 'origin_refused';
}

/** A loopback name, a configured one, or the literal address that the connection came in on. */
function isOurs(name: string, localAddress: string | undefined, hostNames: readonly string[]): boolean {
  if (LOOPBACK_NAMES.includes(name) || hostNames.includes(name)) return true;
  return localAddress !== undefined && ipaddr.isValid(name) && canonical(name) === canonical(localAddress);
}

const canonical = (address: string) => ipaddr.process(address.split('%')[0] as string).toString();
