// Upstreams: TLS only where it is spoken, and never our own proxy port.
import type { UpstreamConfig } from '../schema.ts';
import { type Check, type CheckContext, withSecret } from './context.ts';
import { isHost, isLoopbackHost } from './hosts.ts';
import { isWildcard, splitAddress } from './proxy.ts';

/** Checks `upstreams`. */
export const checkUpstreams: Check = (context) => {
  const wanted = context.names.routes.length > 0 || !context.config.postgres || context.given(['upstreams']);
  if (context.names.upstreams.length === 0 && wanted) {
    const missing = context.given(['upstreams']) ? '' : 'is missing: ';
    context.problem(['upstreams'], `${missing}needs at least one upstream`);
  }
  for (const [name, upstream] of Object.entries(context.config.upstreams)) checkUpstream(context, name, upstream);
};

function checkUpstream(context: CheckContext, name: string, upstream: UpstreamConfig): void {
  const path = ['upstreams', name];
  const url = new URL(upstream.url);
  if (upstream.tls && url.protocol !== 'https:') context.problem([...path, 'tls'], 'needs an https:// url');
  if (isOwnPort(context, url)) context.problem([...path, 'url'], 'is our own proxy port: requests would go in circles');
  const host = upstream.host.replace(/:\d{1,5}$/, '');
  if (!isHost(host)) context.problem([...path, 'host'], 'needs preserve, upstream or a host name');
  const serverName = upstream.tls?.server_name;
  if (serverName !== undefined && !isHost(serverName))
    context.problem([...path, 'tls', 'server_name'], 'needs a host name');
  withSecret(context, [...path, 'tls', 'ca'], upstream.tls?.ca, certificateProblem);
}

/** Why a PEM names no certificate authority, or undefined. */
export function certificateProblem(pem: string): string | undefined {
  return pem.includes('-----BEGIN CERTIFICATE-----') ? undefined : 'holds no PEM certificate';
}

function isOwnPort(context: CheckContext, url: URL): boolean {
  const own = splitAddress(context.config.proxy.listen);
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  if (port !== own.port) return false;
  return (
    url.hostname === own.host || (isLoopbackHost(url.hostname) && (isWildcard(own.host) || isLoopbackHost(own.host)))
  );
}
