// The check over a Cluster: counters live in 16 lanes, each in one slot. Of one turn every lane gets at most one call, all at
// once, and the head is read beside them. Each limit stays exact on its own; what a lane has charged to a request that another
// one refuses, or cannot judge, is given back, best effort.
import { storeUnavailable } from '../../core/errors.ts';
import type { Charge, RateStates } from '../contracts/checks.ts';
import { type CheckCall, type CheckCalls, decodeReply } from './check-call.ts';
import type { ClusterLink } from './cluster-link.ts';
import { redisCode, storeError } from './errors.ts';
import { type Keyspace, lane } from './keyspace.ts';
import { loadScript } from './scripts.ts';

/** The charges of a request that stand in one lane. */
interface Part {
  readonly lane: string;
  readonly charges: Charge[];
  /** For each rate of these charges its place among all rates of the request. */
  readonly places: number[];
}

/** A part of one request of this turn, and what its lane said. */
interface Asked {
  readonly request: number;
  readonly part: Part;
  states: RateStates | Error;
  /** Time of the charge by the lane's server. */
  atMs: number;
}

/** The checks of one turn over all lanes. */
export class LaneChecks {
  readonly #link: ClusterLink;
  readonly #calls: CheckCalls;
  readonly #names: Keyspace;
  readonly #check = loadScript('check');
  readonly #giveBack = loadScript('give-back');
  readonly #parts = new WeakMap<readonly Charge[], readonly Part[]>();

  constructor(link: ClusterLink, calls: CheckCalls, names: Keyspace) {
    this.#link = link;
    this.#calls = calls;
    this.#names = names;
  }

  /** A result per request; one whose lane does not answer is an Error. Never rejects. */
  async ask(
    requests: readonly (readonly Charge[])[],
    charging: boolean,
    nowMs: number | undefined,
  ): Promise<(RateStates | Error)[]> {
    const lanes = new Map<string, Asked[]>();
    const asked = requests.map((charges, request) =>
      this.#split(charges).map((part) => {
        const one: Asked = { request, part, states: [], atMs: 0 };
        const others = lanes.get(part.lane);
        if (others === undefined) lanes.set(part.lane, [one]);
        else others.push(one);
        return one;
      }),
    );
    await Promise.all([...lanes.values()].map((all) => this.#askLane(all, charging, nowMs)));
    const returned: Asked[] = [];
    const results = asked.map((parts) => merge(parts, returned));
    if (charging && returned.length > 0) this.#return(returned);
    return results;
  }

  #split(charges: readonly Charge[]): readonly Part[] {
    const kept = this.#parts.get(charges);
    if (kept !== undefined) return kept;
    const parts = new Map<string, Part>();
    let place = 0;
    for (const charge of charges) {
      const name = lane(charge.key);
      const part = parts.get(name) ?? { lane: name, charges: [], places: [] };
      parts.set(name, part);
      part.charges.push(charge);
      for (const _ of charge.rates) part.places.push(place++);
    }
    const all = [...parts.values()];
    this.#parts.set(charges, all);
    return all;
  }

  /** One call for all; one for each while their slot is between two nodes, where calls with several keys are refused. */
  async #askLane(all: readonly Asked[], charging: boolean, nowMs: number | undefined): Promise<void> {
    const [first] = all as readonly [Asked, ...Asked[]];
    const key = this.#names.counters(first.part.charges[0] as Charge)[0] as string;
    if (all.length === 1 || !this.#link.isMoving(key)) {
      const error = await this.#call(all, charging, nowMs, all.length === 1);
      if (redisCode(error) !== 'TRYAGAIN' || all.length === 1) return;
    }
    await Promise.all(all.map((one) => this.#call([one], charging, nowMs, true)));
  }

  /** Fills in what the lane says; an error is the state of all and is returned. */
  async #call(
    all: readonly Asked[],
    charging: boolean,
    nowMs: number | undefined,
    patient: boolean,
  ): Promise<Error | undefined> {
    const requests = all.map(({ part }) => part.charges);
    const call = this.#calls.encode(requests, undefined, charging, nowMs);
    const { keys, args } = call;
    const key = keys[0] as string;
    try {
      const reply = await (patient
        ? this.#link.script(this.#check, keys, args)
        : this.#link.scriptOnce(this.#check, keys, args));
      const { first, results, refused } = this.#decode(reply, call, key);
      if (refused !== '') this.#link.refusesWrites(key, refused);
      for (const [at, one] of all.entries()) {
        one.atMs = Number(first);
        one.states = results[at] ?? storeUnavailable('no result');
      }
      return undefined;
    } catch (error) {
      const away = storeError(error);
      for (const one of all) one.states = away;
      return away;
    }
  }

  #decode(reply: unknown, call: CheckCall, key: string): ReturnType<typeof decodeReply> {
    try {
      return decodeReply(reply, call);
    } catch (error) {
      this.#link.remake(key);
      throw error;
    }
  }

  /** One call per lane; nobody waits for it, and what it cannot give back expires with its window. */
  #return(all: readonly Asked[]): void {
    const lanes = Map.groupBy(all, ({ part, atMs }) => `${part.lane} ${atMs}`);
    for (const parts of lanes.values()) {
      const keys: string[] = [];
      const args: (string | number)[] = [parts[0]?.atMs ?? 0];
      for (const { part, states } of parts) this.#collect(part, states as RateStates, keys, args);
      if (keys.length > 0) this.#link.script(this.#giveBack, keys, args).catch(() => undefined);
    }
  }

  /** Adds what the part was charged: shadow limits that were over had not been. */
  #collect({ charges }: Part, states: RateStates, keys: string[], args: (string | number)[]): void {
    let at = 0;
    for (const charge of charges) {
      const { rates, algorithm } = charge;
      const own = states.slice(2 * at, 2 * (at + rates.length));
      at += rates.length;
      if (isOver(own)) continue;
      keys.push(...this.#names.counters(charge));
      for (const { windowMs } of rates) args.push(algorithm === 'log' ? 1 : 0, windowMs);
    }
  }
}

/** True when one of the rates refuses; every other number is a remaining count. */
function isOver(states: RateStates): boolean {
  for (let at = 0; at < states.length; at += 2) if (states[at] === -1) return true;
  return false;
}

/** True when the part's own lane has refused, and therefore charged nothing. */
function refuses({ charges }: Part, states: RateStates): boolean {
  let at = 0;
  for (const { rates, shadow } of charges) {
    for (const _ of rates) {
      if (!shadow && states[2 * at] === -1) return true;
      at += 1;
    }
  }
  return false;
}

/** The result of a request over its parts; parts that were charged in vain are added to `returned`. */
function merge(parts: readonly Asked[], returned: Asked[]): RateStates | Error {
  const [only] = parts;
  if (only === undefined) return [];
  if (parts.length === 1) return only.states;
  const failed = parts.find(({ states }) => states instanceof Error);
  const refusing = parts.filter(({ part, states }) => !(states instanceof Error) && refuses(part, states));
  const merged: number[] = [];
  for (const one of parts) {
    const { part, states } = one;
    if (states instanceof Error) continue;
    const inVain = (failed !== undefined || refusing.length > 0) && !refusing.includes(one);
    if (inVain) returned.push(one);
    for (const [at, place] of part.places.entries()) {
      const remaining = states[2 * at] as number;
      merged[2 * place] = inVain && remaining !== -1 ? remaining + 1 : remaining;
      merged[2 * place + 1] = states[2 * at + 1] as number;
    }
  }
  return failed === undefined ? merged : (failed.states as Error);
}
