// One upstream: the slots that bound how much of it we use, over all its endpoints together. A request takes a slot or waits
// in a short queue; a response that turns out to be a stream moves to a slot of another kind, so that streams cannot starve
// ordinary requests (design 4.11). Which endpoint a request goes to is endpoints/'s part, speaking HTTP http1/'s, what
// becomes of an answer outbound/forward.ts's.
import type { UpstreamConfig } from '../../config/schema.ts';
import type { Clock } from '../../core/clock.ts';
import type { Reason } from '../../core/reasons.ts';
import type { Endpoint } from './endpoints/endpoint.ts';
import { Endpoints, type EndpointWatcher } from './endpoints/endpoints.ts';
import type { Lookup } from './endpoints/names.ts';
import { placeOf } from './endpoints/place.ts';
import { RetryBudget } from './endpoints/retry-budget.ts';
import { type TlsMaterial, tlsContext } from './http1/dial.ts';

const SWEEP_MS = 250;

/** Something that waits for a slot. */
export interface Waiter {
  /** A slot is there and taken for it. */
  start(): void;
  /** Waited longer than `queue_timeout`. */
  giveUp(): void;
}

/** What becomes of a request that asks for a slot. */
export type Admission = 'started' | 'queued' | 'refused';

/** What an upstream is opened with besides its configuration. */
export interface UpstreamParts {
  readonly tls: TlsMaterial;
  readonly clock: Clock;
  readonly lookup: Lookup;
  readonly watcher: EndpointWatcher & {
    /** A request went out once more because it could not be sent to its first endpoint, or may not any more. */
    onRetry(outcome: 'sent' | 'over_budget'): void;
  };
}

/** An upstream with its slots. Lives across reloads while its configuration stays the same. */
export class Upstream implements AsyncDisposable {
  readonly name: string;
  readonly config: UpstreamConfig;
  readonly endpoints: Endpoints;
  streams = 0;
  readonly #watcher: UpstreamParts['watcher'];
  readonly #budget: RetryBudget;
  /** Host of the first url. */
  readonly #authority: string;
  readonly #timer: NodeJS.Timeout;
  #active = 0;
  #retired = false;
  readonly #streamsByCaller = new Map<string, number>();
  #waiting: { waiter: Waiter; untilMs: number }[] = [];

  constructor(name: string, config: UpstreamConfig, parts: UpstreamParts) {
    const { clock, lookup, watcher, tls } = parts;
    const places = config.url.map(placeOf);
    this.name = name;
    this.config = config;
    this.#watcher = watcher;
    this.#budget = new RetryBudget(config.retry_share);
    this.#authority = places[0]?.authority ?? '';
    this.endpoints = new Endpoints({
      config,
      context: places.some(({ isTls }) => isTls) ? tlsContext(tls) : undefined,
      checkHost: this.hostFor(this.#authority),
      clock,
      lookup,
      watcher,
    });
    // Its own timer: after a reload this one is nobody's any more, and its requests go on.
    this.#timer = setInterval(() => this.#sweep(clock.monotonicMs()), SWEEP_MS).unref();
  }

  /** Takes a slot and starts `waiter` now, or queues it until `nowMs + queue_timeout`, or refuses. */
  admit(waiter: Waiter, nowMs: number): Admission {
    if (this.#active < this.config.connections) {
      this.#active += 1;
      waiter.start();
      return 'started';
    }
    if (this.#waiting.length >= this.config.queue) return 'refused';
    this.#waiting.push({ waiter, untilMs: nowMs + this.config.queue_timeout });
    return 'queued';
  }

  /** How full it is. */
  get slots(): { readonly requests: number; readonly waiting: number; readonly connections: number } {
    return { requests: this.#active, waiting: this.#waiting.length, connections: this.config.connections };
  }

  /** Gives a slot back; the longest waiting request takes it. */
  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#active -= 1;
    else next.waiter.start();
  }

  /** Takes a waiter out of the queue; false when it does not wait (any more). */
  withdraw(waiter: Waiter): boolean {
    const at = this.#waiting.findIndex((entry) => entry.waiter === waiter);
    if (at >= 0) this.#waiting.splice(at, 1);
    return at >= 0;
  }

  /** Where a request goes first; undefined while no endpoint takes requests. */
  endpointFor(): Endpoint | undefined {
    this.#budget.earn();
    return this.endpoints.pick();
  }

  /** Where a request goes that could not be sent to `failed`, within the budget; undefined when it may go nowhere. */
  endpointInstead(failed: Endpoint): Endpoint | undefined {
    const other = this.endpoints.pick(failed);
    if (other === undefined) return undefined;
    const mayGo = this.#budget.spend();
    this.#watcher.onRetry(mayGo ? 'sent' : 'over_budget');
    return mayGo ? other : undefined;
  }

  /** Ends the wait of those whose time is over, and closes connections that have been idle for long. */
  #sweep(nowMs: number): void {
    this.endpoints.sweep(nowMs);
    if (this.#retired && this.#active === 0 && this.#waiting.length === 0) clearInterval(this.#timer);
    while (this.#waiting.length > 0 && (this.#waiting[0]?.untilMs ?? 0) <= nowMs) {
      this.#waiting.shift()?.waiter.giveUp();
    }
  }

  /** Takes a stream slot for `caller`; the reason when there is none (attack 109). */
  openStream(caller: string): Reason | undefined {
    const held = this.#streamsByCaller.get(caller) ?? 0;
    if (held >= this.config.streams_per_caller) return 'streams_exhausted';
    if (this.streams >= this.config.streams) return 'upstream_busy';
    this.streams += 1;
    this.#streamsByCaller.set(caller, held + 1);
    return undefined;
  }

  /** Gives a stream slot back. */
  closeStream(caller: string): void {
    this.streams -= 1;
    const held = (this.#streamsByCaller.get(caller) ?? 1) - 1;
    if (held > 0) this.#streamsByCaller.set(caller, held);
    else this.#streamsByCaller.delete(caller);
  }

  /** The Host to send for a request whose own is `authority`. */
  hostFor(authority: string): string {
    if (this.config.host === 'preserve') return authority;
    return this.config.host === 'upstream' ? this.#authority : this.config.host;
  }

  /** No new requests come; those under way end by themselves, whatever time they take, and with them their connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#retired = true;
    this.endpoints.retire();
  }
}
