// The gentle end of a replica: readiness fails, a while later no connection is taken any more, requests finish, streams are told,
// and what takes too long is cut.
import type { DataPlane } from '../proxy/server.ts';
import type { Log } from '../telemetry/log.ts';
import type { Current } from './generations.ts';
import type { ProxyPort } from './proxy-port.ts';
import type { Tracing } from './tracing.ts';
import type { WorkerPool } from './workers.ts';

/** What ends. */
export interface DrainingParts {
  readonly log: Log;
  readonly tracing: Tracing;
  readonly current: () => Current;
  readonly plane: () => DataPlane;
  /** Undefined where workers have it, or before it is open. */
  readonly proxy: () => ProxyPort | undefined;
  /** Undefined with one process; with several only the workers have requests to finish. */
  readonly pool: WorkerPool | undefined;
}

/** Drains once, however often it is asked to. */
export class Draining {
  readonly #parts: DrainingParts;
  #drained: Promise<boolean> | undefined;

  constructor(parts: DrainingParts) {
    this.#parts = parts;
  }

  /** True from the first call of {@link drain} on: what `/readyz` says no for. */
  get hasBegun(): boolean {
    return this.#drained !== undefined;
  }

  /** Serves on for `drain.delay`, then waits for at most `drain.timeout`. True when all was in time. */
  drain(): Promise<boolean> {
    this.#drained ??= this.#drainOnce();
    return this.#drained;
  }

  async #drainOnce(): Promise<boolean> {
    const { log, pool, current } = this.#parts;
    const { delay, timeout } = current().loaded.config.proxy.drain;
    log.info({ delay_ms: delay, timeout_ms: timeout }, 'drain_began');
    const complete = await (pool?.drain() ?? this.#finish(delay, timeout));
    log.info({ complete }, 'drain_ended');
    return complete;
  }

  async #finish(delayMs: number, timeoutMs: number): Promise<boolean> {
    const { plane, proxy, tracing } = this.#parts;
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    const closed = proxy()?.listener.close();
    plane().endStreams();
    const deadline = new Promise<'late'>((resolve) => setTimeout(resolve, timeoutMs, 'late').unref());
    const outcome = await Promise.race([Promise.all([plane().idle(), closed]), deadline]);
    if (outcome === 'late') proxy()?.listener.destroy();
    await tracing.flush();
    return outcome !== 'late';
  }
}
