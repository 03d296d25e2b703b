// The check over Redis: all requests of a turn in one script call. Encodes charges compactly (few shapes, many requests),
// checks every element of the reply, and spoils no request because of another.
import type { Redis } from 'ioredis';
import { storeUnavailable } from '../../core/errors.ts';
import type { Charge, CheckReply, CheckStore, RateStates } from '../contracts/checks.ts';
import type { RevocationHead } from '../contracts/revocations.ts';
import { badReply } from './errors.ts';
import { parseHead } from './head.ts';
import type { Keyspace } from './keyspace.ts';
import { loadScript, run } from './scripts.ts';

const MAX_REQUESTS = 256;

/** What never changes about a list of charges: callers reuse lists, so this is worked out once. */
interface Encoded {
  readonly keys: readonly string[];
  /** Number of rates, then algorithm, group, limit, window of each; the same for most requests. */
  readonly shape: readonly (string | number)[];
  readonly shapeId: string;
}

/** {@link CheckStore} over Redis. */
export class RedisChecks implements CheckStore {
  readonly #redis: Redis;
  readonly #names: Keyspace;
  readonly #check = loadScript('check');
  readonly #reset = loadScript('reset');
  readonly #encoded = new WeakMap<readonly Charge[], Encoded>();
  /** False from a failed exchange until one succeeds. */
  answers = true;
  #headText: string | undefined;
  #head: RevocationHead | undefined;

  constructor(redis: Redis, names: Keyspace) {
    this.#redis = redis;
    this.#names = names;
  }

  check(requests: readonly (readonly Charge[])[], nowMs?: number): Promise<CheckReply> {
    return this.#ask(requests, true, nowMs);
  }

  async peek(charge: Charge, nowMs?: number): Promise<RateStates> {
    const { results } = await this.#ask([[charge]], false, nowMs);
    const [states] = results;
    if (states === undefined || states instanceof Error) throw states ?? badReply('peek');
    return states;
  }

  async reset(charge: Charge): Promise<boolean> {
    const keys = this.#names.counters(charge);
    return Number(await run(this.#redis, this.#reset, keys, [this.#names.channel, charge.key])) > 0;
  }

  async #ask(requests: readonly (readonly Charge[])[], charging: boolean, nowMs?: number): Promise<CheckReply> {
    if (requests.length > MAX_REQUESTS) throw new TypeError(`at most ${MAX_REQUESTS} requests a check`);
    const keys = [this.#names.head];
    const shapes = new Map<string, number>();
    const args: (string | number)[] = [nowMs ?? '', charging ? 1 : 0, 0];
    const tail: number[] = [];
    const sizes: number[] = [];
    for (const charges of requests) {
      const encoded = this.#encode(charges);
      for (const key of encoded.keys) keys.push(key);
      sizes.push(encoded.keys.length);
      let shape = shapes.get(encoded.shapeId);
      if (shape === undefined) {
        shape = shapes.size + 1;
        shapes.set(encoded.shapeId, shape);
        args.push(...encoded.shape);
      }
      tail.push(shape);
    }
    args[2] = shapes.size;
    for (const shape of tail) args.push(shape);
    try {
      const reply = this.#read(await run(this.#redis, this.#check, keys, args), sizes);
      this.answers = true;
      return reply;
    } catch (error) {
      this.answers = false;
      throw error;
    }
  }

  #encode(charges: readonly Charge[]): Encoded {
    const kept = this.#encoded.get(charges);
    if (kept) return kept;
    let shadows = 0;
    const rates = charges.flatMap((charge) => {
      const group = charge.shadow ? ++shadows : 0;
      return charge.rates.map((rate) => [charge.algorithm === 'log' ? 1 : 0, group, rate.limit, rate.windowMs]);
    });
    const shape = [rates.length, ...rates.flat()];
    const keys = charges.flatMap((charge) => this.#names.counters(charge));
    const encoded = { keys, shape, shapeId: shape.join(' ') };
    this.#encoded.set(charges, encoded);
    return encoded;
  }

  /** A reply of another shape is that of another command: whatever comes next on this connection would be as well. */
  #read(reply: unknown, sizes: readonly number[]): CheckReply {
    try {
      return this.#parse(reply, sizes);
    } catch (error) {
      this.#redis.disconnect(true);
      throw error;
    }
  }

  #parse(reply: unknown, sizes: readonly number[]): CheckReply {
    if (!Array.isArray(reply)) throw badReply('check');
    const results: (RateStates | Error)[] = [];
    let at = 1;
    for (const size of sizes) {
      if (size > 0 && typeof reply[at] === 'string') {
        results.push(storeUnavailable(`a limit could not be counted: ${String(reply[at])}`));
        at += 1;
      } else {
        const states: unknown[] = reply.slice(at, at + 2 * size);
        if (states.length !== 2 * size || !states.every(Number.isInteger)) throw badReply('check');
        results.push(states as number[]);
        at += 2 * size;
      }
    }
    if (at !== reply.length) throw badReply('check');
    return { head: this.#parseHead(reply[0]), results };
  }

  /** The same object while the head stays, so that comparing costs nothing. */
  #parseHead(text: unknown): RevocationHead | undefined {
    if (text === this.#headText) return this.#head;
    this.#head = parseHead(text);
    this.#headText = typeof text === 'string' ? text : undefined;
    return this.#head;
  }
}
