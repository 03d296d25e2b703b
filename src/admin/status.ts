// One page about this replica for operators: what it is, how long it runs, what it rests on, how much it holds.
import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { readinessOf } from './readiness.ts';
import { count, time } from './shapes.ts';

/** GET /v1/status. */
export const showStatus = endpoint({
  method: 'GET',
  path: '/v1/status',
  permission: 'status:read',
  answers: {
    200: z.strictObject({
      name: z.string().optional(),
      version: z.string(),
      node: z.string(),
      timestamp: time,
      started_at: time,
      uptime_seconds: count,
      config: z.strictObject({ file: z.string(), hash: z.string() }),
      status: z.enum(['ready', 'degraded', 'not_ready']),
      reasons: z.array(z.string()),
      components: z.record(
        z.string(),
        z.strictObject({
          status: z.enum(['up', 'degraded', 'down']),
          detail: z.record(z.string(), z.unknown()).optional(),
        }),
      ),
      routes: z.array(
        z.strictObject({ name: z.string(), match: z.string(), auth: z.string(), limits: z.array(z.string()) }),
      ),
      counts: z.record(z.string(), z.number()),
    }),
  },
  summary: 'Version, uptime, routes, components and counts of this replica.',
  handler: (dependencies) => {
    const { clock, startedAtMs, version, application, config } = dependencies;
    const { body } = readinessOf(dependencies.readiness());
    return {
      status: 200,
      body: {
        name: application,
        version,
        node: process.version,
        timestamp: new Date(clock.nowMs()).toISOString(),
        started_at: new Date(startedAtMs).toISOString(),
        uptime_seconds: Math.max(0, Math.floor((clock.nowMs() - startedAtMs) / 1000)),
        config: { file: config.file, hash: config.hash() },
        ...body,
        routes: dependencies.routes(),
        counts: dependencies.counts(),
      },
    };
  },
});
