// Several processes behind one proxy port: the primary starts the workers, keeps them alive, and speaks for all of them on
// the private ports. Each worker listens on the port itself (SO_REUSEPORT), so the kernel spreads connections, no process
// stands between a client and its worker, and a worker that dies takes nothing of the others with it.
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { LoadedConfig } from '../config/loaded.ts';
import type { AuditTrail } from '../core/audit-trail.ts';
import type { Clock } from '../core/clock.ts';
import { listenAddress } from '../http/listener.ts';
import type { KnownClients } from '../limits/clients.ts';
import type { RevocationFollower } from '../revocation/follower.ts';
import type { ClientNotice } from '../stores/contracts/clients.ts';
import type { KeptDecision } from '../stores/contracts/decisions.ts';
import type { RevocationDraft, RevocationEntry } from '../stores/contracts/revocations.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Siblings } from './siblings.ts';
import type { WorkerCalls, WorkerState } from './worker-calls.ts';
import { addedUp, type MetricValues, metricsText, metricValues } from './worker-metrics.ts';
import { type SlotParts, WorkerSlot } from './worker-slot.ts';

/** What the pool is opened with. */
export interface WorkerPoolParts {
  readonly count: number;
  /** By which a store counts the processes of this replica; the first worker has it as it is. */
  readonly instanceId: string;
  /** The configuration in force. */
  readonly config: () => LoadedConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What the primary does for workers, and what workers tell it. */
export interface PrimaryParts {
  readonly trail: AuditTrail;
  readonly follower: Pick<RevocationFollower, 'hold' | 'release' | 'unlogged'>;
  readonly known: Pick<KnownClients, 'put'>;
}

const ASK_MS = 2000;
const PREPARE_MS = 30_000;
const LOOK_MS = 1000;
const DRAIN_SLACK_MS = 5000;

/** The workers of this replica. */
export class WorkerPool implements Siblings, AsyncDisposable {
  readonly #parts: WorkerPoolParts;
  readonly #slots: readonly WorkerSlot[];
  readonly #failed = Promise.withResolvers<Error>();
  readonly #looking: NodeJS.Timeout;
  #primary: PrimaryParts | undefined;
  #port = 0;
  #url = '';
  #restarts = 0;
  /** What workers that have ended had counted. */
  #departed: Promise<readonly MetricValues[]> = Promise.resolve([]);

  constructor(parts: WorkerPoolParts) {
    const { count, instanceId, config, clock, log, metrics } = parts;
    this.#parts = parts;
    this.#slots = Array.from({ length: count }, (_, at) => {
      const others = () => this.#slots.filter((slot) => slot !== this.#slots[at]);
      return new WorkerSlot({
        ...{ number: at + 1, count, config, clock, log },
        instanceId: at === 0 ? instanceId : `${instanceId}.${at + 1}`,
        port: () => this.#port,
        othersServe: () => others().some((slot) => slot.serving),
        pending: () => this.#primary?.follower.unlogged() ?? [],
        answers: this.#answers(others),
        onDeath: (counted) => {
          this.#restarts += 1;
          metrics.workerDeaths.inc();
          this.#departed = this.#departed.then((before) => addedUp([before, counted]));
        },
        onGivenUp: (error) => this.#failed.resolve(error),
      });
    });
    this.#looking = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** Resolves when workers cannot be kept alive: the program has to end. */
  get failed(): Promise<Error> {
    return this.#failed.promise;
  }

