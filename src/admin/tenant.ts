// Words about operators that are bound to one tenant. What they are handed is fence.ts's.
import { isPublicHttps } from '../clients/registration.ts';
import { SidecarError } from '../core/errors.ts';
import type { AdminCall } from './endpoint.ts';
import { FieldsError } from './endpoint.ts';

/** The call reaches beyond the tenant of its operator: 403. */
export const tenantExceeded = (message = 'this reaches beyond the tenant of the operator'): SidecarError =>
  new SidecarError('forbidden', 'tenant_exceeded', message);

/**
 * Throws FieldsError when an operator of a tenant gives one of these fields. Ids of clients are one space for all tenants, so
 * choosing them would tell whose they are; tiers and limits are between the tenant and who runs the sidecar.
 */
export function refuseFields(
  { operator }: Pick<AdminCall, 'operator'>,
  body: Readonly<Record<string, unknown>>,
  names: readonly string[],
): void {
  if (operator.tenant === undefined) return;
  const given = names.filter((name) => body[name] !== undefined);
  if (given.length === 0) return;
  throw new FieldsError(given.map((path) => ({ path, problem: 'is not for an operator of a tenant' })));
}

/**
 * Throws FieldsError when an operator of a tenant would have us fetch keys from where it may not reach itself: the network
 * that this sidecar stands in is nobody's tenant (attack 124).
 */
export function refusePrivateKeys({ operator }: Pick<AdminCall, 'operator'>, uri: string | null | undefined): void {
  if (operator.tenant === undefined || typeof uri !== 'string' || isPublicHttps(uri)) return;
  throw new FieldsError([{ path: 'jwks_uri', problem: 'needs an https URL of a public host' }]);
}

/** Throws `tenant_exceeded` when an operator of a tenant means another one. Fenced stores do so for what is changed. */
export function requireOwnTenant(
  { operator }: Pick<AdminCall, 'operator'>,
  { tenant }: { readonly tenant: string | undefined },
): void {
  if (operator.tenant !== undefined && (tenant ?? operator.tenant) !== operator.tenant) throw tenantExceeded();
}
