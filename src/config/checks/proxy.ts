// The three listeners, draining, and what they must not share.
import { checkAddresses } from './addresses.ts';
import type { Check, CheckContext } from './context.ts';
import { checkProxyTls } from './proxy-tls.ts';

const KUBERNETES_GRACE_MS = 30_000;
const NGINX_KEEP_ALIVE_MS = 60_000;
const HEADER_SIZE = { least: 4 * 1024, most: 1024 * 1024 };

/** Checks `proxy`, `admin` and `observe`. */
export const checkProxy: Check = (context) => {
  const { proxy } = context.config;
  checkAddresses(context, proxy.trusted_proxies, ['proxy', 'trusted_proxies']);
  checkListeners(context);
  checkProxyTls(context);
  if (/^\/\.{1,2}$/.test(proxy.reserved_prefix)) {
    context.problem(['proxy', 'reserved_prefix'], 'needs a name, not a dot segment');
  }
  if (proxy.header_size < HEADER_SIZE.least || proxy.header_size > HEADER_SIZE.most) {
    context.problem(['proxy', 'header_size'], 'needs to be from 4KiB to 1MiB');
  }
  if (proxy.endpoints.verdict && proxy.trusted_proxies.length === 0) {
    context.warn(['proxy', 'endpoints', 'verdict'], 'believes nobody: name the front that asks in trusted_proxies');
  }
  warnAboutTimes(context);
};

function warnAboutTimes(context: CheckContext): void {
  const { drain, keep_alive } = context.config.proxy;
  if (drain.delay + drain.timeout > KUBERNETES_GRACE_MS) {
    context.warn(['proxy', 'drain'], 'delay and timeout together exceed the 30s after which Kubernetes kills');
  }
  if (keep_alive <= NGINX_KEEP_ALIVE_MS) {
    context.warn(['proxy', 'keep_alive'], 'is not above the 60s of nginx and load balancers, which then race with it');
  }
}

const LISTENERS = ['proxy', 'admin', 'observe'] as const;

function checkListeners(context: CheckContext): void {
  LISTENERS.forEach((section, index) => {
    const own = context.config[section].listen;
    for (const other of LISTENERS.slice(0, index)) {
      if (!sharesPort(own, context.config[other].listen)) continue;
      // The place of the one that was written, when the other is a default.
      const [at, neighbour] = context.given([section, 'listen']) ? [section, other] : [other, section];
      context.problem([at, 'listen'], `shares its port with ${neighbour}.listen`);
    }
  });
}

/** Port and host of a listen address. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).toLowerCase(), port: Number(address.slice(colon + 1)) };
}

/** True for addresses that stand for every interface. */
export const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '[::]' || host === '*';

function sharesPort(a: string, b: string): boolean {
  if (a === 'off' || b === 'off') return false;
  const [one, two] = [splitAddress(a), splitAddress(b)];
  if (one.port !== two.port || one.port === 0) return false;
  return one.host === two.host || isWildcard(one.host) || isWildcard(two.host);
}
