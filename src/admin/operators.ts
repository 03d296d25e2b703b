// Adding, listing and removing operators. Nobody grants or takes away what it does not have itself, nor for longer, and the last one who can
// manage the others stays.
import { z } from 'zod';
import { SidecarError } from '../core/errors.ts';
import { randomId } from '../core/ids.ts';
import { parseDuration } from '../core/units.ts';
import type { OperatorRecord, OperatorStore } from '../stores/contracts/operators.ts';
import type { AdminDependencies } from './dependencies.ts';
import { type AdminCall, endpoint, FieldsError, notConfigured, notFound } from './endpoint.ts';
import { mintOperatorToken, operatorTokenDigest } from './operator-token.ts';
import { pageFrom, pageQuery } from './pages.ts';
import { covers, permissionNames, permissionsOf } from './roles.ts';
import { pageShape, timeOrNull } from './shapes.ts';

const PREFIX_LENGTH = 10;
const CERTIFICATE =
  /^(?:sha256:[0-9a-f]{64}|dns:[a-z0-9.*-]{1,253}|uri:[\x21-\x7e]{1,512}|email:[\x21-\x7e]{3,320}|cn:[\x20-\x7e]{1,128})$/;

const newOperator = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/, 'needs 1 to 64 letters, digits and . _ @ -'),
  role: z.enum(['viewer', 'editor', 'admin']).optional(),
  permissions: z
    .array(z.string().refine((name) => permissionNames.includes(name), 'is no permission there is'))
    .max(100)
    .default([]),
  /** The one tenant that it shall reach; default: everything. */
  tenant: z
    .string()
    .min(1)
    .max(200)
    .regex(/^[^\p{Cc}]*$/u, 'must not hold control characters')
    .optional(),
  /** A duration from now; default: never. */
  expires: z
    .string()
    .refine((text) => (parseDuration(text) ?? 0) >= 60_000, 'needs a duration of at least 1m, such as 90d')
    .optional(),
  /** For callers with a client certificate; they get no token. */
  certificate: z.string().regex(CERTIFICATE, 'needs sha256:, dns:, uri:, email: or cn: and a name').optional(),
});

const shownOperator = z.strictObject({
  id: z.string(),
  name: z.string(),
  role: z.enum(['viewer', 'editor', 'admin']).nullable(),
  permissions: z.array(z.string()),
  tenant: z.string().nullable(),
  token_prefix: z.string().nullable(),
  certificate: z.string().nullable(),
  created_at: timeOrNull,
  created_by: z.string(),
  expires_at: timeOrNull,
  last_used_at: timeOrNull,
});

/** POST /v1/operators: 201 with the token, which is shown nowhere else. */
export const addOperator = endpoint({
  method: 'POST',
  path: '/v1/operators',
  permission: 'operators:write',
  event: 'operator.added',
  body: newOperator,
  answers: { 201: shownOperator.extend({ token: z.string().optional() }) },
  refusals: ['operator_exists', 'grant_exceeded', 'not_configured'],
  summary: 'Add an operator; its token is shown once.',
  handler: async (dependencies, { body, operator }) => {
    const store = storeOf(dependencies);
    const granted = permissionsOf(body.role, body.permissions);
    if (granted.length === 0) throw new FieldsError([{ path: 'role', problem: 'needs a role or permissions' }]);
    if (!covers(operator.permissions, granted)) throw exceeded('an operator cannot grant what it does not have');
    const nowMs = dependencies.clock.nowMs();
    const expiresAtMs = body.expires === undefined ? undefined : nowMs + (parseDuration(body.expires) as number);
    if ((expiresAtMs ?? Number.POSITIVE_INFINITY) > (operator.expiresAtMs ?? Number.POSITIVE_INFINITY)) {
      throw exceeded('an operator cannot grant for longer than it may itself');
    }
    const token = body.certificate === undefined ? mintOperatorToken() : undefined;
    const record: OperatorRecord = {
      id: `op_${randomId()}`,
      name: body.name,
      tokenDigest: token && operatorTokenDigest(token),
      tokenPrefix: token?.slice(0, PREFIX_LENGTH),
      certificate: body.certificate,
      role: body.role,
      permissions: body.permissions,
      tenant: body.tenant,
      createdAtMs: nowMs,
      createdBy: operator.id,
      expiresAtMs,
      lastUsedAtMs: undefined,
    };
    // The operator of the state folder goes first: found second, its token would be retired.
    await dependencies.operators.refresh();
    if (!(await store.add(record))) {
      throw new SidecarError('conflict', 'operator_exists', 'an operator with this name or certificate exists');
    }
    const { role, permissions, tenant } = body;
    return {
      status: 201,
      body: { ...shown(record), ...(token === undefined ? {} : { token }) },
      audit: {
        operator: record.id,
        name: body.name,
        role,
        permissions,
        tenant,
        certificate: body.certificate,
        expires: body.expires,
      },
    };
  },
});

