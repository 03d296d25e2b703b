// Watches what the Redis server says about itself (INFO, at every connect and each minute): eviction, memory, role and
// identity. Managed services forbid CONFIG, so INFO it is. Problems become warnings of the store's health.
import type { Redis } from 'ioredis';

const EVERY_MS = 60_000;
const MEMORY_ALARM = 0.8;

/** What INFO said, reduced to what matters. */
export interface ServerFacts {
  readonly runId: string;
  readonly role: string;
  readonly policy: string;
  readonly evictedKeys: number;
  readonly usedMemory: number;
  readonly maxMemory: number;
}

/** Reads `name:value` lines; missing ones are '' and 0. */
export function parseInfo(text: string): ServerFacts {
  const fields = new Map(text.split('\r\n').map((line) => [line.split(':', 1)[0], line.slice(line.indexOf(':') + 1)]));
  const count = (name: string) => Number(fields.get(name) ?? 0) || 0;
  return {
    runId: fields.get('run_id') ?? '',
    role: fields.get('role') ?? '',
    policy: fields.get('maxmemory_policy') ?? '',
    evictedKeys: count('evicted_keys'),
    usedMemory: count('used_memory'),
    maxMemory: count('maxmemory'),
  };
}

/** Warnings as a closed list of words; `before` is what the same server said last. */
export function warningsFor(facts: ServerFacts, before: ServerFacts | undefined): string[] {
  const warnings: string[] = [];
  if (facts.policy !== '' && facts.policy !== 'noeviction') warnings.push('redis_eviction_policy');
  if (facts.maxMemory > 0 && facts.usedMemory > MEMORY_ALARM * facts.maxMemory) warnings.push('redis_memory');
  if (before?.runId === facts.runId && facts.evictedKeys > before.evictedKeys) warnings.push('redis_evicted_keys');
  if (facts.role !== '' && facts.role !== 'master') warnings.push('redis_role');
  return warnings;
}

/** The running watch. */
export interface ServerWatch extends Disposable {
  warnings(): readonly string[];
  facts(): ServerFacts | undefined;
  /** Asks now. */
  refresh(): Promise<void>;
}

/** Starts watching; `onReplaced` is told when another server (or a restarted one) answers, or keys were evicted. */
export function watchServer(redis: Redis, onReplaced: () => void): ServerWatch {
  let facts: ServerFacts | undefined;
  let warnings: readonly string[] = [];
  const refresh = async () => {
    try {
      const before = facts;
      facts = parseInfo(await redis.info());
      warnings = warningsFor(facts, before);
      const evicted = warnings.includes('redis_evicted_keys');
      if (before !== undefined && (before.runId !== facts.runId || evicted)) onReplaced();
    } catch {
      // Away is seen elsewhere; a user that may not INFO is a degradation worth naming.
      if (redis.status === 'ready') warnings = ['redis_info_unavailable'];
    }
  };
  const onReady = () => void refresh();
  redis.on('ready', onReady);
  const timer = setInterval(onReady, EVERY_MS).unref();
  return {
    warnings: () => warnings,
    facts: () => facts,
    refresh,
    [Symbol.dispose]() {
      clearInterval(timer);
      redis.off('ready', onReady);
    },
  };
}
