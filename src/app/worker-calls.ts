// What the primary process and its workers ask of one another: the whole contract between them in one place. The primary
// has the private ports, the audit log and the upkeep; a worker has the proxy port and decides requests.

import type { UpstreamRow } from '../admin/dependencies.ts';
import type { ReadinessFacts } from '../admin/readiness.ts';
import type { ShippedConfig } from '../config/shipped.ts';
import type { AuditDraft } from '../core/audit-trail.ts';
import type { ClientNotice } from '../stores/contracts/clients.ts';
import type { KeptDecision } from '../stores/contracts/decisions.ts';
import type { RevocationDraft, RevocationEntry } from '../stores/contracts/revocations.ts';
import type { MetricValues } from './worker-metrics.ts';

/** What a worker is started with. */
export interface WorkerStart {
  /** From 1. */
  readonly number: number;
  /** Workers in all, by which what is bounded per process is divided. */
  readonly count: number;
  /** By which a store counts the processes that share it; the same for the process that takes this one's place. */
  readonly instanceId: string;
  readonly config: ShippedConfig;
}

/** How a worker is, told twice a second. */
export interface WorkerState {
  readonly facts: ReadinessFacts;
  readonly counts: Readonly<Record<string, number>>;
}

/** What a worker answers. */
export type WorkerCalls = {
  /** Opens everything but the port. */
  readonly open: readonly [WorkerStart, undefined];
  /** Serves on this port from now on; answers the URL. */
  readonly listen: readonly [number, string];
  /** Compiles a configuration without using it; rejects for one that cannot be used. */
  readonly prepare: readonly [ShippedConfig, undefined];
  /** Uses what was prepared, or forgets it. */
  readonly decide: readonly ['use' | 'forget', undefined];
  /** Revocations that the shared log does not have yet. */
  readonly hold: readonly [readonly RevocationEntry[], undefined];
  /** One of them is taken back. */
  readonly withdraw: readonly [string, undefined];
  /** A client's record changed. */
  readonly notice: readonly [ClientNotice, undefined];
  /** For `GET /v1/upstreams`. */
  readonly upstreams: readonly [undefined, readonly UpstreamRow[]];
  readonly metrics: readonly [undefined, readonly MetricValues[]];
  readonly decisions: readonly [
    { readonly filter: Readonly<Record<string, string>>; readonly limit: number },
    readonly KeptDecision[],
  ];
  /** How many tokens remembered there the revocation would refuse; those of a tenant that we signed, when one is given. */
  readonly wouldRefuse: readonly [{ readonly draft: RevocationDraft; readonly tenant: string | undefined }, number];
  /** Answers once it is over: whether everything had finished. */
  readonly drain: readonly [undefined, boolean];
  /** Cuts what is left, closes and exits. */
  readonly close: readonly [undefined, undefined];
};

/** What the primary answers. */
export type PrimaryCalls = {
  readonly state: readonly [WorkerState, undefined];
  /** Resolves once the event is durable; rejects as AuditTrail.record. */
  readonly audit: readonly [AuditDraft, undefined];
  /** As AuditTrail.requireRoom. */
  readonly auditRoom: readonly [undefined, undefined];
  /** As for workers: told to all the others. */
  readonly hold: readonly [readonly RevocationEntry[], undefined];
  readonly withdraw: readonly [string, undefined];
  readonly notice: readonly [ClientNotice, undefined];
};
