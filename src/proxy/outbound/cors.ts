// Cross-origin fields for routes with `cors: {origins: […]}`: a browser may read answers, refusals included, only from the
// listed Origins. Preflights of such routes are answered by us; `cors: pass` leaves all of it to the application.
import type { Exchange } from '../exchange.ts';

const PREFLIGHT_SECONDS = '600';

/** True for a real CORS preflight: OPTIONS with Origin and Access-Control-Request-Method (attack 77). */
export function isPreflight(exchange: Exchange): boolean {
  const { fields } = exchange;
  return (
    exchange.method === 'OPTIONS' && fields?.origin !== undefined && fields.accessControlRequestMethod !== undefined
  );
}

/** Adds `Access-Control-Allow-Origin` when the route lists the Origin and the upstream has not decided itself. */
export function corsFields(exchange: Exchange, out: string[]): void {
  const origins = exchange.route?.origins;
  if (origins === undefined) return;
  out.push('Vary', 'Origin');
  const origin = exchange.fields?.origin;
  if (origin === undefined || !origins.has(origin)) return;
  if (out.some((field, at) => at % 2 === 0 && field.toLowerCase() === 'access-control-allow-origin')) return;
  out.push('Access-Control-Allow-Origin', origin);
}

/** Fields of our answer to a preflight. */
export function preflightFields(exchange: Exchange): string[] {
  const out: string[] = ['Content-Length', '0'];
  const requested = findRequestedHeaders(exchange);
  out.push('Access-Control-Allow-Methods', exchange.fields?.accessControlRequestMethod ?? '');
  if (requested !== undefined) out.push('Access-Control-Allow-Headers', requested);
  out.push('Access-Control-Max-Age', PREFLIGHT_SECONDS);
  corsFields(exchange, out);
  return out;
}

function findRequestedHeaders({ rawFields }: Exchange): string | undefined {
  for (let at = 0; at < rawFields.length; at += 2) {
    if ((rawFields[at] as string).toLowerCase() === 'access-control-request-headers') return rawFields[at + 1];
  }
  return undefined;
}
