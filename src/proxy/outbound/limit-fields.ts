// Puts the fields about limits on answers, as `proxy.limit_headers` says; their values are limits/fields.ts's. None on 3xx, as the
// draft advises.
import { legacyFields, limitFields as valuesOf } from '../../limits/fields.ts';
import type { Exchange } from '../exchange.ts';

/** Adds the fields when limits were checked. */
export function limitFields(exchange: Exchange, status: number, out: string[]): void {
  const { rateStates, charges } = exchange;
  if (rateStates === undefined || charges === undefined || (status >= 300 && status < 400)) return;
  const { limit_headers: wanted } = exchange.generation.config.proxy;
  if (wanted === 'legacy' || wanted === 'both') pushLegacy(exchange, out);
  if (wanted === 'legacy' || wanted === 'off') return;
  const { rateLimit } = valuesOf(charges.charges, rateStates);
  if (rateLimit === undefined) return;
  out.push('RateLimit-Policy', charges.policy, 'RateLimit', rateLimit);
}

const LEGACY = /^x-ratelimit-(?:limit|remaining|reset)$/i;

/** The application cannot speak in our name (attack 56): what it says of its own limits under these names is taken out. */
function pushLegacy({ charges, rateStates }: Exchange, out: string[]): void {
  for (let at = out.length - 2; at >= 0; at -= 2) if (LEGACY.test(out[at] as string)) out.splice(at, 2);
  const fields = legacyFields(charges?.charges ?? [], rateStates ?? []);
  if (fields === undefined) return;
  out.push('X-RateLimit-Limit', String(fields.limit), 'X-RateLimit-Remaining', String(fields.remaining));
  out.push('X-RateLimit-Reset', String(fields.reset));
}
