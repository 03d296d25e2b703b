// One limit of sidecar.yaml, compiled: which rates hold for whom, under which key. Pure; memoising is plan.ts's.

import { type AddressMatcher, addressMatcher } from '../core/address.ts';
import { digest } from '../core/encoding.ts';
import { SidecarError } from '../core/errors.ts';
import type { Principal } from '../core/principal.ts';
import type { Rate } from '../core/units.ts';
import type { Charge } from '../stores/contracts/checks.ts';
import type { ClientRecord } from './clients.ts';
import { policyOf, rateNames } from './fields.ts';

/** A part of a limit key. */
export type KeyPart = 'ip' | 'client' | 'subject' | 'tenant' | 'route' | { readonly claim: readonly string[] };

/** A limit as sidecar.yaml writes it, validated. */
export interface LimitSettings {
  readonly key: readonly KeyPart[];
  readonly rate?: readonly Rate[] | undefined;
  readonly tiers?: Readonly<Record<string, readonly Rate[]>> | undefined;
  readonly default_tier?: string | undefined;
  /** Then it is no rate limit, and compiled by concurrent.ts. */
  readonly concurrent?: number | undefined;
  readonly algorithm: 'sliding' | 'log';
  readonly mode: 'enforce' | 'shadow';
  readonly on_store_down: 'local' | 'deny' | 'allow';
  readonly exempt: readonly string[];
  readonly shared: boolean;
}

/** What a request brings to its limits. */
export interface LimitSubject {
  /** Client address, as http/client-address.ts found it. */
  readonly address: string;
  /** Its bucket (address.ts). */
  readonly addressKey: string;
  /** Name of the route. */
  readonly route: string;
  readonly principal: Principal | undefined;
}

/** A charge that knows its limit, for headers, metrics and fail modes. */
export interface LimitCharge extends Charge {
  readonly limit: CompiledLimit;
  /** One name per rate: the limit's, then with `_2`, `_3`. */
  readonly names: readonly string[];
  /** Its items of `RateLimit-Policy`; '' for a shadow limit, which clients are not told of. */
  readonly policy: string;
}

/** One limit, ready to charge. */
export interface CompiledLimit {
  readonly name: string;
  readonly onStoreDown: 'local' | 'deny' | 'allow';
  readonly shadow: boolean;
  /** The key holds something of the principal. */
  readonly byPrincipal: boolean;
  /** The key always holds the address. */
  readonly byAddress: boolean;
  readonly byRoute: boolean;
  readonly exempts: AddressMatcher | undefined;
  /** The charge of this request; never undefined, every request has an address. */
  charge(subject: LimitSubject, record: ClientRecord | undefined): LimitCharge;
}

const misconfigured = (message: string) => new SidecarError('misconfigured', 'internal', message);

/** One counter per window: of rates with the same window only the smallest counts. */
function distinctWindows(rates: readonly Rate[]): readonly Rate[] {
  const smallest = new Map<number, number>();
  for (const { limit, windowMs } of rates) {
    if (!(limit >= 1 && limit <= 1e9 && windowMs >= 1000 && Number.isInteger(limit) && Number.isInteger(windowMs))) {
      throw misconfigured(`a rate is out of range (got ${limit} in ${windowMs} ms)`);
    }
    smallest.set(windowMs, Math.min(limit, smallest.get(windowMs) ?? limit));
  }
  return [...smallest].map(([windowMs, limit]) => ({ limit, windowMs }));
}

function defaultRates(name: string, settings: LimitSettings): readonly Rate[] {
  const { rate, tiers = {}, default_tier: tier } = settings;
  const rates = tier === undefined ? rate : Object.hasOwn(tiers, tier) ? tiers[tier] : undefined;
  if (rates === undefined)
    throw misconfigured(`limits.${name}: needs rate, or default_tier that names one of its tiers`);
  return distinctWindows(rates);
}

function claimAt(claims: Readonly<Record<string, unknown>>, path: readonly string[]): unknown {
  let value: unknown = claims;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** Parts of the key tuple. A principal without the wanted word counts as its subject, a request without one as its address. */
function partOf(part: KeyPart, { addressKey, route, principal }: LimitSubject): readonly unknown[] {
  const address = ['ip', addressKey] as const;
  if (part === 'ip') return address;
  if (part === 'route') return ['route', route];
  if (principal === undefined) return address;
  const { issuer, subject } = principal;
  const id = typeof part === 'object' ? claimAt(principal.claims, part.claim) : principal[part];
  if (id !== undefined && id !== null)
    return typeof part === 'object' ? ['claim', issuer, part.claim, id] : [part, issuer, id];
  return subject === undefined ? address : ['subject', issuer, subject];
}

/** True when the key holds something of the principal. */
export const byPrincipal = ({ key }: LimitSettings): boolean => key.some((part) => part !== 'ip' && part !== 'route');

/**
 * Under what a request counts. Keys are digests of a JSON tuple: JSON is injective, so no id can imitate another's key or
 * leave its application (attack 103).
 */
export function keyFor(
  name: string,
  { key, shared }: LimitSettings,
  applicationName: string | undefined,
  subject: LimitSubject,
): string {
  const scope = shared ? ['shared'] : ['application', applicationName ?? ''];
  return digest(JSON.stringify([scope, name, ...key.map((part) => partOf(part, subject))]));
}

/** Compiles the limit `name`. Throws `misconfigured` for a limit without usable rates. */
export function compileLimit(
  name: string,
  settings: LimitSettings,
  applicationName: string | undefined,
): CompiledLimit {
  const fallback = defaultRates(name, settings);
  const tiers = new Map(Object.entries(settings.tiers ?? {}).map(([tier, rates]) => [tier, distinctWindows(rates)]));
  const shadow = settings.mode === 'shadow';
  const ratesFor = (record: ClientRecord | undefined) => {
    const own = record && Object.hasOwn(record.limits, name) ? record.limits[name] : undefined;
    if (own) return distinctWindows(own);
    return (record?.tier === undefined ? undefined : tiers.get(record.tier)) ?? fallback;
  };
  // Tens of thousands of tokens have the same.
  const shown = new WeakMap<readonly Rate[], Pick<LimitCharge, 'names' | 'policy'>>();
  const shownFor = (rates: readonly Rate[]) => {
    const kept = shown.get(rates);
    if (kept) return kept;
    const names = rateNames(name, rates.length);
    const made = { names, policy: shadow ? '' : policyOf(names, rates) };
    shown.set(rates, made);
    return made;
  };
  const limit: CompiledLimit = {
    name,
    onStoreDown: settings.on_store_down,
    shadow,
    byPrincipal: byPrincipal(settings),
    byAddress: settings.key.includes('ip'),
    byRoute: settings.key.includes('route'),
    exempts: settings.exempt.length > 0 ? addressMatcher(settings.exempt) : undefined,
    charge: (subject, record) => {
      const rates = ratesFor(record);
      const { names, policy } = shownFor(rates);
      return {
        key: keyFor(name, settings, applicationName, subject),
        rates,
        algorithm: settings.algorithm,
        shadow,
        limit,
        names,
        policy,
      };
    },
  };
  return limit;
}
