// Puts RateLimit and RateLimit-Policy on answers; their values are limits/fields.ts's. None on 3xx, as the draft advises.
import { limitFields as valuesOf } from '../../limits/fields.ts';
import type { Exchange } from '../exchange.ts';

/** Adds the fields when limits were checked. */
export function limitFields(exchange: Exchange, status: number, out: string[]): void {
  const { rateStates, charges } = exchange;
  if (rateStates === undefined || charges === undefined || (status >= 300 && status < 400)) return;
  const { rateLimit } = valuesOf(charges.charges, rateStates);
  if (rateLimit === undefined) return;
  out.push('RateLimit-Policy', charges.policy, 'RateLimit', rateLimit);
}
