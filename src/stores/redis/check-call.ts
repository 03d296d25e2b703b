// One call of lua/check.lua: requests to keys and arguments, and its reply back to results. Encodes compactly (few shapes,
// many requests) and checks every element of the reply.
import { storeUnavailable } from '../../core/errors.ts';
import type { Charge, RateStates } from '../contracts/checks.ts';
import { badReply, codeOf } from './errors.ts';
import type { Keyspace } from './keyspace.ts';

interface Shape {
  /** Number of rates, then algorithm, group, limit, window of each; the same for most requests. */
  readonly shape: readonly (string | number)[];
  readonly shapeId: string;
}

/** What never changes about a list of charges: callers reuse lists, so this is worked out once. */
interface Encoded extends Shape {
  readonly keys: readonly string[];
}

/** Keys and arguments of one call, with the number of rates of each request. */
export interface CheckCall {
  /** Comes back with the answer; no two calls of a process have the same within hours. */
  readonly number: number;
  readonly keys: string[];
  readonly args: (string | number)[];
  readonly sizes: number[];
}

/** What came back, in the order of the requests. */
export interface CheckResults {
  /** What stands first: the head, or the time of a lane. */
  readonly first: unknown;
  readonly results: (RateStates | Error)[];
  /** Why Redis takes no writes (`READONLY`, `OOM`, …); '' when it does. */
  readonly refused: string;
}

/** Clients with rates of their own make more; they are worked out anew. */
const MAX_SHAPES = 1000;
/** Numbers of calls begin again after so many. */
const NUMBERS = 2 ** 31;

/** Encodes and decodes calls; remembers lists of charges that are used again. */
export class CheckCalls {
  readonly #names: Keyspace;
  readonly #mode: number;
  readonly #encoded = new WeakMap<readonly Charge[], Encoded>();
  readonly #shapes = new Map<string, Shape>();
  #number = 0;

  /** `guarded`: only a server that takes writes is believed (Link.guarded). */
  constructor(names: Keyspace, guarded: boolean) {
    this.#names = names;
    this.#mode = guarded ? 4 : 0;
  }

  /** `head`: its key, or undefined for a lane of a Cluster. `nowMs` is given only by tests. */
  encode(
    requests: readonly (readonly Charge[])[],
    head: string | undefined,
    charging: boolean,
    nowMs: number | undefined,
  ): CheckCall {
    const keys = head === undefined ? [] : [head];
    const shapes = new Map<string, number>();
    const mode = (head === undefined ? 2 : this.#mode) + (charging ? 1 : 0);
    this.#number = (this.#number + 1) % NUMBERS;
    const number = this.#number;
    const args: (string | number)[] = [nowMs ?? '', mode, number, 0];
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
    args[3] = shapes.size;
    for (const shape of tail) args.push(shape);
    return { number, keys, args, sizes };
  }

  #encode(charges: readonly Charge[]): Encoded {
    const kept = this.#encoded.get(charges);
    if (kept) return kept;
    let shadows = 0;
    const rates = charges.flatMap((charge) => {
      const group = charge.shadow ? ++shadows : 0;
      return charge.rates.map((rate) => [charge.algorithm === 'log' ? 1 : 0, group, rate.limit, rate.windowMs]);
    });
    const { shape, shapeId } = this.#shared([rates.length, ...rates.flat()]);
    // A copy has no room to grow, as what is appended to has: as many are kept as there are tokens.
    const keys = charges.flatMap((charge) => this.#names.counters(charge)).slice();
    const encoded = { keys, shape, shapeId };
    this.#encoded.set(charges, encoded);
    return encoded;
  }

  /** The same objects for the same shape: there are few of them and many lists. */
  #shared(shape: readonly (string | number)[]): Shape {
    const shapeId = shape.join(' ');
    const known = this.#shapes.get(shapeId);
    if (known) return known;
    if (this.#shapes.size >= MAX_SHAPES) this.#shapes.clear();
    const made = { shape, shapeId };
    this.#shapes.set(shapeId, made);
    return made;
  }
}

/** Throws `store_unavailable` for a reply with another number or of another shape: it is that of another call. */
export function decodeReply(reply: unknown, { number, sizes }: Pick<CheckCall, 'number' | 'sizes'>): CheckResults {
  if (!Array.isArray(reply) || reply[reply.length - 1] !== number) throw badReply('check');
  const results: (RateStates | Error)[] = [];
  let refused = '';
  let at = 1;
  for (const size of sizes) {
    if (size > 0 && typeof reply[at] === 'string') {
      refused ||= codeOf(reply[at] as string);
      results.push(storeUnavailable(`a limit could not be counted: ${String(reply[at])}`));
      at += 1;
    } else {
      const states: unknown[] = reply.slice(at, at + 2 * size);
      if (states.length !== 2 * size || !states.every(Number.isInteger)) throw badReply('check');
      results.push(states as number[]);
      at += 2 * size;
    }
  }
  if (at !== reply.length - 1) throw badReply('check');
  return { first: reply[0], results, refused };
}
