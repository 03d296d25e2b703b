// The audit trail as the program runs it: with PostgreSQL durable and chained, without it a log line only. Either way every
// event is one line `audit` in the log and one count in the metrics.
import { join } from 'node:path';
import type { AuditDesk } from '../admin/dependencies.ts';
import type { Component } from '../admin/readiness.ts';
import { DurableTrail, type TrailState } from '../audit/trail.ts';
import type { AuditTrouble } from '../audit/troubles.ts';
import type { AuditDraft, AuditTrail } from '../core/audit-trail.ts';
import type { Sealer } from '../stores/contracts/sealer.ts';
import { PostgresAudit } from '../stores/postgres/audit.ts';
import type { Postgres } from '../stores/postgres/pool.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { ControlPlaneParts } from './control-plane-parts.ts';

/** The durable trail and what operators read it through. */
export interface DurableAudit extends AsyncDisposable {
  readonly trail: DurableTrail;
  readonly desk: AuditDesk;
}

const DAY_MS = 86_400_000;
/** How long somebody who reads the audit log waits for what was recorded just before. */
const SETTLE_MS = 1000;

/** Opens the durable trail; nothing is sent before `trail.start()`, which needs the state folder to be surely ours. */
export function openAudit(parts: ControlPlaneParts, postgres: Postgres, sealer: Sealer): DurableAudit {
  const { loaded, stateDir, clock, log, metrics } = parts;
  const { audit } = loaded.config;
  const store = new PostgresAudit(postgres);
  const trail = new DurableTrail(
    {
      folder: join(stateDir, 'audit'),
      spoolBytes: audit?.spool ?? 16 * 1024 * 1024,
      retentionMs: audit?.retention ?? 400 * DAY_MS,
      checkpointEveryMs: audit?.checkpoint_every ?? 60_000,
      checkpointEvents: audit?.checkpoint_events ?? 1000,
      signingKey: audit?.signing_key && loaded.secrets.get(audit.signing_key),
    },
    {
      store,
      sealer,
      clock,
      onEvent: noted(log, metrics),
      onTrouble: (trouble, error) => tell(log, trouble, error),
      // Where a log collector keeps it, a database that was set back as a whole shows.
      onCheckpoint: (number, digest) => log.info({ number, digest }, 'audit_checkpoint'),
    },
  );
  return {
    trail,
    desk: { store, sealer, keys: () => trail.keys(), settled: async () => void (await trail.flushed(SETTLE_MS)) },
    [Symbol.asyncDispose]: () => trail[Symbol.asyncDispose](),
  };
}

/** The trail of a sidecar without `postgres`. */
export function logTrail(log: Log, metrics: Metrics): AuditTrail {
  const note = noted(log, metrics);
  return {
    record: async (draft) => note(draft),
    requireRoom: async () => undefined,
  };
}

/** What /readyz says about the trail. */
export function auditComponent({ waiting, waitingBytes, trouble }: TrailState): Component {
  return {
    status: trouble === undefined ? 'up' : 'degraded',
    detail: { waiting, waiting_bytes: waitingBytes, ...(trouble === undefined ? {} : { trouble }) },
  };
}

function noted(log: Log, metrics: Metrics) {
  return (draft: AuditDraft, id?: string): void => {
    const { type, actor, outcome = 'success', reason, address, requestId, subject, client, tenant, details } = draft;
    metrics.auditEvents.labels(type).inc();
    // Reads are kept in the table only.
    if (type === 'admin.read') return;
    const { what, status, ...rest } = details ?? {};
    log.info(
      {
        ...{ type, outcome, who: actor.id ?? actor.kind, what, from: address, request_id: requestId, status },
        ...{ reason, subject, client, tenant, event_id: id, details: rest },
      },
      'audit',
    );
  };
}

function tell(log: Log, trouble: AuditTrouble, error: unknown): void {
  const line = { trouble, err: error };
  if (trouble === 'store_away') log.warn(line, 'audit_trouble');
  else log.error(line, 'audit_trouble');
}
