// Client records as limits need them: tier, own rates, disabled. Static ones come from sidecar.yaml; known ones from the
// control plane, which replicas hear of while they run (app/known-clients.ts).
import type { Rate } from '../core/units.ts';
import type { ClientNotice } from '../stores/contracts/clients.ts';

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

/** What this replica was told of clients by the control plane; all of it is in memory. Here the issuer is the exact `iss`. */
export class KnownClients {
  readonly #notices = new Map<string, Map<string, ClientNotice>>();
  readonly #onChange: () => void;
  #version = 0;
  #size = 0;

  /** `onChange` follows every notice that changed something: what was refused on the old record's word is to be forgotten. */
  constructor(onChange: () => void = () => undefined) {
    this.#onChange = onChange;
  }

  /** Grows with every change. */
  get version(): number {
    return this.#version;
  }

  /** Clients known, removed ones left out. */
  get size(): number {
    return this.#size;
  }

  /** Takes a notice over unless a later one of this client is known: false then, and an old record never comes back. */
  put(notice: ClientNotice): boolean {
    const ids = this.#notices.get(notice.issuer) ?? new Map<string, ClientNotice>();
    const before = ids.get(notice.clientId);
    if (before !== undefined && before.version >= notice.version) return false;
    this.#notices.set(notice.issuer, ids);
    ids.set(notice.clientId, notice);
    this.#size += Number(!notice.removed) - Number(before !== undefined && !before.removed);
    this.#version += 1;
    this.#onChange();
    return true;
  }

  /** Undefined for a client that is not known or was removed. */
  get(issuer: string, clientId: string): ClientRecord | undefined {
    const notice = this.#notices.get(issuer)?.get(clientId);
    return notice === undefined || notice.removed ? undefined : notice;
  }
}

/**
 * Records of both sources. What the control plane says wins: tier and rates per limit; the file fills in what it leaves open,
 * and may disable a client that the control plane has not. `issuerOf` gives `iss` by the name of the issuer block.
 */
export function layeredClients(
  fixed: ClientRecords,
  known: Pick<KnownClients, 'version' | 'get'>,
  issuerOf: (issuerName: string) => string | undefined,
): ClientRecords {
  return {
    get version() {
      return known.version;
    },
    get(issuerName, clientId) {
      const issuer = issuerOf(issuerName);
      const told = issuer === undefined ? undefined : known.get(issuer, clientId);
      const written = fixed.get(issuerName, clientId);
      if (told === undefined || written === undefined) return told ?? written;
      return {
        tier: told.tier ?? written.tier,
        limits: { ...written.limits, ...told.limits },
        disabled: told.disabled || written.disabled,
      };
    },
  };
}
