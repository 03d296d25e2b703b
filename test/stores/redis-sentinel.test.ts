import { after } from 'node:test';
import { ask, masterName, startSentinels } from '../support/redis-sentinel.ts';
import { redisSuites } from './redis-suites.ts';

const deployment = await startSentinels();
after(() => deployment[Symbol.asyncDispose]());

redisSuites(
  'sentinel',
  (prefix) => ({ sentinel: { name: masterName, nodes: deployment.nodes }, prefix, timeoutMs: 2000 }),
  async (...keys) => void (await ask(await deployment.master(), (redis) => redis.del(...keys))),
);
