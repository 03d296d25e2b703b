// One upstream: its connection pool, and the slots that bound how much of it we use. A request takes a slot or waits in a
// short queue; a response that turns out to be a stream moves to a slot of another kind, so that streams cannot starve
// ordinary requests (design 4.11). Speaking HTTP is http1/'s part, what becomes of an answer outbound/forward.ts's.
import type { UpstreamConfig } from '../../config/schema.ts';
import type { Clock } from '../../core/clock.ts';
import type { Reason } from '../../core/reasons.ts';
import { Connections } from './http1/connections.ts';

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

/** An upstream with its slots. Lives across reloads while its configuration stays the same. */
export class Upstream implements AsyncDisposable {
  readonly name: string;
  readonly config: UpstreamConfig;
  readonly origin: URL;
  /** PEM of the pinned CA, for WebSockets, which do not go through the pool. */
  readonly ca: string | undefined;
  readonly serverName: string;
  readonly connections: Connections;
  streams = 0;
  readonly #timer: NodeJS.Timeout;
  #active = 0;
  #retired = false;
  readonly #streamsByCaller = new Map<string, number>();
  #waiting: { waiter: Waiter; untilMs: number }[] = [];

  constructor(name: string, config: UpstreamConfig, ca: string | undefined, clock: Clock) {
    this.name = name;
    this.config = config;
    this.origin = new URL(config.url);
    this.ca = ca;
    this.serverName = config.tls?.server_name ?? this.origin.hostname;
    this.connections = new Connections({
      origin: this.origin,
      ca,
      serverName: this.serverName,
      connectTimeoutMs: config.connect_timeout,
      keepAliveMs: config.keep_alive,
      monotonicMs: () => clock.monotonicMs(),
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

  /** Ends the wait of those whose time is over, and closes connections that have been idle for long. */
  #sweep(nowMs: number): void {
    this.connections.sweep(nowMs);
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
    return this.config.host === 'upstream' ? this.origin.host : this.config.host;
  }

  /** No new requests come; those under way end by themselves, whatever time they take, and with them their connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#retired = true;
    this.connections.retire();
  }
}
