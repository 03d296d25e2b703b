// Draining before a planned stop, for operators and preStop hooks: /readyz fails at once, what is under way finishes.
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { parseDuration } from '../core/units.ts';
import { endpoint } from './endpoint.ts';

const LONGEST_WAIT_MS = 10 * 60_000;

/** POST /v1/drain: 202 at once; with `?wait=30s` 200 once nothing is in flight, or 202 when that takes longer. */
export const drain = endpoint({
  method: 'POST',
  path: '/v1/drain',
  permission: 'drain:write',
  event: 'drain.begun',
  body: z.strictObject({}),
  query: z.strictObject({
    wait: z
      .string()
      .transform((text) => parseDuration(text) ?? Number.NaN)
      .pipe(z.number({ error: 'needs a duration such as 30s' }).max(LONGEST_WAIT_MS, 'is longer than 10m'))
      .optional(),
  }),
  answers: {
    200: z.strictObject({ state: z.literal('drained') }),
    202: z.strictObject({ state: z.literal('draining') }),
  },
  summary: 'Stop taking traffic and finish what is under way.',
  handler: async (dependencies, { query }) => {
    const drained = dependencies.drain().then(() => true);
    drained.catch((error) => dependencies.log.error({ err: error }, 'drain_failed'));
    const patience = new AbortController();
    const late = delay(query.wait ?? 0, false, { signal: patience.signal, ref: false }).catch(() => false);
    const done = await Promise.race([drained, late]).finally(() => patience.abort());
    return { status: done ? 200 : 202, body: { state: done ? 'drained' : 'draining' }, audit: { drained: done } };
  },
});
