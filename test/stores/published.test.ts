import assert from 'node:assert/strict';
import { after } from 'node:test';
import { randomId } from '../../src/core/ids.ts';
import { MemoryPublished } from '../../src/stores/memory/published.ts';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { publishedStoreConformance } from '../conformance/published.ts';
import { startRedis } from '../support/redis-server.ts';

publishedStoreConformance('memory', async () => {
  const store = new MemoryPublished();
  return { store, other: store, [Symbol.asyncDispose]: async () => undefined };
});

const server = await startRedis();
after(() => server[Symbol.asyncDispose]());

publishedStoreConformance('redis', async () => {
  const settings = { url: server.url, prefix: `t.${randomId()}`, timeoutMs: 2000 };
  const [a, b] = [openRedis(settings), openRedis(settings)];
  assert.deepEqual(await Promise.all([a.ready(2000), b.ready(2000)]), [true, true]);
  return {
    store: a.published,
    other: b.published,
    [Symbol.asyncDispose]: async () => void (await Promise.all([a, b].map((one) => one[Symbol.asyncDispose]()))),
  };
});
