// Reaches the configured Redis once, for `doorward check --online`: the composition root alone names concrete stores.
import type { LoadedConfig } from '../config/loaded.ts';
import { openLink } from '../stores/redis/backend.ts';
import { keyspace } from '../stores/redis/keyspace.ts';
import { parseInfo, warningsFor } from '../stores/redis/server-watch.ts';
import { redisSettings } from './stores.ts';

/** What came of it; `detail` never holds the URL, which may carry a password. */
export interface RedisProbe {
  readonly ok: boolean;
  readonly detail: string;
}

const WAIT_MS = 3000;

/** Role, eviction policy, memory and replicas of every server, by INFO. Undefined without Redis; never rejects. */
export async function probeRedis(loaded: LoadedConfig): Promise<RedisProbe | undefined> {
  const settings = redisSettings(loaded);
  if (settings === undefined) return undefined;
  const link = openLink(settings, 'slow', keyspace(settings.prefix), () => undefined);
  try {
    if (!(await link.becomesReady(WAIT_MS)))
      return { ok: false, detail: ['does not answer', ...link.warnings()].join(', ') };
    const servers = [...(await link.info()).values()].map(parseInfo);
    const warnings = new Set(servers.flatMap((facts) => warningsFor(facts, undefined, link.guarded)));
    const facts = [...new Set(servers.map(({ role, policy }) => `${role}, ${policy}`))].join('; ');
    return { ok: warnings.size === 0, detail: [...warnings].join(', ') || facts };
  } catch (error) {
    return { ok: false, detail: error instanceof Error ? error.message : 'failed' };
  } finally {
    link.close();
  }
}
