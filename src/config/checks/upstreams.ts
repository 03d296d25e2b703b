// Upstreams: one kind of transport each, TLS only where it is spoken, and never our own proxy port.
import type { UpstreamConfig } from '../schema.ts';
import { checkCertificate } from './certificates.ts';
import { type Check, type CheckContext, refuseRepeated, withSecret } from './context.ts';
import { isHost, isLoopbackHost } from './hosts.ts';
import { isWildcard, splitAddress } from './proxy.ts';

/** Checks `upstreams`. */
export const checkUpstreams: Check = (context) => {
  const wanted = context.names.routes.length > 0 || !context.config.postgres || context.given(['upstreams']);
  if (context.names.upstreams.length === 0 && wanted) {
    const missing = context.given(['upstreams']) ? '' : 'is missing: ';
    context.problem(['upstreams'], `${missing}needs at least one upstream`);
  }
  for (const [name, upstream] of Object.entries(context.config.upstreams)) {
    checkUrls(context, name, upstream);
    checkTls(context, name, upstream);
    checkTimes(context, name, upstream);
  }
};

function checkUrls(context: CheckContext, name: string, { url: texts, host }: UpstreamConfig): void {
  const path = ['upstreams', name, 'url'];
  const urls = texts.map((text) => new URL(text));
  refuseRepeated(
    context,
    texts.map((text, at) => (urls[at] as URL).host || text),
    path,
    'this place',
  );
  if (new Set(urls.map(({ protocol }) => protocol === 'https:')).size > 1) {
    context.problem(path, 'mixes https:// with plain urls');
  }
  urls.forEach((url, at) => {
    const place = urls.length > 1 ? [...path, at] : path;
    if (isOwnPort(context, url)) context.problem(place, 'is our own proxy port: requests would go in circles');
  });
  const given = host.replace(/:\d{1,5}$/, '');
  if (!isHost(given)) context.problem(['upstreams', name, 'host'], 'needs preserve, upstream or a host name');
  if (host === 'upstream' && new Set(urls.map((url) => url.host)).size > 1) {
    context.problem(
      ['upstreams', name, 'host'],
      'is upstream, but the urls have different hosts: name the one to send',
    );
  }
}

function checkTls(context: CheckContext, name: string, { url, tls }: UpstreamConfig): void {
  if (tls === undefined) return;
  const path = ['upstreams', name, 'tls'];
  if (!url.some((text) => text.startsWith('https:'))) context.problem(path, 'needs an https:// url');
  if (tls.server_name !== undefined && !isHost(tls.server_name))
    context.problem([...path, 'server_name'], 'needs a host name');
  withSecret(context, [...path, 'ca'], tls.ca, certificateProblem);
  const { certificate, key } = tls;
  if ((certificate === undefined) !== (key === undefined)) context.problem(path, 'needs certificate and key together');
  if (certificate !== undefined && key !== undefined) checkCertificate(context, path, { certificate, key });
}

function checkTimes(context: CheckContext, name: string, { ejection, health }: UpstreamConfig): void {
  if (ejection.longest < ejection.for)
    context.problem(['upstreams', name, 'ejection', 'longest'], 'is shorter than ejection.for');
  if (health !== undefined && health.timeout > health.interval) {
    context.problem(['upstreams', name, 'health', 'timeout'], 'is longer than health.interval');
  }
}

/** Why a PEM names no certificate authority, or undefined. */
export function certificateProblem(pem: string): string | undefined {
  return pem.includes('-----BEGIN CERTIFICATE-----') ? undefined : 'holds no PEM certificate';
}

function isOwnPort(context: CheckContext, url: URL): boolean {
  if (url.protocol === 'unix:') return false;
  const own = splitAddress(context.config.proxy.listen);
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  if (port !== own.port) return false;
  return (
    url.hostname === own.host || (isLoopbackHost(url.hostname) && (isWildcard(own.host) || isLoopbackHost(own.host)))
  );
}
