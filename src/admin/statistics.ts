// Figures of everything that is kept durably, and the removal of what has expired, for operators.
import { z } from 'zod';
import { SidecarError } from '../core/errors.ts';
import { revocationKinds } from '../stores/contracts/revocations.ts';
import type { AdminDependencies, UpkeepDesk } from './dependencies.ts';
import { endpoint, notConfigured } from './endpoint.ts';
import { auditType, count, time } from './shapes.ts';

function deskOf({ upkeep }: AdminDependencies): UpkeepDesk {
  if (upkeep === undefined) throw notConfigured('statistics and cleanup need `postgres` in sidecar.yaml');
  return upkeep;
}

const outcome = z.enum(['success', 'failure']);
const statisticsShape = z.strictObject({
  at: time,
  clients: z.array(
    z.strictObject({
      issuer: z.string(),
      tier: z.string().nullable(),
      state: z.enum(['enabled', 'disabled']),
      external: z.boolean(),
      clients: count,
    }),
  ),
  grants: z.array(z.strictObject({ issuer: z.string(), families: count, codes: count })),
  tokens: z.array(z.strictObject({ day: z.iso.date(), type: auditType, outcome, events: count })),
  revocations: z.array(z.strictObject({ kind: z.enum(revocationKinds), active: count })),
  signing_keys: z.array(
    z.strictObject({
      issuer: z.string(),
      state: z.enum(['pending', 'active', 'retiring', 'retired', 'banned']),
      keys: count,
    }),
  ),
  webauthn_credentials: z.array(
    z.strictObject({ tenant: z.string().nullable(), data_key: z.string(), credentials: count }),
  ),
  operators: z.array(
    z.strictObject({ role: z.string().nullable(), state: z.enum(['active', 'expired']), operators: count }),
  ),
  audit: z.array(
    z.strictObject({
      type: auditType,
      category: z.string(),
      severity: z.enum(['info', 'notice', 'warning', 'alert']),
      outcome,
      events: count,
    }),
  ),
});

/** GET /v1/statistics: the views statistics_* of PostgreSQL. */
export const showStatistics = endpoint({
  method: 'GET',
  path: '/v1/statistics',
  permission: 'statistics:read',
  answers: { 200: statisticsShape },
  refusals: ['not_configured'],
  summary: 'Clients, grants, tokens by day, revocations, keys, operators and audit events, counted.',
  handler: async (dependencies) => {
    const { signingKeys, webauthnCredentials, ...figures } = await deskOf(dependencies).statistics();
    const credentials = webauthnCredentials.map(({ dataKey, ...row }) => ({ ...row, data_key: dataKey }));
    const at = new Date(dependencies.clock.nowMs()).toISOString();
    return { status: 200, body: { at, ...figures, signing_keys: signingKeys, webauthn_credentials: credentials } };
  },
});

/** POST /v1/cleanup: 200 with counts; it runs by itself every ten minutes. */
export const cleanUp = endpoint({
  method: 'POST',
  path: '/v1/cleanup',
  permission: 'cleanup:write',
  event: 'cleanup.done',
  body: z.strictObject({}),
  answers: { 200: z.strictObject({ removed: z.record(z.string(), count), total: count }) },
  refusals: ['not_configured', 'cleanup_busy'],
  summary: 'Remove what has expired now, and count it.',
  handler: async (dependencies) => {
    const removed = await deskOf(dependencies).cleanUp();
    if (removed === 'busy') throw new SidecarError('conflict', 'cleanup_busy', 'another replica is at it');
    const total = Object.values(removed).reduce((sum, each) => sum + each, 0);
    return { status: 200, body: { removed, total }, audit: { removed } };
  },
});