  /** Starts all of them; rejects with what kept the first of them from opening, or with the system's error for a port in use. */
  async open(): Promise<void> {
    this.#port = await freePort(this.#parts.config().config.proxy.listen);
    await Promise.all(this.#slots.map((slot) => slot.open()));
  }

  /** Serves the proxy port from now on. */
  async listen(primary: PrimaryParts): Promise<void> {
    this.#primary = primary;
    const [url] = await Promise.all(this.#slots.map((slot) => slot.listen()));
    this.#url = url as string;
  }

  /** Of the proxy port, once it is served. */
  get url(): string {
    return this.#url;
  }

  /** Serving workers, those that should serve, and how many have died. */
  figures(): { readonly serving: number; readonly configured: number; readonly deaths: number } {
    return { serving: this.#serving().length, configured: this.#parts.count, deaths: this.#restarts };
  }

  /** What the serving ones said last. */
  states(): readonly WorkerState[] {
    return this.#slots.map(({ state }) => state).filter((state) => state !== undefined);
  }

  /** The text of a scrape over all processes. */
  async metricsText(): Promise<string> {
    const [own, departed, ...workers] = await Promise.all([
      metricValues(this.#parts.metrics),
      this.#departed,
      ...this.#slots.map((slot) => slot.metrics(ASK_MS)),
    ]);
    return metricsText([own, departed, ...workers]);
  }

  /** Upstreams as each serving worker sees them. */
  upstreams(): Promise<WorkerCalls['upstreams'][1][]> {
    return this.#ask('upstreams', undefined);
  }

  /** Refusals that workers keep, beside what the store has. */
  async decisions(filter: Readonly<Record<string, string>>, limit: number): Promise<readonly KeptDecision[]> {
    return (await this.#ask('decisions', { filter, limit })).flat();
  }

  /** Tokens remembered by workers that the revocation would refuse. */
  async wouldRefuse(draft: RevocationDraft, tenant: string | undefined): Promise<number> {
    return (await this.#ask('wouldRefuse', { draft, tenant })).reduce((sum, count) => sum + count, 0);
  }

  async hold(entries: readonly RevocationEntry[]): Promise<void> {
    await this.#ask('hold', entries);
  }

  async withdraw(entryId: string): Promise<void> {
    await this.#ask('withdraw', entryId);
  }

  async notice(notice: ClientNotice): Promise<void> {
    await this.#ask('notice', notice);
  }

  /**
   * Lets every serving worker compile a configuration. Undefined when all can; else why one cannot, and then none uses it. A
   * worker that does not answer is ended: the one that takes its place starts with what is in force then.
   */
  async prepare(ship: WorkerCalls['prepare'][0]): Promise<string | undefined> {
    const asked = this.#serving();
    const outcomes = await Promise.allSettled(asked.map((slot) => slot.call('prepare', ship, PREPARE_MS)));
    const refused = outcomes.find((outcome, at) => outcome.status === 'rejected' && asked[at]?.serving);
    return refused?.status === 'rejected' ? (refused.reason as Error).message : undefined;
  }

  /** What was prepared is used, or forgotten. A worker that fails to is ended. */
  async decide(what: 'use' | 'forget'): Promise<void> {
    await Promise.all(
      this.#serving().map(async (slot) => {
        try {
          await slot.call('decide', what);
        } catch {
          slot.kill();
        }
      }),
    );
  }

  /** True when everything under way finished in time. */
  async drain(): Promise<boolean> {
    const { delay, timeout } = this.#parts.config().config.proxy.drain;
    const serving = this.#serving();
    for (const slot of this.#slots) slot.retire();
    const patienceMs = delay + timeout + DRAIN_SLACK_MS;
    const outcomes = await Promise.allSettled(serving.map((slot) => slot.call('drain', undefined, patienceMs)));
    return outcomes.every((outcome) => outcome.status === 'fulfilled' && outcome.value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#looking);
    await Promise.all(this.#slots.map((slot) => slot.end()));
  }

  #serving(): readonly WorkerSlot[] {
    return this.#slots.filter(({ serving }) => serving);
  }

  /** Answers of those that answer in time. */
  async #ask<Name extends keyof WorkerCalls & string>(
    name: Name,
    ask: WorkerCalls[Name][0],
    of: readonly WorkerSlot[] = this.#serving(),
  ): Promise<WorkerCalls[Name][1][]> {
    const outcomes = await Promise.allSettled(of.map((slot) => slot.call(name, ask, ASK_MS)));
    return outcomes.filter((outcome) => outcome.status === 'fulfilled').map(({ value }) => value);
  }

  /** What a worker tells is taken over here and told to the others. */
  #answers(others: () => readonly WorkerSlot[]): SlotParts['answers'] {
    const primary = () => {
      if (this.#primary === undefined) throw new TypeError('no worker serves yet');
      return this.#primary;
    };
    const tell = async <Name extends 'hold' | 'withdraw' | 'notice'>(name: Name, ask: WorkerCalls[Name][0]) => {
      const serving = others().filter((slot) => slot.serving);
      await this.#ask(name, ask, serving);
      return undefined;
    };
    return {
      audit: async (draft) => {
        await primary().trail.record(draft);
        return undefined;
      },
      auditRoom: async () => {
        await primary().trail.requireRoom();
        return undefined;
      },
      hold: (entries) => {
        for (const entry of entries) primary().follower.hold(entry);
        return tell('hold', entries);
      },
      withdraw: (entryId) => {
        primary().follower.release(entryId);
        return tell('withdraw', entryId);
      },
      notice: (notice) => {
        primary().known.put(notice);
        return tell('notice', notice);
      },
    };
  }

  #look(): void {
    for (const slot of this.#slots) slot.look();
  }
}

/**
 * The port of the address, found free by taking it for a moment without SO_REUSEPORT: with it, a second program of the same
 * user would quietly share our connections, and we theirs. Rejects with the system's error when it is in use.
 */
async function freePort(address: string): Promise<number> {
  const probe = createServer();
  probe.listen({ ...listenAddress(address), exclusive: true });
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  return port;
}
