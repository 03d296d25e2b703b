// The check over Redis: all requests of a turn in one script call, or over a Cluster in one per lane. Spoils no request because
// of another.
import type { Charge, CheckReply, CheckStore, RateStates } from '../contracts/checks.ts';
import type { RevocationHead } from '../contracts/revocations.ts';
import { type CheckCall, CheckCalls, type CheckResults, decodeReply } from './check-call.ts';
import { ClusterLink } from './cluster-link.ts';
import { badReply, RedisRefusal, storeError } from './errors.ts';
import { parseHead } from './head.ts';
import type { Keyspace } from './keyspace.ts';
import { LaneChecks } from './lane-checks.ts';
import type { Link } from './link.ts';
import { loadScript } from './scripts.ts';

const MAX_REQUESTS = 256;

/** {@link CheckStore} over Redis. */
export class RedisChecks implements CheckStore {
  readonly #link: Link;
  readonly #names: Keyspace;
  readonly #check = loadScript('check');
  readonly #reset = loadScript('reset');
  readonly #calls: CheckCalls;
  readonly #lanes: LaneChecks | undefined;
  /** False from a refusal or nonsense until a check succeeds; whether there are answers at all is the link's to say. */
  answers = true;
  /** The code of the last refusal; it stands for nothing while {@link answers}. */
  refusal: string | undefined;
  #headText: string | undefined;
  #head: RevocationHead | undefined;

  constructor(link: Link, names: Keyspace) {
    this.#link = link;
    this.#names = names;
    this.#calls = new CheckCalls(names, link.guarded);
    if (link instanceof ClusterLink) this.#lanes = new LaneChecks(link, this.#calls, names);
  }

  check(requests: readonly (readonly Charge[])[], nowMs?: number): Promise<CheckReply> {
    if (requests.length > MAX_REQUESTS) throw new TypeError(`at most ${MAX_REQUESTS} requests a check`);
    return this.#lanes === undefined ? this.#ask(requests, true, nowMs) : this.#askLanes(this.#lanes, requests, nowMs);
  }

  async peek(charge: Charge, nowMs?: number): Promise<RateStates> {
    const results =
      this.#lanes === undefined
        ? (await this.#ask([[charge]], false, nowMs)).results
        : await this.#lanes.ask([[charge]], false, nowMs);
    const [states] = results;
    if (states === undefined || states instanceof Error) throw states ?? badReply('peek');
    return states;
  }

  async reset(charge: Charge): Promise<boolean> {
    const keys = this.#names.counters(charge);
    return Number(await this.#link.script(this.#reset, keys, [this.#names.channel, charge.key])) > 0;
  }

  async #ask(requests: readonly (readonly Charge[])[], charging: boolean, nowMs?: number): Promise<CheckReply> {
    const call = this.#calls.encode(requests, this.#names.head, charging, nowMs);
    try {
      const { first, results, refused } = this.#read(await this.#link.script(this.#check, call.keys, call.args), call);
      this.answers = true;
      if (refused !== '') this.#link.refusesWrites(this.#names.head, refused);
      return { head: this.#parseHead(first), results };
    } catch (error) {
      if (error instanceof RedisRefusal) {
        this.answers = false;
        this.refusal = error.code;
        this.#link.refusesWrites(this.#names.head, error.code);
      }
      throw error;
    }
  }

  /** With the head's node away limits are still counted, and with a lane away the head is still read. */
  async #askLanes(lanes: LaneChecks, requests: readonly (readonly Charge[])[], nowMs?: number): Promise<CheckReply> {
    const head = this.#link.command('get', this.#names.head).then(
      (text) => ({ text }),
      (error: unknown) => storeError(error),
    );
    const [seen, results] = await Promise.all([head, lanes.ask(requests, true, nowMs)]);
    this.answers = !(seen instanceof RedisRefusal);
    if (seen instanceof RedisRefusal) this.refusal = seen.code;
    if (!(seen instanceof Error)) return { head: this.#parseHead(seen.text), results };
    if (results.every((states) => states instanceof Error || states.length === 0)) throw seen;
    return { head: undefined, headAway: true, results };
  }

  /** Where one reply is that of another call, whatever comes next on this connection would be as well. */
  #read(reply: unknown, call: CheckCall): CheckResults {
    try {
      return decodeReply(reply, call);
    } catch (error) {
      this.answers = false;
      this.refusal = undefined;
      this.#link.remake(this.#names.head);
      throw error;
    }
  }

  /** The same object while the head stays, so that comparing costs nothing. */
  #parseHead(text: unknown): RevocationHead | undefined {
    if (text === this.#headText) return this.#head;
    this.#head = parseHead(text);
    this.#headText = typeof text === 'string' ? text : undefined;
    return this.#head;
  }
}
