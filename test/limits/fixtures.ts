// Principals and plans for the tests of this folder.
import { type SidecarInput, sidecarSchema } from '../../src/config/schema.ts';
import { addressKey } from '../../src/core/address.ts';
import type { Principal } from '../../src/core/principal.ts';
import { staticClients } from '../../src/limits/clients.ts';
import { chargesFor, compileLimits, type LimitMemo, type LimitPlan } from '../../src/limits/plan.ts';

export const ISSUER = 'https://id.example';

/** A verified principal; ids as given. */
export function principal(more: Partial<Principal> = {}): Principal {
  return {
    issuerName: 'corp',
    issuer: ISSUER,
    subject: 'alice',
    client: 'billing',
    scopes: [],
    roles: [],
    tenant: 'acme',
    tokenId: 'jti-1',
    session: undefined,
    family: undefined,
    keyId: 'k1',
    issuedAtMs: 1_700_000_000_000,
    expiresAtMs: 1_700_000_900_000,
    claims: {},
    ...more,
  };
}

/** Plans of a configuration with these blocks. */
export function plansOf(blocks: Pick<SidecarInput, 'limits' | 'routes'> & Partial<SidecarInput>, name = 'shop') {
  const config = sidecarSchema.parse({ version: 1, upstreams: { app: { url: 'http://127.0.0.1:1' } }, ...blocks });
  return compileLimits(config, name, staticClients(config.clients));
}

/** The only plan of a configuration with one route. */
export function planOf(
  limits: NonNullable<SidecarInput['limits']>,
  more: Partial<SidecarInput> = {},
  name = 'shop',
): LimitPlan {
  const routes = { all: { match: { prefix: '/' }, limits: Object.keys(limits) } };
  return plansOf({ limits, routes, ...more }, name).get('all') as LimitPlan;
}

/** Charges of one request. */
export function charges(plan: LimitPlan, address: string, who?: Principal, memo?: LimitMemo) {
  return chargesFor(plan, address, addressKey(address), who, memo);
}

/** Limit keys of one request. */
export const keysOf = (plan: LimitPlan, address: string, who?: Principal) =>
  charges(plan, address, who).charges.map(({ key }) => key);
