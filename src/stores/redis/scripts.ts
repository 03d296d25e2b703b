// Runs lua/*.lua by digest, and hands the source over when Redis does not know it (after a restart, a failover or SCRIPT
// FLUSH): NOSCRIPT means that nothing ran, so asking again cannot charge twice.
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { redisCode, storeError } from './errors.ts';

/** One script; its name is its file. */
export interface Script {
  readonly source: string;
  readonly sha: string;
}

/** Reads lua/`name`.lua. */
export function loadScript(name: string): Script {
  const source = readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8');
  return { source, sha: hash('sha1', source, 'hex') };
}

/** Calls a script. Rejects with `store_unavailable`; the reply is for the caller to check. */
export async function run(
  redis: Redis,
  script: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  try {
    return await redis.evalsha(script.sha, keys.length, ...(keys as string[]), ...(args as string[]));
  } catch (error) {
    if (redisCode(error) !== 'NOSCRIPT') throw storeError(error);
  }
  try {
    return await redis.eval(script.source, keys.length, ...(keys as string[]), ...(args as string[]));
  } catch (error) {
    throw storeError(error);
  }
}
