// Data keys for operators: status (C19), rotation, re-sealing with its progress.
import { z } from 'zod';
import type { AdminDependencies } from './dependencies.ts';
import { endpoint, notConfigured } from './endpoint.ts';
import type { DataKeyDesk } from './key-desks.ts';
import { count, timeOrNull } from './shapes.ts';

function deskOf({ dataKeys }: AdminDependencies): DataKeyDesk {
  if (dataKeys === undefined) throw notConfigured('sealing needs `postgres` in sidecar.yaml');
  return dataKeys;
}

const timeOf = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());

async function statusOf(desk: DataKeyDesk): Promise<Record<string, unknown>> {
  const { keys, resealing } = await desk.status();
  const active = keys.find(({ state }) => state === 'active');
  return {
    active_key_id: active?.dataKeyId ?? null,
    kek_id: active?.kekId ?? null,
    total_keys: keys.length,
    seals: keys.reduce((sum, key) => sum + key.seals, 0),
    keys: keys.map((key) => ({
      id: key.dataKeyId,
      state: key.state,
      created_at: timeOf(key.createdAtMs),
      retired_at: timeOf(key.retiredAtMs),
      seals: key.seals,
    })),
    resealing,
  };
}

const status = z.strictObject({
  active_key_id: z.string().nullable(),
  kek_id: z.string().nullable(),
  total_keys: count,
  seals: count,
  keys: z.array(
    z.strictObject({
      id: z.string(),
      state: z.enum(['active', 'retired']),
      created_at: timeOrNull,
      retired_at: timeOrNull,
      seals: count,
    }),
  ),
  resealing: z.strictObject({ done: count, total: count, running: z.boolean(), unreadable: z.array(z.string()) }),
});

/** GET /v1/data-keys. */
export const showDataKeys = endpoint({
  method: 'GET',
  path: '/v1/data-keys',
  permission: 'keys:read',
  answers: { 200: status },
  refusals: ['not_configured'],
  summary: 'Data keys, how often they sealed, and how far re-sealing is.',
  handler: async (dependencies) => ({ status: 200, body: await statusOf(deskOf(dependencies)) }),
});

/** POST /v1/data-keys: 201; a new data key seals from now on, and re-sealing begins. */
export const rotateDataKey = endpoint({
  method: 'POST',
  path: '/v1/data-keys',
  permission: 'keys:write',
  event: 'data_key.rotated',
  answers: { 201: status },
  refusals: ['not_configured'],
  summary: 'Make a new data key the active one, and begin to re-seal.',
  handler: async (dependencies) => {
    const desk = deskOf(dependencies);
    const id = await desk.rotate();
    return { status: 201, body: await statusOf(desk), audit: { data_key_id: id } };
  },
});

/** POST /v1/data-keys/reseal: 202; progress is in GET /v1/data-keys. */
export const resealFields = endpoint({
  method: 'POST',
  path: '/v1/data-keys/reseal',
  permission: 'keys:write',
  event: 'data_key.resealed',
  answers: { 202: status },
  refusals: ['not_configured'],
  summary: 'Move every sealed field to the active data key, in the background.',
  handler: async (dependencies) => {
    const desk = deskOf(dependencies);
    const body = await statusOf(desk);
    desk.reseal();
    return { status: 202, body, audit: { data_key_id: body.active_key_id } };
  },
});
