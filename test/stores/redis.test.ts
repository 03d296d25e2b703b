import assert from 'node:assert/strict';
import { after } from 'node:test';
import { Redis } from 'ioredis';
import { randomId } from '../../src/core/ids.ts';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { keyspace } from '../../src/stores/redis/keyspace.ts';
import { checkStoreConformance } from '../conformance/checks.ts';
import { decisionStoreConformance } from '../conformance/decisions.ts';
import { revocationLogConformance } from '../conformance/revocations.ts';
import { startRedis } from '../support/redis-server.ts';

const server = await startRedis();
after(() => server[Symbol.asyncDispose]());

/** Two replicas on a prefix of their own. */
async function openPair(testNowMs?: () => number) {
  const settings = { url: server.url, prefix: `t.${randomId()}`, timeoutMs: 2000 };
  const options = testNowMs ? { testNowMs } : {};
  const pair = [openRedis(settings, options), openRedis(settings, options)] as const;
  assert.deepEqual(await Promise.all(pair.map((backend) => backend.ready(2000))), [true, true]);
  const close = async () => void (await Promise.all(pair.map((backend) => backend[Symbol.asyncDispose]())));
  return { settings, a: pair[0], b: pair[1], close };
}

checkStoreConformance('redis', async () => {
  const { a, b, close } = await openPair();
  return { store: a.checks, other: b.checks, [Symbol.asyncDispose]: close };
});

revocationLogConformance('redis', async () => {
  let now = 1_800_000_000_000;
  const { settings, a, b, close } = await openPair(() => now);
  const names = keyspace(settings.prefix);
  const raw = new Redis(server.url);
  return {
    log: a.revocations,
    other: b.revocations,
    advance: (ms) => {
      now += ms;
    },
    nowMs: () => now,
    lose: async () => void (await raw.del(names.head, names.entries, names.expiry, names.log)),
    sweep: () => a.revocations.sweep(),
    [Symbol.asyncDispose]: async () => {
      raw.disconnect();
      await close();
    },
  };
});

decisionStoreConformance('redis', async () => {
  const { a, close } = await openPair();
  return { store: a.decisions, [Symbol.asyncDispose]: close };
});
