// What a client may ask for: its own scopes, narrowed by what its tier allows. Tiers come from sidecar.yaml and records from
// operators; neither is ever read from a request.
import type { ClientProperties } from '../stores/contracts/clients.ts';

/** Tiers as sidecar.yaml writes them. */
export interface TierSettings {
  /** Scopes by tier; empty: tiers narrow nothing. */
  readonly tiers: Readonly<Record<string, { readonly scopes: readonly string[] }>>;
  /** Tier of clients without one. */
  readonly default_tier?: string | undefined;
}

/** Scopes of a tier; undefined when tiers narrow nothing. A tier that is not listed allows none. */
export function tierScopes(
  { tiers, default_tier }: TierSettings,
  tier: string | undefined,
): readonly string[] | undefined {
  if (Object.keys(tiers).length === 0) return undefined;
  const name = tier ?? default_tier;
  return name !== undefined && Object.hasOwn(tiers, name) ? (tiers[name]?.scopes ?? []) : [];
}

/** Scopes that reach beyond what a client was given itself: `introspect` asks about everybody's tokens. */
const BESTOWED: ReadonlySet<string> = new Set(['introspect']);

/** What a client that registers itself may ask for: scopes of the default tier, but none that an operator has to bestow. */
export const registrableScopes = (settings: TierSettings): readonly string[] =>
  (tierScopes(settings, undefined) ?? []).filter((scope) => !BESTOWED.has(scope));

/** The scopes that this client may have. */
export function allowedScopes(
  client: Pick<ClientProperties, 'scopes' | 'tier'>,
  settings: TierSettings,
): readonly string[] {
  const within = tierScopes(settings, client.tier);
  return within === undefined ? client.scopes : client.scopes.filter((scope) => within.includes(scope));
}

/**
 * The scopes that a request gets: all it may have when it names none. `refused` lists what was asked beyond that, and then
 * nothing is granted (`invalid_scope`, RFC 6749 5.2): a token with less than was asked would fail later, and nobody would
 * know why.
 */
export function grantScopes(
  client: Pick<ClientProperties, 'scopes' | 'tier'>,
  asked: readonly string[] | undefined,
  settings: TierSettings,
): { readonly granted: readonly string[] } | { readonly refused: readonly string[] } {
  const allowed = allowedScopes(client, settings);
  if (asked === undefined) return { granted: allowed };
  const refused = asked.filter((scope) => !allowed.includes(scope));
  return refused.length > 0 ? { refused } : { granted: [...new Set(asked)] };
}
