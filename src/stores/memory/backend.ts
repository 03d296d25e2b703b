// The memory backend as a whole: one replica, nothing durable, nothing shared. app.ts opens it when no `redis` is set.
import { type Clock, steadyWall } from '../../core/clock.ts';
import type { EphemeralBackend, StoreHealth } from '../contracts/health.ts';
import { MemoryChecks } from './checks.ts';
import { MemoryDecisions } from './decisions.ts';
import { MemoryPublished } from './published.ts';
import { MemoryRevocations } from './revocations.ts';

const SWEEP_EVERY_MS = 60_000;

/** {@link EphemeralBackend} in memory with its stores. */
export interface MemoryBackend extends EphemeralBackend {
  readonly name: 'memory';
  readonly checks: MemoryChecks;
  readonly revocations: MemoryRevocations;
  readonly decisions: MemoryDecisions;
  readonly published: MemoryPublished;
}

const health: StoreHealth = Object.freeze({ up: true, warnings: ['memory_store'] });

/** Opens the memory backend; its timer never keeps the process alive. */
export function openMemory(clock: Clock): MemoryBackend {
  const revocations = new MemoryRevocations(clock, steadyWall(clock));
  const onReset = (key: string) => revocations.notify({ type: 'limit_reset', key });
  const checks = new MemoryChecks({ clock, head: () => revocations.current(), onReset });
  const timer = setInterval(() => revocations.sweep(), SWEEP_EVERY_MS).unref();
  return {
    name: 'memory',
    checks,
    revocations,
    decisions: new MemoryDecisions(),
    published: new MemoryPublished(),
    health: () => health,
    replicas: () => 1,
    [Symbol.asyncDispose]: async () => clearInterval(timer),
  };
}
