// Found in the soak: after an outage /readyz called the store down until a request had used it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { startRedis } from '../support/redis-server.ts';

async function until(holds: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 200 && !holds(); attempt += 1) await sleep(25);
  assert.ok(holds());
}

test('a store that is back counts as up before any request has asked it', async () => {
  await using redis = await startRedis();
  await using backend = openRedis({ url: redis.url, prefix: 'regression', timeoutMs: 100 });
  assert.equal(await backend.ready(2000), true);
  await redis.stop();
  await assert.rejects(async () => backend.checks.check([[]]));
  assert.equal(backend.health().up, false);
  await redis.start();
  await until(() => backend.health().up);
});
