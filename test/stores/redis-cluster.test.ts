import { after } from 'node:test';
import { startCluster } from '../support/redis-cluster.ts';
import { ask } from '../support/redis-sentinel.ts';
import { redisSuites } from './redis-suites.ts';

const deployment = await startCluster();
after(() => deployment[Symbol.asyncDispose]());

redisSuites(
  'cluster',
  (prefix) => ({ cluster: { nodes: deployment.nodes }, prefix, timeoutMs: 2000 }),
  async (...keys) => void (await ask(await deployment.owner(keys[0] as string), (redis) => redis.del(...keys))),
);
