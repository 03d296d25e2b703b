// Looking at a limit and resetting it, for operators. Which counter a name and a key mean is limit-desk.ts's.
import { endpoint, notFound } from './endpoint.ts';

const LIMIT = '/v1/limits/{name}/{key}';

/** GET /v1/limits/{name}/{key}: what is left of every rate; charges nothing. */
export const showLimit = endpoint({
  method: 'GET',
  path: LIMIT,
  permission: 'limits:read',
  summary: 'What one caller has left of a limit.',
  handler: async ({ limits }, { path }) => {
    const { name, key } = path as { name: string; key: string };
    const rates = await limits.look(name, key);
    if (rates === undefined) throw notFound('no such limit');
    return { status: 200, body: { limit: name, key, allowed: rates.every(({ remaining }) => remaining > 0), rates } };
  },
});

/** DELETE /v1/limits/{name}/{key}: forgets what was counted, on every replica. */
export const resetLimit = endpoint({
  method: 'DELETE',
  path: LIMIT,
  permission: 'limits:write',
  event: 'limit.reset',
  summary: 'Forget what was counted of one caller.',
  handler: async ({ limits }, { path }) => {
    const { name, key } = path as { name: string; key: string };
    const counted = await limits.reset(name, key);
    if (counted === undefined) throw notFound('no such limit');
    return { status: 200, body: { limit: name, key, was_counted: counted }, audit: { limit: name, key } };
  },
});
