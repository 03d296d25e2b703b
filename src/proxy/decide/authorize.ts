// What a route demands of a principal: scopes, roles, claims, tenant (design 4.9). Compiled when the configuration loads.
import type { RouteConfig } from '../../config/schema.ts';
import type { Principal } from '../../core/principal.ts';
import type { Reason } from '../../core/reasons.ts';

type Many = readonly string[] | { readonly any: readonly string[] };

/** The compiled `require` block of a route. */
export interface Requirement {
  /** First demand that the principal does not meet; undefined when all are met. */
  unmet(principal: Principal): Reason | undefined;
  readonly scopes: readonly string[] | undefined;
}

/** Compiles `require`; undefined when nothing is demanded. */
export function requirement(block: RouteConfig['require']): Requirement | undefined {
  if (block === undefined) return undefined;
  const { scopes, roles } = block;
  const claims = Object.entries(block.claims ?? {});
  return {
    scopes: scopes === undefined ? undefined : namesOf(scopes),
    unmet(principal) {
      if (scopes !== undefined && !meets(principal.scopes, scopes)) return 'scope_insufficient';
      if (roles !== undefined && !meets(principal.roles, roles)) return 'role_insufficient';
      for (const [name, allowed] of claims) {
        if (!claimMeets(name === 'tenant' ? principal.tenant : ownClaim(principal, name), allowed))
          return 'claim_mismatch';
      }
      return undefined;
    },
  };
}

const namesOf = (many: Many) => ('any' in many ? many.any : many);

function meets(held: readonly string[], demanded: Many): boolean {
  if ('any' in demanded) return demanded.any.some((name) => held.includes(name));
  return (demanded as readonly string[]).every((name) => held.includes(name));
}

/** Own properties only: a claim called `constructor` is not there unless the issuer put it there. */
function ownClaim(principal: Principal, name: string): unknown {
  return Object.hasOwn(principal.claims, name) ? principal.claims[name] : undefined;
}

/** An array claim matches by membership, never as joined text (attack 28). */
function claimMeets(value: unknown, allowed: readonly unknown[]): boolean {
  return Array.isArray(value) ? value.some((element) => allowed.includes(element)) : allowed.includes(value);
}
