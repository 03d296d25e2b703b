// Live grants: who let which client act in whose name, and ending one. All grants of a subject, client, session or tenant end
// with a revocation of that kind.
import { z } from 'zod';
import type { FamilyRecord } from '../stores/contracts/grants.ts';
import type { AdminDependencies } from './dependencies.ts';
import { endpoint, FieldsError, notConfigured, notFound } from './endpoint.ts';
import type { GrantDesk, GrantsToEnd } from './grant-desk.ts';
import { decodeCursor, encodeCursor, pageQuery } from './pages.ts';
import { reason } from './revocation-draft.ts';
import { applied, count, pageShape, time, timeOrNull } from './shapes.ts';

function deskOf({ grants }: AdminDependencies): GrantDesk {
  if (grants === undefined) throw notConfigured('grants need `postgres` and `proxy.endpoints.oauth` in sidecar.yaml');
  return grants;
}

const timeOf = (ms: number) => new Date(ms).toISOString();

/** A grant as operators read it; nothing in it redeems anything. */
function shown(family: FamilyRecord): Record<string, unknown> {
  const { familyId, client, subject, session, tenant, scopes, audience, counter, rotatedAtMs } = family;
  return {
    id: familyId,
    ...{ client, subject, session: session ?? null, tenant: tenant ?? null, scopes, audience },
    refreshed: counter,
    created_at: timeOf(family.createdAtMs),
    refreshed_at: rotatedAtMs === undefined ? null : timeOf(rotatedAtMs),
    idle_until: timeOf(family.idleUntilMs),
    expires_at: timeOf(family.expiresAtMs),
  };
}

const shownGrant = z.strictObject({
  id: z.string(),
  client: z.string(),
  subject: z.string(),
  session: z.string().nullable(),
  tenant: z.string().nullable(),
  scopes: z.array(z.string()),
  audience: z.array(z.string()),
  refreshed: count,
  created_at: time,
  refreshed_at: timeOrNull,
  idle_until: time,
  expires_at: time,
});

const wanted = z.string().min(1).max(1024).optional();

/** GET /v1/grants: live ones, newest first. */
export const listGrants = endpoint({
  method: 'GET',
  path: '/v1/grants',
  permission: 'grants:read',
  reach: 'tenant',
  query: z.strictObject({ ...pageQuery, subject: wanted, client: wanted, session: wanted, tenant: wanted }),
  answers: { 200: pageShape(shownGrant) },
  refusals: ['not_configured'],
  summary: 'Live grants, by subject, client, session or tenant, newest first, by cursor pages.',
  handler: async (dependencies, { query }) => {
    const { limit, cursor, ...filter } = query;
    const place = cursor === undefined ? undefined : decodeCursor(cursor);
    const after = place && { createdAtMs: place.atMs, familyId: place.id };
    const found = await deskOf(dependencies).page(filter, after, limit + 1);
    const items = found.slice(0, limit);
    const last = items.at(-1);
    const next =
      found.length > limit && last ? { next: encodeCursor({ atMs: last.createdAtMs, id: last.familyId }) } : {};
    return { status: 200, body: { items: items.map(shown), ...next } };
  },
});

/** DELETE /v1/grants/{id}: 204; its refresh token and access tokens are refused everywhere. */
export const endGrant = endpoint({
  method: 'DELETE',
  path: '/v1/grants/{id}',
  permission: 'grants:write',
  reach: 'tenant',
  event: 'grant.revoked',
  answers: { 204: null },
  refusals: ['not_configured'],
  summary: 'End a grant with all its tokens.',
  handler: async (dependencies, { path }) => {
    const ended = await deskOf(dependencies).end(path.id as string);
    if (ended === undefined) throw notFound('no such grant');
    const { subject, client, tenant, familyId: family } = ended;
    return { status: 204, audit: { family, subject, client, tenant } };
  },
});

const endingMany = z.strictObject({
  subject: wanted,
  session: wanted,
  except_session: wanted,
  except_grant: wanted,
  reason,
});

/** POST /v1/grants/end: 200 with how many, also when there was nothing to end; the reason stands in the revocation list. */
export const endGrants = endpoint({
  method: 'POST',
  path: '/v1/grants/end',
  permission: 'grants:write',
  reach: 'tenant',
  event: 'grant.revoked',
  body: endingMany,
  answers: { 200: z.strictObject({ grants: count, codes: count, applied }) },
  refusals: ['not_configured'],
  summary:
    'End all grants of a session, or of a subject, with their tokens; of a subject if need be without one session or grant. Later logins pass.',
  handler: async (dependencies, { body }) => {
    const { reason, ...named } = body;
    const { families, codes, applied } = await deskOf(dependencies).endAll(grantsToEnd(named), reason);
    return {
      status: 200,
      body: { grants: families, codes, applied },
      audit: { ...named, reason, grants: families, codes, applied },
    };
  },
});

function grantsToEnd(named: Omit<z.output<typeof endingMany>, 'reason'>): GrantsToEnd {
  const { subject, session, except_session: exceptSession, except_grant: exceptFamily } = named;
  if (subject !== undefined && session === undefined) return { subject, exceptSession, exceptFamily };
  if (session === undefined || subject !== undefined) {
    throw new FieldsError([{ path: 'subject', problem: 'is needed, or session instead of it' }]);
  }
  const excepted = Object.keys(named).filter((path) => path.startsWith('except_'));
  if (excepted.length === 0) return { session };
  throw new FieldsError(excepted.map((path) => ({ path, problem: 'goes with subject only' })));
}
