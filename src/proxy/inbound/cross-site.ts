// A token that the browser sends by itself, because it stands in a cookie, proves who is calling but not that the page was ours
// which asked (cross-site request forgery). Browsers say where a request comes from (Fetch Metadata, Sec-Fetch-Site); no page can
// set that field, and what is no browser sends no such field.
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
  const site = findField(exchange.rawFields, 'sec-fetch-site');
  if (site === undefined || site === 'same-origin' || site === 'none') return false;
  return route.origins?.has(exchange.fields?.origin ?? '') !== true;
}
