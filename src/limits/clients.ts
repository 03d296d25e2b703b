// Client records as limits need them: tier, own rates, disabled. Static ones come from sidecar.yaml; published ones will
// come through the same interface.
import type { Rate } from '../core/units.ts';

/** What is known about a client beyond its tokens. */
export interface ClientRecord {
  readonly tier: string | undefined;
  /** Own rates by limit name; they win over the tier. */
  readonly limits: Readonly<Record<string, readonly Rate[]>>;
  readonly disabled: boolean;
}

/** Where records come from. */
export interface ClientRecords {
  /** Changes whenever any record does: what was worked out from records before is stale then. */
  readonly version: number;
  get(issuerName: string, clientId: string): ClientRecord | undefined;
}

/** A record as sidecar.yaml writes it. */
export interface StaticClient {
  readonly id: string;
  readonly issuer: string;
  readonly tier?: string | undefined;
  readonly limits: Readonly<Record<string, readonly Rate[]>>;
  readonly disabled: boolean;
}

/** Records that never change. */
export function staticClients(clients: Readonly<Record<string, StaticClient>>): ClientRecords {
  const byIssuer = new Map<string, Map<string, ClientRecord>>();
  for (const { id, issuer, tier, limits, disabled } of Object.values(clients)) {
    const ids = byIssuer.get(issuer) ?? new Map<string, ClientRecord>();
    ids.set(id, { tier, limits, disabled });
    byIssuer.set(issuer, ids);
  }
  return { version: 0, get: (issuerName, clientId) => byIssuer.get(issuerName)?.get(clientId) };
}
