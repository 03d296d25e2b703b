// Looking at a limit and resetting it, for operators. Which counter a name and a key mean is limit-desk.ts's.
import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { count } from './shapes.ts';

const LIMIT = '/v1/limits/{name}/{key}';

/** GET /v1/limits/{name}/{key}: what is left of every rate; charges nothing. */
export const showLimit = endpoint({
  method: 'GET',
  path: LIMIT,
  permission: 'limits:read',
  answers: {
    200: z.strictObject({
      limit: z.string(),
      key: z.string(),
      allowed: z.boolean(),
      rates: z.array(z.strictObject({ limit: count, window_ms: count, remaining: count, reset_ms: z.number() })),
    }),
  },
  refusals: ['fields_invalid'],
  summary: 'What one caller has left of a limit.',
  handler: async ({ limits }, { path }) => {
    const { name, key } = path as { name: string; key: string };
    const rates = await limits.look(name, key);
    return { status: 200, body: { limit: name, key, allowed: rates.every(({ remaining }) => remaining > 0), rates } };
  },
});

/** DELETE /v1/limits/{name}/{key}: forgets what was counted, on every replica. */
export const resetLimit = endpoint({
  method: 'DELETE',
  path: LIMIT,
  permission: 'limits:write',
  event: 'limit.reset',
  answers: { 200: z.strictObject({ limit: z.string(), key: z.string(), was_counted: z.boolean() }) },
  refusals: ['fields_invalid'],
  summary: 'Forget what was counted of one caller.',
  handler: async ({ limits }, { path }) => {
    const { name, key } = path as { name: string; key: string };
    const counted = await limits.reset(name, key);
    return { status: 200, body: { limit: name, key, was_counted: counted }, audit: { limit: name, key } };
  },
});
