// The fence around an operator of one tenant: handlers get desks that hold nothing but the tenant, so none can forget it. Desks
// that cannot be fenced refuse whatever is asked of them, also where the table lets such an operator in by mistake.
import type { AuditStore } from '../stores/contracts/audit.ts';
import type { AdminDependencies, AuditDesk, ClientDesk } from './dependencies.ts';
import { fencedRevocations } from './fence-revocations.ts';
import { fencedTokens, proofsOf } from './fence-tokens.ts';
import { tenantExceeded } from './tenant.ts';

/** What the handler of one call is given for an operator of `tenant`; made anew for each call. */
export function fenced(whole: AdminDependencies, tenant: string): AdminDependencies {
  const { clock, log, metrics, version, application, startedAtMs, hostNames } = whole;
  const proofs = proofsOf(whole, tenant);
  // Member by member: a desk that is new has to be thought about here before it reaches anybody.
  return {
    ...{ clock, log, metrics, version, application, startedAtMs, hostNames },
    tokens: fencedTokens(whole, tenant, proofs),
    revocations: fencedRevocations(whole, tenant, proofs),
    clients: whole.clients && fencedClients(whole.clients, tenant),
    grants: whole.grants?.within(tenant),
    auditDesk: whole.auditDesk && fencedAudit(whole.auditDesk, tenant),
    ownedFamilies: closed(),
    operators: closed(),
    operatorStore: closed(),
    audit: closed(),
    idempotency: closed(),
    limits: closed(),
    upkeep: closed(),
    signingKeys: closed(),
    dataKeys: closed(),
    decisions: closed(),
    config: closed(),
    explain: closed(),
    drain: closed(),
    readiness: closed(),
    routes: closed(),
    upstreams: closed(),
    counts: closed(),
    beforeScrape: closed(),
    metricsText: closed(),
    refusedElsewhere: (draft) => whole.refusedElsewhere?.(draft, tenant) ?? Promise.resolve(0),
  };
}

/** Throws `tenant_exceeded` whatever is read or called of it, but for the members of `open`. */
function closed(open: object = {}): never {
  const refuse = () => {
    throw tenantExceeded();
  };
  const get = (_: unknown, name: string | symbol) => (Object.hasOwn(open, name) ? Reflect.get(open, name) : refuse());
  // `never` fits every desk: nothing can be had of it.
  return new Proxy(refuse, { apply: refuse, get }) as never;
}

const fencedClients = ({ within, announce, known }: ClientDesk, tenant: string): ClientDesk => ({
  ...{ store: within(tenant), announce, known },
  within: closed(),
  initialTokens: closed(),
});

const fencedAudit = ({ store, sealer, settled }: AuditDesk, tenant: string): AuditDesk => ({
  store: closed({
    find: async (filter, after, limit) =>
      (filter.tenant ?? tenant) === tenant ? store.find({ ...filter, tenant }, after, limit) : [],
  } satisfies Pick<AuditStore, 'find'>),
  sealer,
  settled,
  keys: closed(),
});
