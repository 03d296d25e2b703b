// Which charges a request brings. Runs for every request, so whole lists are remembered per token, or per address for
// requests without one, and the same objects are handed out again and again; stores remember what they encoded for them.
import { LRUCache } from 'lru-cache';
import type { Principal } from '../core/principal.ts';
import type { ClientRecord, ClientRecords } from './clients.ts';
import {
  type CompiledLimit,
  compileLimit,
  type LimitCharge,
  type LimitSettings,
  type LimitSubject,
} from './compile.ts';
import { type ConcurrentLimit, type ConcurrentSlot, compileConcurrent } from './concurrent.ts';

const ADDRESSES_KEPT = 10_000;

/** What one request is charged, and what its answer says about it. */
export interface RequestCharges {
  readonly charges: readonly LimitCharge[];
  /** What it takes of limits on what is under way; undefined for nothing. */
  readonly slots: readonly ConcurrentSlot[] | undefined;
  /** Value of `RateLimit-Policy`; '' when no limit shows. */
  readonly policy: string;
  /** The client record says that every token of this client is refused. */
  readonly disabled: boolean;
}

/** The limits of one route. */
export interface LimitPlan {
  readonly route: string;
  readonly limits: readonly CompiledLimit[];
  readonly concurrent: readonly ConcurrentLimit[];
  readonly clients: ClientRecords;
  /** What a preflight counts under: it carries no token, so only limits per address can say whose it is. */
  readonly forPreflights: LimitPlan | undefined;
  /** Charges of requests without a principal, by address. */
  readonly anonymous: LRUCache<string, RequestCharges>;
}

/** A charge that does not depend on the address, for the limit and the route ('' for any) that it was worked out for. */
interface KeptCharge {
  readonly limit: CompiledLimit;
  readonly route: string;
  readonly charge: LimitCharge;
  readonly next: KeptCharge | undefined;
}

/** Kept beside a verified token by its cache; empty when new. Holds nothing that outlives the token. */
export class LimitMemo {
  /** A list, not maps: there are few, and tens of thousands of tokens have one each. */
  kept: KeptCharge | undefined = undefined;
  /** The last list, and what it was for: most callers use one route from one address. */
  plan: LimitPlan | undefined = undefined;
  address = '';
  result: RequestCharges | undefined = undefined;
  /** Version of the client records it was worked out from. */
  version = -1;
}

/** What of a configuration limits are compiled from. */
export interface LimitsConfig {
  readonly limits: Readonly<Record<string, LimitSettings>>;
  readonly defaults: { readonly limits: readonly string[] };
  readonly routes: Readonly<Record<string, { readonly limits?: readonly string[] | undefined }>>;
}

/** A plan per route. Throws `misconfigured` for an unknown limit or one without usable rates. */
export function compileLimits(
  config: LimitsConfig,
  applicationName: string | undefined,
  clients: ClientRecords,
): ReadonlyMap<string, LimitPlan> {
  const compiled = new Map<string, CompiledLimit | ConcurrentLimit>();
  for (const [name, settings] of Object.entries(config.limits)) {
    const { concurrent } = settings;
    const isRate = concurrent === undefined;
    const limit = isRate
      ? compileLimit(name, settings, applicationName)
      : compileConcurrent(name, { ...settings, concurrent }, applicationName);
    compiled.set(name, limit);
  }
  const plans = new Map<string, LimitPlan>();
  for (const [route, { limits: names = config.defaults.limits }] of Object.entries(config.routes)) {
    const limits = [...new Set(names)].map((name) => {
      const limit = compiled.get(name);
      if (limit === undefined) throw new TypeError(`route ${route} names an unknown limit: ${name}`);
      return limit;
    });
    const perAddress = limits.filter((limit) => !limit.byPrincipal);
    plans.set(route, planOf(route, limits, clients, planOf(route, perAddress, clients, undefined)));
  }
  return plans;
}

function planOf(
  route: string,
  all: readonly (CompiledLimit | ConcurrentLimit)[],
  clients: ClientRecords,
  forPreflights: LimitPlan | undefined,
): LimitPlan {
  const limits = all.filter((limit) => 'charge' in limit);
  const concurrent = all.filter((limit) => 'slot' in limit);
  return { route, limits, concurrent, clients, forPreflights, anonymous: new LRUCache({ max: ADDRESSES_KEPT }) };
}

/**
 * What this request is charged. `addressKey` is address.ts's bucket of `address`; `memo` belongs to the verified token.
 * Answers the same objects for the same circumstances.
 */
export function chargesFor(
  plan: LimitPlan,
  address: string,
  addressKey: string,
  principal: Principal | undefined,
  memo: LimitMemo | undefined,
): RequestCharges {
  if (principal === undefined || memo === undefined) return anonymousCharges(plan, address, addressKey, principal);
  const { version } = plan.clients;
  if (memo.result !== undefined && memo.plan === plan && memo.address === address && memo.version === version) {
    return memo.result;
  }
  if (memo.version !== version) memo.kept = undefined;
  memo.version = version;
  memo.plan = plan;
  memo.address = address;
  memo.result = build(plan, { address, addressKey, route: plan.route, principal }, memo);
  return memo.result;
}

function anonymousCharges(
  plan: LimitPlan,
  address: string,
  addressKey: string,
  principal: Principal | undefined,
): RequestCharges {
  const kept = principal === undefined ? plan.anonymous.get(address) : undefined;
  if (kept) return kept;
  const result = build(plan, { address, addressKey, route: plan.route, principal }, undefined);
  if (principal === undefined) plan.anonymous.set(address, result);
  return result;
}

function build(plan: LimitPlan, subject: LimitSubject, memo: LimitMemo | undefined): RequestCharges {
  const { principal } = subject;
  const record = principal?.client === undefined ? undefined : plan.clients.get(principal.issuerName, principal.client);
  const applying = plan.limits.filter((limit) => !limit.exempts?.(subject.address));
  // By `map`, which leaves no room to grow, as pushing does: these are kept.
  const charges = applying.map((limit) => chargeOf(limit, subject, record, memo));
  const policy = charges.flatMap((charge) => (charge.policy === '' ? [] : [charge.policy])).join(', ');
  return { charges, slots: slotsOf(plan, subject), policy, disabled: record?.disabled ?? false };
}

function slotsOf({ concurrent }: LimitPlan, subject: LimitSubject): readonly ConcurrentSlot[] | undefined {
  const slots = concurrent.filter(({ exempts }) => !exempts?.(subject.address)).map((limit) => limit.slot(subject));
  return slots.length === 0 ? undefined : slots;
}

/** Digests of what hangs on the token alone are worked out once per token and route. */
function chargeOf(
  limit: CompiledLimit,
  subject: LimitSubject,
  record: ClientRecord | undefined,
  memo: LimitMemo | undefined,
): LimitCharge {
  if (memo === undefined || !limit.byPrincipal || limit.byAddress) return limit.charge(subject, record);
  const route = limit.byRoute ? subject.route : '';
  for (let at = memo.kept; at !== undefined; at = at.next)
    if (at.limit === limit && at.route === route) return at.charge;
  const charge = limit.charge(subject, record);
  // Without a subject a missing word falls back to the address: then it is the address' charge, not the token's.
  if (subject.principal?.subject !== undefined) memo.kept = { limit, route, charge, next: memo.kept };
  return charge;
}
