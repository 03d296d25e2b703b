// What the audit log learns of calls to the admin port: changes with their outcome, refusals of credentials and permissions,
// and reads. Room for the event is asked for before a change is made, so that none happens unseen.
import type { AuditDraft } from '../core/audit-trail.ts';
import { SidecarError } from '../core/errors.ts';
import type { Reason } from '../core/reasons.ts';
import type { AdminDependencies } from './dependencies.ts';
import type { AdminAnswer, Endpoint } from './endpoint.ts';
import type { Operator } from './operator-token.ts';

/** The call an event is about. */
export interface AuditedCall {
  readonly requestId: string;
  readonly address: string;
  readonly operator: Operator;
  readonly endpoint: Endpoint;
}

/** Read by probes and by every gateway all day: an event each would bury the others. */
const UNRECORDED: ReadonlySet<string> = new Set(['GET /v1/status', 'POST /v1/tokens/introspect']);

const what = ({ method, path }: Endpoint) => `${method} ${path}`;
const isChange = ({ permission }: Endpoint) => permission.endsWith(':write');

/** Rejects with `audit_unavailable` when the endpoint changes something and the event would have no place. */
export async function requireAudit({ audit }: AdminDependencies, endpoint: Endpoint): Promise<void> {
  if (isChange(endpoint)) await audit.requireRoom();
}

/** Records a call that succeeded; resolves once the event is durable, and only then is the answer sent. */
export async function auditAnswer(
  dependencies: AdminDependencies,
  call: AuditedCall,
  answer: AdminAnswer,
): Promise<void> {
  const { endpoint } = call;
  if (answer.audit === undefined) return auditRead(dependencies, call);
  const { subject, client, tenant, ...details } = answer.audit;
  await dependencies.audit.record({
    ...drafted(call),
    type: answer.event ?? endpoint.event ?? 'admin.changed',
    subject: textOf(subject),
    client: textOf(client),
    tenant: call.operator.tenant ?? textOf(tenant),
    details: { what: what(endpoint), status: answer.status, ...details },
  });
}

/** Records a change that failed. Never rejects: the caller is told of the failure itself. */
export async function auditFailure(dependencies: AdminDependencies, call: AuditedCall, error: unknown): Promise<void> {
  const { endpoint } = call;
  const reason: Reason = error instanceof SidecarError ? error.reason : 'internal';
  // Nothing was changed, and there is no room to say so.
  if (!isChange(endpoint) || reason === 'audit_unavailable') return;
  await quietly(dependencies, {
    ...drafted(call),
    type: reason === 'config_refused' ? 'config.reload_refused' : (endpoint.event ?? 'admin.changed'),
    outcome: 'failure',
    reason,
    details: { what: what(endpoint) },
  });
}

/** Records that an operator may not call an endpoint. */
export function auditForbidden(dependencies: AdminDependencies, call: AuditedCall, reason: Reason): Promise<void> {
  const { endpoint } = call;
  return quietly(dependencies, {
    ...drafted(call),
    type: 'auth.forbidden',
    outcome: 'failure',
    reason,
    details: { what: what(endpoint), permission: endpoint.permission },
  });
}

/** Records that a credential was refused. Bounded by the tries that an address has. */
export function auditRefused(dependencies: AdminDependencies, requestId: string, address: string): Promise<void> {
  return quietly(dependencies, {
    type: 'auth.failed',
    actor: { kind: 'anonymous' },
    outcome: 'failure',
    reason: 'operator_token_refused',
    requestId,
    address,
  });
}

function auditRead(dependencies: AdminDependencies, call: AuditedCall): Promise<void> {
  if (UNRECORDED.has(what(call.endpoint))) return Promise.resolve();
  return quietly(dependencies, { ...drafted(call), type: 'admin.read', details: { what: what(call.endpoint) } });
}

const drafted = ({ operator, address, requestId }: AuditedCall) => ({
  actor: { kind: 'operator' as const, id: operator.id },
  address,
  requestId,
  // What an operator of a tenant does, or tries, is the tenant's to see.
  tenant: operator.tenant,
});

const textOf = (value: unknown) => (typeof value === 'string' ? value : undefined);

/** For events whose loss must not turn the answer: the trail has told of it. */
async function quietly({ audit, log }: AdminDependencies, draft: AuditDraft): Promise<void> {
  try {
    await audit.record(draft);
  } catch (error) {
    log.warn({ err: error, type: draft.type, request_id: draft.requestId }, 'audit_event_lost');
  }
}
