// One page about this replica for operators: what it is, how long it runs, what it rests on, how much it holds.
import { endpoint } from './endpoint.ts';
import { readinessOf } from './readiness.ts';

/** GET /v1/status. */
export const showStatus = endpoint({
  method: 'GET',
  path: '/v1/status',
  permission: 'status:read',
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
