// A token that the browser sends by itself, because it stands in a cookie, proves who is calling but not that the page was ours
// which asked (cross-site request forgery). Browsers say where a request comes from: in Sec-Fetch-Site (Fetch Metadata) or, where
// they leave that out, in Origin. No page can set either, and what is no browser sends neither.
import { hostName } from '../../http/canonical.ts';
import { findField } from '../../http/headers.ts';
import type { Exchange } from '../exchange.ts';

/** They change nothing (RFC 9110 section 9.2.1); what a page elsewhere may read of them is for `cors` to say. */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * True where a page of another origin had the browser send the credential of this request: to change something, or to open a
 * WebSocket. Origins that the route lists under `cors` may; with `cors: pass` the application judges.
 */
export function isForged(exchange: Exchange): boolean {
  const { route, credentialSource, method } = exchange;
  if (route?.sources[credentialSource]?.sentByBrowser !== true || route.config.cors === 'pass') return false;
  if (SAFE.has(method) && !exchange.opensWebSocket) return false;
  const origin = exchange.fields?.origin;
  if (origin !== undefined && route.origins?.has(origin)) return false;
  const site = findField(exchange.rawFields, 'sec-fetch-site');
  // Chromium opens WebSockets without the field, and no browser sends it over plain HTTP elsewhere than to localhost.
  if (site === undefined) return origin !== undefined && !isOfHost(origin, exchange.host);
  return site !== 'same-origin' && site !== 'none';
}

/**
 * Whether a page of `origin` came from the host that is asked. By name alone: what ends TLS before us changes scheme and port.
 * `null` (a sandboxed frame, a redirect of another site) names no host, so it is nobody's.
 */
const isOfHost = (origin: string, host: string) => hostName(URL.parse(origin)?.host ?? '') === host;
