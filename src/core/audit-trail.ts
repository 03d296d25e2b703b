// What every part that changes something tells the audit log, and what it may rely on. The durable log is audit/'s; without
// PostgreSQL only a log line is written.
import type { AuditType } from './audit-types.ts';

/** Who did it. `anonymous` is a caller whose credential was refused. */
export type AuditActorKind = 'operator' | 'client' | 'user' | 'system' | 'anonymous';

/** What happened. Details are words and ids, never a token, secret or key. */
export interface AuditDraft {
  readonly type: AuditType;
  readonly actor: { readonly kind: AuditActorKind; readonly id?: string | undefined };
  /** Default: success. */
  readonly outcome?: 'success' | 'failure' | undefined;
  /** Why, for failures: a reason of core/reasons.ts or another closed word. */
  readonly reason?: string | undefined;
  readonly address?: string | undefined;
  readonly requestId?: string | undefined;
  readonly subject?: string | undefined;
  readonly client?: string | undefined;
  readonly tenant?: string | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** Takes events. */
export interface AuditTrail {
  /**
   * Resolves once the event outlives this process (local spool or PostgreSQL). Rejects with `store_unavailable` and reason
   * `audit_unavailable` when it can be kept nowhere: what happened must then not be confirmed to the caller.
   */
  record(draft: AuditDraft): Promise<void>;
  /** To be called before a change, so that none is made that could not be recorded. Rejects as `record` does. */
  requireRoom(): Promise<void>;
}
