// One call to a public endpoint as its endpoint sees it, and the client that proved itself in it.
import type { IncomingMessage } from 'node:http';
import type { ClientAddress } from '../../core/address.ts';
import type { AuditDraft } from '../../core/audit-trail.ts';
import type { AuditType } from '../../core/audit-types.ts';
import type { Client } from '../../stores/contracts/clients.ts';
import type { OAuthDependencies, OAuthSettings } from './dependencies.ts';
import type { OAuthAnswer } from './send.ts';

/** A call. */
export interface OAuthExchange {
  readonly parts: OAuthDependencies;
  readonly settings: OAuthSettings;
  readonly request: IncomingMessage;
  readonly requestId: string;
  readonly address: ClientAddress;
}

/** What answers a call; throws OAuthError, or SidecarError `store_unavailable`. */
export type OAuthEndpoint = (exchange: OAuthExchange) => Promise<OAuthAnswer> | OAuthAnswer;

/** An audit event of this call by this client; resolves once it is durable. */
export function record(
  { parts, requestId, address }: OAuthExchange,
  type: AuditType,
  client: Client | undefined,
  more: Partial<AuditDraft> = {},
): Promise<void> {
  return parts.audit.record({
    type,
    actor: client === undefined ? { kind: 'anonymous' } : { kind: 'client', id: client.clientId },
    address: address.address,
    requestId,
    client: client?.clientId,
    tenant: client?.tenant,
    ...more,
  });
}

/** For events of refusals: their loss must not turn the answer. */
export async function recordQuietly(...args: Parameters<typeof record>): Promise<void> {
  try {
    await record(...args);
  } catch (error) {
    const [{ parts, requestId }, type] = args;
    parts.log.warn({ err: error, type, request_id: requestId }, 'audit_event_lost');
  }
}