/** GET /v1/operators: newest first, without digests. */
export const listOperators = endpoint({
  method: 'GET',
  path: '/v1/operators',
  permission: 'operators:read',
  query: z.strictObject(pageQuery),
  answers: { 200: pageShape(shownOperator) },
  refusals: ['not_configured'],
  summary: 'All operators, newest first, by cursor pages.',
  handler: async (dependencies, { query }) => {
    const store = storeOf(dependencies);
    const page = await pageFrom(
      (after, limit) => store.page(after && { createdAtMs: after.atMs, id: after.id }, limit),
      ({ createdAtMs, id }) => ({ atMs: createdAtMs, id }),
      query,
    );
    return { status: 200, body: { ...page, items: page.items.map(shown) } };
  },
});

/** DELETE /v1/operators/{id}: by id or name; its token is refused on every replica once this has answered. */
export const removeOperator = endpoint({
  method: 'DELETE',
  path: '/v1/operators/{id}',
  permission: 'operators:write',
  event: 'operator.removed',
  answers: { 204: null },
  refusals: ['operator_last', 'grant_exceeded', 'not_configured'],
  summary: 'Remove an operator; its token is refused at once.',
  handler: async (dependencies, call) => {
    const store = storeOf(dependencies);
    const record = await store.find(call.path.id as string);
    if (record === undefined) throw notFound('no such operator');
    requireMightier(call, record);
    const outcome = await store.remove(record.id, dependencies.clock.nowMs());
    if (outcome === 'missing') throw notFound('no such operator');
    if (outcome === 'last') throw new SidecarError('conflict', 'operator_last', 'nobody could manage operators then');
    await dependencies.operators.refresh();
    return { status: 204, audit: { operator: record.id, name: record.name } };
  },
});

function requireMightier({ operator }: Pick<AdminCall, 'operator'>, record: OperatorRecord): void {
  if (covers(operator.permissions, permissionsOf(record.role, record.permissions))) return;
  throw exceeded('an operator cannot remove one who may do more');
}

const exceeded = (message: string) => new SidecarError('forbidden', 'grant_exceeded', message);

function storeOf({ operatorStore }: AdminDependencies): OperatorStore {
  if (operatorStore === undefined) throw notConfigured('operators beyond the first need `postgres` in sidecar.yaml');
  return operatorStore;
}

const timeOf = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());

/** An operator as others may see it: never the digest, by which guesses could be checked elsewhere. */
function shown(record: OperatorRecord): Record<string, unknown> {
  return {
    id: record.id,
    name: record.name,
    role: record.role ?? null,
    permissions: record.permissions,
    tenant: record.tenant ?? null,
    token_prefix: record.tokenPrefix ?? null,
    certificate: record.certificate ?? null,
    created_at: timeOf(record.createdAtMs),
    created_by: record.createdBy,
    expires_at: timeOf(record.expiresAtMs),
    last_used_at: timeOf(record.lastUsedAtMs),
  };
}
