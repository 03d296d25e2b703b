// Watches what the Redis servers say about themselves (INFO, at every connect and each minute): eviction, memory, role and
// replicas. Managed services forbid CONFIG, so INFO it is. Problems become warnings of the store's health.
import type { Link } from './link.ts';

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
  /** Whether `min-replicas-to-write` is set: INFO counts good replicas only then. */
  readonly needsReplicas: boolean;
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
    needsReplicas: fields.has('min_slaves_good_slaves'),
  };
}

/** Warnings as a closed list of words; `before` is what the same server said last, `guarded` as in {@link Link}. */
export function warningsFor(facts: ServerFacts, before: ServerFacts | undefined, guarded: boolean): string[] {
  const warnings: string[] = [];
  if (facts.policy !== '' && facts.policy !== 'noeviction') warnings.push('redis_eviction_policy');
  if (facts.maxMemory > 0 && facts.usedMemory > MEMORY_ALARM * facts.maxMemory) warnings.push('redis_memory');
  if (before?.runId === facts.runId && facts.evictedKeys > before.evictedKeys) warnings.push('redis_evicted_keys');
  if (facts.role !== '' && facts.role !== 'master') warnings.push('redis_role');
  if (guarded && facts.role === 'master' && !facts.needsReplicas) warnings.push('redis_min_replicas');
  return warnings;
}

/** The running watch. */
export interface ServerWatch extends Disposable {
  warnings(): readonly string[];
  /** Of a Cluster: the master that is fullest, with the evicted keys of all. */
  facts(): ServerFacts | undefined;
  /** Asks now. */
  refresh(): Promise<void>;
}

/** Starts watching; `onEvicted` is told when keys were evicted since it was last asked. */
export function watchServer(link: Link, onEvicted: () => void): ServerWatch {
  let known: ReadonlyMap<string, ServerFacts> = new Map();
  let warnings: readonly string[] = [];
  let ended = false;
  const refresh = async () => {
    try {
      const before = known;
      const told = await link.info();
      known = new Map([...told].map(([name, text]) => [name, parseInfo(text)]));
      const found = new Set([...known].flatMap(([name, facts]) => warningsFor(facts, before.get(name), link.guarded)));
      warnings = [...found];
      if (found.has('redis_evicted_keys')) onEvicted();
    } catch {
      // Away is seen elsewhere; a user that may not INFO is a degradation worth naming.
      if (link.ready) warnings = ['redis_info_unavailable'];
    }
  };
  const onReady = () => void (ended || refresh());
  link.onReady(onReady);
  const timer = setInterval(onReady, EVERY_MS).unref();
  return {
    warnings: () => warnings,
    facts: () => fullest([...known.values()]),
    refresh,
    [Symbol.dispose]() {
      ended = true;
      clearInterval(timer);
    },
  };
}

function fullest(all: readonly ServerFacts[]): ServerFacts | undefined {
  const share = ({ usedMemory, maxMemory }: ServerFacts) => (maxMemory === 0 ? 0 : usedMemory / maxMemory);
  const [first] = [...all].sort((a, b) => share(b) - share(a));
  return first && { ...first, evictedKeys: all.reduce((sum, { evictedKeys }) => sum + evictedKeys, 0) };
}
