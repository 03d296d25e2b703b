// What answers say about limits: RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers, sections 3 and 4), the
// older X-RateLimit fields, and Retry-After (RFC 9110 10.2.3). Names are the limits' own; no partition key, which could tell an address or a client.
import type { Rate } from '../core/units.ts';
import type { RateStates } from '../stores/contracts/checks.ts';

/** What is needed of a charge. */
export interface ShownCharge {
  readonly names: readonly string[];
  readonly shadow: boolean;
}

/** Values of the fields; undefined ones are not sent. */
export interface LimitFields {
  readonly rateLimit: string | undefined;
  /** Whole seconds, at least 1; only for a refusal. After it the request passes unless others were faster. */
  readonly retryAfter: number | undefined;
  /** Names of the limits that refuse, for `violated-policies` and the decision record. */
  readonly violated: readonly string[];
}

/** `per_ip`, then `per_ip_2`, `per_ip_3` for further rates of one limit. */
export function rateNames(name: string, rates: number): readonly string[] {
  return Array.from({ length: rates }, (_, at) => (at === 0 ? name : `${name}_${at + 1}`));
}

const seconds = (ms: number) => Math.max(1, Math.ceil(ms / 1000));

/** Items of `RateLimit-Policy`: quota and window in whole seconds, rounded up so that it never promises too much. */
export function policyOf(names: readonly string[], rates: readonly Rate[]): string {
  return rates.map(({ limit, windowMs }, at) => `"${names[at]}";q=${limit};w=${seconds(windowMs)}`).join(', ');
}

/**
 * Field values for the states of a request. Shadow limits are not shown. A NaN state is unknown and left out. In a refusal
 * only refusing rates carry `t`, so that Retry-After is never earlier than any `t` beside it (section 5 of the draft).
 */
export function limitFields(charges: readonly ShownCharge[], states: RateStates): LimitFields {
  const violated: string[] = [];
  let rateLimit = '';
  let wait = 0;
  let at = 0;
  for (const { names, shadow } of charges) {
    for (const name of names) {
      const remaining = states[at] as number;
      const resetMs = states[at + 1] as number;
      at += 2;
      if (shadow || Number.isNaN(remaining)) continue;
      if (remaining === -1) {
        violated.push(name);
        wait = Math.max(wait, resetMs);
      }
      rateLimit += `${rateLimit === '' ? '' : ', '}"${name}";r=${Math.max(0, remaining)};t=${seconds(resetMs)}`;
    }
  }
  if (violated.length === 0) return { rateLimit: rateLimit || undefined, retryAfter: undefined, violated };
  return { rateLimit: refusalField(charges, states), retryAfter: seconds(wait), violated };
}

/** `RateLimit` of a refusal: only what refuses tells when it will not. */
function refusalField(charges: readonly ShownCharge[], states: RateStates): string {
  const items: string[] = [];
  let at = 0;
  for (const { names, shadow } of charges) {
    for (const name of names) {
      const remaining = states[at] as number;
      const time = remaining === -1 ? `;t=${seconds(states[at + 1] as number)}` : '';
      at += 2;
      if (!shadow && !Number.isNaN(remaining)) items.push(`"${name}";r=${Math.max(0, remaining)}${time}`);
    }
  }
  return items.join(', ');
}

/** What the X-RateLimit fields say; they have room for one rate. */
export interface LegacyFields {
  readonly limit: number;
  readonly remaining: number;
  /** Whole seconds from now, at least 1, as Retry-After counts. */
  readonly reset: number;
}

/**
 * The rate that a caller meets first: of refusing ones the one that lasts longest, else the one with the least left. Shadow
 * limits and unknown states are left out; undefined when nothing shows.
 */
export function legacyFields(
  charges: readonly { readonly shadow: boolean; readonly rates: readonly Rate[] }[],
  states: RateStates,
): LegacyFields | undefined {
  let limit = 0;
  let least = Number.POSITIVE_INFINITY;
  let resetMs = 0;
  let at = 0;
  for (const { shadow, rates } of charges) {
    for (const rate of rates) {
      const remaining = states[at] as number;
      const afterMs = states[at + 1] as number;
      at += 2;
      if (shadow || Number.isNaN(remaining)) continue;
      if (remaining > least || (remaining === least && afterMs <= resetMs)) continue;
      least = remaining;
      limit = rate.limit;
      resetMs = afterMs;
    }
  }
  if (least === Number.POSITIVE_INFINITY) return undefined;
  return { limit, remaining: Math.max(0, least), reset: seconds(resetMs) };
}

/** True when an enforced charge refuses. */
export function isRefused(
  charges: readonly { readonly shadow: boolean; readonly rates: readonly Rate[] }[],
  states: RateStates,
): boolean {
  let at = 0;
  for (const { shadow, rates } of charges) {
    for (let rate = 0; rate < rates.length; rate += 1, at += 2) if (states[at] === -1 && !shadow) return true;
  }
  return false;
}
