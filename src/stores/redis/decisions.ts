// Kept refusals in a capped stream, so that any replica can answer `why`.
import type { Redis } from 'ioredis';
import type { DecisionStore, KeptDecision } from '../contracts/decisions.ts';
import { storeError } from './errors.ts';
import type { Keyspace } from './keyspace.ts';

const MAX_DECISIONS = 1000;

/** {@link DecisionStore} over Redis, capped at about 1,000. */
export class RedisDecisions implements DecisionStore {
  readonly #redis: Redis;
  readonly #names: Keyspace;

  constructor(redis: Redis, names: Keyspace) {
    this.#redis = redis;
    this.#names = names;
  }

  keep(decision: KeptDecision): void {
    if (this.#redis.status !== 'ready') return;
    const text = JSON.stringify(decision);
    // Nobody waits for it: a refusal that could not be kept is still in the log.
    this.#redis.xadd(this.#names.decisions, 'MAXLEN', '~', MAX_DECISIONS, '*', 'd', text).catch(() => undefined);
  }

  async find(filter: Readonly<Record<string, string>>, limit: number): Promise<readonly KeptDecision[]> {
    const wanted = Object.entries(filter);
    const kept = (await this.#all()).filter((decision) => wanted.every(([name, value]) => decision[name] === value));
    return kept.slice(0, limit);
  }

  async #all(): Promise<KeptDecision[]> {
    try {
      const rows = await this.#redis.xrevrange(this.#names.decisions, '+', '-', 'COUNT', 2 * MAX_DECISIONS);
      return rows.map(([, fields]) => JSON.parse(fields[1] as string) as KeptDecision);
    } catch (error) {
      throw storeError(error);
    }
  }
}
