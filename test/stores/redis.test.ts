import { after } from 'node:test';
import { Redis } from 'ioredis';
import { startRedis } from '../support/redis-server.ts';
import { redisSuites } from './redis-suites.ts';

const server = await startRedis();
const raw = new Redis(server.url);
after(async () => {
  raw.disconnect();
  await server[Symbol.asyncDispose]();
});

redisSuites(
  'redis',
  (prefix) => ({ url: server.url, prefix, timeoutMs: 2000 }),
  async (...keys) => void (await raw.del(...keys)),
);
