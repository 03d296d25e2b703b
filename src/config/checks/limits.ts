// Limits and client records: rates or tiers, tiers that exist, records that are unique per issuer.

import { nearestName } from '../../core/nearest.ts';
import { certificateIssuerName } from '../../core/principal.ts';
import type { Rate } from '../../core/units.ts';
import type { Path } from '../places.ts';
import type { ClientConfig, LimitConfig } from '../schema.ts';
import { checkAddresses } from './addresses.ts';
import { type Check, type CheckContext, refers, refuseEndWithoutShadow } from './context.ts';

/** Checks `limits`. */
export const checkLimits: Check = (context) => {
  for (const [name, limit] of Object.entries(context.config.limits)) {
    checkQuota(context, ['limits', name], limit);
    checkAddresses(context, limit.exempt, ['limits', name, 'exempt']);
    refuseEndWithoutShadow(context, ['limits', name], limit);
  }
};

function checkQuota(context: CheckContext, path: Path, limit: LimitConfig): void {
  const { rate, tiers, concurrent } = limit;
  const kinds = [rate, tiers, concurrent].filter((kind) => kind !== undefined).length;
  if (kinds === 0) context.problem(path, 'needs rate, tiers or concurrent');
  if (kinds > 1) context.problem(path, 'has several of rate, tiers and concurrent; needs one of them');
  if (concurrent !== undefined) checkConcurrent(context, path, limit);
  if (rate) checkRates(context, [...path, 'rate'], rate, limit);
  if (tiers) checkTiers(context, path, tiers, limit);
  else if (limit.default_tier !== undefined) context.problem([...path, 'default_tier'], 'needs tiers');
}

/** Counted in memory of one replica: what says how the shared store counts would be ignored. */
function checkConcurrent(context: CheckContext, path: Path, limit: LimitConfig): void {
  const why = 'does not go with concurrent, which each replica counts in its own memory';
  if (limit.shared) context.problem([...path, 'shared'], why);
  if (limit.algorithm !== 'sliding') context.problem([...path, 'algorithm'], why);
  if (limit.on_store_down !== 'local') context.problem([...path, 'on_store_down'], why);
}

type Tiers = NonNullable<LimitConfig['tiers']>;

function checkTiers(context: CheckContext, path: Path, tiers: Tiers, limit: LimitConfig): void {
  const names = Object.keys(tiers);
  if (names.length === 0) context.problem([...path, 'tiers'], 'needs at least one tier');
  for (const [name, rates] of Object.entries(tiers)) checkRates(context, [...path, 'tiers', name], rates, limit);
  const { default_tier: standard } = limit;
  if (standard === undefined) context.problem(path, 'needs default_tier, for clients without a record');
  else if (!names.includes(standard)) {
    context.problem([...path, 'default_tier'], `names "${standard}", which is no tier`, {
      nearest: nearestName(standard, names),
    });
  }
}

const LARGEST_LOG = 10_000;

function checkRates(context: CheckContext, path: Path, rates: readonly Rate[], limit: LimitConfig): void {
  const windows = rates.map((rate) => rate.windowMs);
  if (new Set(windows).size < windows.length) context.problem(path, 'has two rates over the same window');
  if (limit.algorithm === 'log' && rates.some((rate) => rate.limit > LARGEST_LOG)) {
    context.warn(path, 'algorithm log keeps one entry per request; use sliding for large limits');
  }
}

/** Checks `clients`, `tiers` and `default_tier`. */
export const checkClients: Check = (context) => {
  checkDefaultTier(context);
  const seen = new Map<string, string>();
  for (const [name, client] of Object.entries(context.config.clients)) {
    const identity = JSON.stringify([client.issuer, client.id]);
    const first = seen.get(identity);
    if (first !== undefined) context.problem(['clients', name, 'id'], `is the same client as clients.${first}`);
    else seen.set(identity, name);
    checkClient(context, ['clients', name], client);
  }
};

function checkDefaultTier(context: CheckContext): void {
  const { default_tier: standard, tiers } = context.config;
  const names = Object.keys(tiers);
  if (standard === undefined || names.includes(standard)) return;
  context.problem(['default_tier'], `names "${standard}", which is none of tiers`, {
    nearest: nearestName(standard, names),
  });
}

function checkClient(context: CheckContext, path: Path, client: ClientConfig): void {
  // Who comes with a certificate is a client too.
  const byCertificate = client.issuer === certificateIssuerName && context.config.proxy.tls !== undefined;
  if (!byCertificate) refers(context, 'issuers', client.issuer, [...path, 'issuer']);
  for (const [limit, rates] of Object.entries(client.limits)) {
    refers(context, 'limits', limit, [...path, 'limits', limit]);
    if (context.config.limits[limit]?.concurrent !== undefined) {
      context.problem([...path, 'limits', limit], 'gives rates to a limit that is concurrent');
    }
    const windows = rates.map((rate) => rate.windowMs);
    if (new Set(windows).size < windows.length) {
      context.problem([...path, 'limits', limit], 'has two rates over the same window');
    }
  }
  const limitTiers = Object.values(context.config.limits).flatMap((limit) => Object.keys(limit.tiers ?? {}));
  const tiers = [...Object.keys(context.config.tiers), ...limitTiers];
  const unknown = client.tier !== undefined && !tiers.includes(client.tier);
  // A limit that the schema refused may have had the tier.
  if (!unknown || context.names.limits.length > Object.keys(context.config.limits).length) return;
  context.problem([...path, 'tier'], `names "${client.tier}", which no limit has`, {
    nearest: nearestName(client.tier ?? '', tiers),
  });
}
