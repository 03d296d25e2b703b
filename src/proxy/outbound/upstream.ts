// One upstream: its connection pool, and the slots that bound how much of it we use. A request takes a slot or waits in a
// short queue; a response that turns out to be a stream moves to a slot of another kind, so that streams cannot starve
// ordinary requests (design 4.11). Speaking HTTP is undici's part, judging errors outbound/forward.ts's.
import { Pool } from 'undici';
import type { UpstreamConfig } from '../../config/schema.ts';

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
  readonly pool: Pool;
  streams = 0;
  #active = 0;
  #waiting: { waiter: Waiter; untilMs: number }[] = [];

  constructor(name: string, config: UpstreamConfig, ca: string | undefined) {
    this.name = name;
    this.config = config;
    this.origin = new URL(config.url);
    this.ca = ca;
    this.serverName = config.tls?.server_name ?? this.origin.hostname;
    this.pool = new Pool(config.url, {
      // Bounded by our own slots; the pool itself must never queue, since it would do so without a limit.
      connections: config.connections + config.streams + 1,
      pipelining: 1,
      keepAliveTimeout: config.keep_alive,
      keepAliveMaxTimeout: config.keep_alive,
      // Timeouts are kept by proxy/open-exchanges.ts: streams are known only once the head is there.
      headersTimeout: 0,
      bodyTimeout: 0,
      connectTimeout: config.connect_timeout,
      allowH2: false,
      connect: { ...(ca === undefined ? {} : { ca }) },
    });
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

  /** Ends the wait of those whose time is over. */
  sweep(nowMs: number): void {
    while (this.#waiting.length > 0 && (this.#waiting[0]?.untilMs ?? 0) <= nowMs) {
      this.#waiting.shift()?.waiter.giveUp();
    }
  }

  /** Takes a stream slot; false when all are in use. */
  openStream(): boolean {
    if (this.streams >= this.config.streams) return false;
    this.streams += 1;
    return true;
  }

  /** Gives a stream slot back. */
  closeStream(): void {
    this.streams -= 1;
  }

  /** The Host to send for a request whose own is `authority`. */
  hostFor(authority: string): string {
    if (this.config.host === 'preserve') return authority;
    return this.config.host === 'upstream' ? this.origin.host : this.config.host;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.destroy();
  }
}
