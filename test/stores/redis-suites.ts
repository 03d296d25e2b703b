// The suites of every ephemeral store, over whatever Redis the settings reach.
import assert from 'node:assert/strict';
import { randomId } from '../../src/core/ids.ts';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { keyspace } from '../../src/stores/redis/keyspace.ts';
import type { RedisSettings } from '../../src/stores/redis/settings.ts';
import { checkStoreConformance } from '../conformance/checks.ts';
import { decisionStoreConformance } from '../conformance/decisions.ts';
import { publishedStoreConformance } from '../conformance/published.ts';
import { revocationLogConformance } from '../conformance/revocations.ts';

/** Removes keys, wherever they stand. */
export type Remove = (...keys: string[]) => Promise<void>;

/** Registers all suites under `backend`; each test has a prefix of its own and two replicas. */
export function redisSuites(backend: string, settingsFor: (prefix: string) => RedisSettings, remove: Remove): void {
  const openPair = async (testNowMs?: () => number) => {
    const settings = settingsFor(`t.${randomId()}`);
    const options = testNowMs ? { testNowMs } : {};
    const pair = [openRedis(settings, options), openRedis(settings, options)] as const;
    assert.deepEqual(await Promise.all(pair.map((one) => one.ready(10_000))), [true, true]);
    const close = async () => void (await Promise.all(pair.map((one) => one[Symbol.asyncDispose]())));
    return { settings, a: pair[0], b: pair[1], close };
  };

  checkStoreConformance(backend, async () => {
    const { a, b, close } = await openPair();
    return { store: a.checks, other: b.checks, [Symbol.asyncDispose]: close };
  });

  revocationLogConformance(backend, async () => {
    let now = 1_800_000_000_000;
    const { settings, a, b, close } = await openPair(() => now);
    const names = keyspace(settings.prefix);
    return {
      log: a.revocations,
      other: b.revocations,
      advance: (ms) => {
        now += ms;
      },
      nowMs: () => now,
      lose: () => remove(names.head, names.entries, names.expiry, names.log),
      sweep: () => a.revocations.sweep(),
      [Symbol.asyncDispose]: close,
    };
  });

  decisionStoreConformance(backend, async () => {
    const { a, close } = await openPair();
    return { store: a.decisions, [Symbol.asyncDispose]: close };
  });

  publishedStoreConformance(backend, async () => {
    const { a, b, close } = await openPair();
    return { store: a.published, other: b.published, [Symbol.asyncDispose]: close };
  });
}
