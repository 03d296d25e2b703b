// The upstreams of this replica: which endpoints there are, and which of them take requests.
import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { count } from './shapes.ts';

const row = z.strictObject({
  name: z.string(),
  takes_requests: z.boolean().describe('False: requests are 503 upstream_unavailable.'),
  requests: count.describe('Under way.'),
  waiting: count.describe('In the queue.'),
  connections: count.describe('As many requests may be under way.'),
  streams: count,
  endpoints: z.array(
    z.strictObject({
      url: z.string(),
      address: z.string(),
      state: z
        .enum(['up', 'doubtful', 'unreachable', 'unhealthy', 'ejected'])
        .describe('up and doubtful take requests, the latter only where none is up.'),
      requests: count,
      connect_failures: count.describe('In a row.'),
      failures: count.describe('Requests without a good answer, in a row.'),
      ejected_for_ms: count,
    }),
  ),
});

/** GET /v1/upstreams. */
export const listUpstreams = endpoint({
  method: 'GET',
  path: '/v1/upstreams',
  permission: 'status:read',
  answers: { 200: z.strictObject({ items: z.array(row) }) },
  summary: 'Upstreams of this replica with their endpoints and how those do.',
  handler: async ({ upstreams }) => ({ status: 200, body: { items: await upstreams() } }),
});
