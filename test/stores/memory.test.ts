import { systemClock } from '../../src/core/clock.ts';
import { openMemory } from '../../src/stores/memory/backend.ts';
import { MemoryRevocations } from '../../src/stores/memory/revocations.ts';
import { checkStoreConformance } from '../conformance/checks.ts';
import { decisionStoreConformance } from '../conformance/decisions.ts';
import { revocationLogConformance } from '../conformance/revocations.ts';

checkStoreConformance('memory', async () => {
  const backend = openMemory(systemClock);
  return { store: backend.checks, other: backend.checks, [Symbol.asyncDispose]: backend[Symbol.asyncDispose] };
});

revocationLogConformance('memory', async () => {
  let now = 1_800_000_000_000;
  const log = new MemoryRevocations({ nowMs: () => now });
  return {
    log,
    other: log,
    advance: (ms) => {
      now += ms;
    },
    nowMs: () => now,
    lose: async () => log.lose(),
    sweep: async () => log.sweep(),
    [Symbol.asyncDispose]: async () => undefined,
  };
});

decisionStoreConformance('memory', async () => {
  const backend = openMemory(systemClock);
  return { store: backend.decisions, [Symbol.asyncDispose]: backend[Symbol.asyncDispose] };
});
