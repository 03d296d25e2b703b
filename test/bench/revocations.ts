// What a million active revocations cost: Doorward with them against Doorward with none, in interleaved rounds. The log is
// filled through Doorward's own store, as a rebuild would.
import { randomUUID } from 'node:crypto';
import { systemClock } from '../../src/core/clock.ts';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';
import type { RevocationEntry } from '../../src/stores/contracts/revocations.ts';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { checkPeer } from './checks.ts';
import type { BenchOptions } from './options.ts';
import { doorward, redisPrefix, startDoorward } from './peers/doorward.ts';
import { measureThroughput, type Rounds } from './throughput.ts';
import { issuer } from './tokens.ts';
import type { World } from './world.ts';

/** Name of the Doorward that has the revocations. */
export const revokedName = 'doorward-revoked';

const HOUR_MS = 3_600_000;
const BATCH = 500;

function* entries(count: number): Generator<readonly RevocationEntry[]> {
  const revokedAtMs = systemClock.nowMs();
  const common = { kind: 'token' as const, issuer, untilMs: revokedAtMs + 6 * HOUR_MS, reason: 'bench', revokedAtMs };
  for (let made = 0; made < count; made += BATCH) {
    yield Array.from({ length: Math.min(BATCH, count - made) }, (_unused, at) => {
      const id = randomUUID();
      return { ...common, id, entryId: revocationEntryId('token', issuer, id), seq: made + at + 1 };
    });
  }
}

async function fill(world: World, count: number): Promise<void> {
  const settings = { url: world.redisUrl, prefix: redisPrefix(revokedName), timeoutMs: 5000 };
  const backend = openRedis(settings);
  try {
    if (!(await backend.ready(5000))) throw new Error('Redis did not answer');
    await backend.revocations.rebuild(entries(count), undefined);
  } finally {
    await backend[Symbol.asyncDispose]();
  }
}

/** Rounds of both, and how long the one with revocations took from its start to ready. */
export async function measureRevocations(
  world: World,
  options: BenchOptions,
): Promise<{ readonly rounds: Rounds; readonly loadedMs: number }> {
  await using ends = new AsyncDisposableStack();
  const without = await startDoorward(world, { name: 'doorward' });
  ends.defer(() => without.stop());
  console.error(`writing ${options.revocations} revocations`);
  await fill(world, options.revocations);
  const revoked = await startDoorward(world, { name: revokedName, readyWithinMs: 120_000 });
  ends.defer(() => revoked.stop());
  await checkPeer(world, doorward, revoked);
  const peers = new Map([
    ['doorward', without],
    [revokedName, revoked],
  ]);
  return { rounds: await measureThroughput(world, peers, options), loadedMs: revoked.readyMs };
}
