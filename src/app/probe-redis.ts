// Reaches the configured Redis once, for `doorward check --online`: the composition root alone names concrete stores.
import type { LoadedConfig } from '../config/loaded.ts';
import { becomesReady, connect } from '../stores/redis/connection.ts';
import { parseInfo, warningsFor } from '../stores/redis/server-watch.ts';

/** What came of it; `detail` never holds the URL, which may carry a password. */
export interface RedisProbe {
  readonly ok: boolean;
  readonly detail: string;
}

const WAIT_MS = 3000;

/** PING, then role, eviction policy and memory by INFO. Undefined when no Redis is configured; never rejects. */
export async function probeRedis(loaded: LoadedConfig): Promise<RedisProbe | undefined> {
  const { redis: config } = loaded.config;
  if (config === undefined) return undefined;
  const { url, prefix, timeout, tls } = config;
  const ca = tls?.ca === undefined ? {} : { ca: loaded.secrets.get(tls.ca) };
  const redis = connect({ url: loaded.secrets.get(url), prefix, timeoutMs: timeout, ...ca }, 'slow');
  try {
    if (!(await becomesReady(redis, WAIT_MS))) return { ok: false, detail: 'does not answer' };
    await redis.ping();
    const facts = parseInfo(await redis.info());
    const warnings = warningsFor(facts, undefined);
    return { ok: warnings.length === 0, detail: warnings.join(', ') || `${facts.role}, ${facts.policy}` };
  } catch (error) {
    return { ok: false, detail: error instanceof Error ? error.message : 'failed' };
  } finally {
    redis.disconnect();
  }
}
