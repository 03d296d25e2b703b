// A connection to Redis that broke while an answer was due must not take the next one with it: its silence is measured by a
// timer that ioredis 5 keeps (issue 2147 there), and routes with `on_store_down: deny` refused again when it went off.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { becomesReady, connect } from '../../src/stores/redis/connection.ts';
import { startRedis } from '../support/redis-server.ts';
import { startRelay } from '../support/relay.ts';

/** Silence for longer ends a connection; the least there is. */
const SILENCE_MS = 1000;

test('a connection that broke while an answer was due does not end the one after it', async () => {
  await using server = await startRedis();
  await using relay = await startRelay({ port: server.port, host: '127.0.0.1' });
  const settings = { url: `redis://127.0.0.1:${relay.port}`, prefix: 't', timeoutMs: SILENCE_MS / 4 };
  const redis = connect(settings, 'fast');
  try {
    assert.equal(await becomesReady(redis, 10_000), true);
    relay.stall('down');
    const lost = assert.rejects(redis.ping());
    relay.reset();
    await lost;
    relay.heal();
    assert.equal(await becomesReady(redis, 10_000), true);
    const { accepted } = relay;
    await sleep(1.5 * SILENCE_MS);
    assert.equal(relay.accepted, accepted, 'it is still the same connection');
    assert.equal(await redis.ping(), 'PONG');
  } finally {
    redis.disconnect();
  }
});
