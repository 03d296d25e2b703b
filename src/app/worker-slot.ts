// One worker process and those that follow it when it dies: started, brought up to date, watched, started again after a
// growing pause. A worker that dies again and again soon after its start is given up.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { extname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { LoadedConfig } from '../config/loaded.ts';
import { shipConfig } from '../config/shipped.ts';
import type { Clock } from '../core/clock.ts';
import type { RevocationEntry } from '../stores/contracts/revocations.ts';
import type { Log } from '../telemetry/log.ts';
import type { PrimaryCalls, WorkerCalls, WorkerState } from './worker-calls.ts';
import { type Answers, Channel } from './worker-channel.ts';
import { countsOf, type MetricValues } from './worker-metrics.ts';

/** What a worker is given. */
export interface SlotParts {
  readonly number: number;
  readonly count: number;
  readonly instanceId: string;
  readonly config: () => LoadedConfig;
  readonly port: () => number;
  /** True while another worker serves. */
  readonly othersServe: () => boolean;
  /** Revocations that the shared log does not have yet. */
  readonly pending: () => readonly RevocationEntry[];
  readonly answers: Omit<Answers<PrimaryCalls>, 'state'>;
  readonly clock: Clock;
  readonly log: Log;
  /** It died; `counted` is what its counters had reached when they were read last. */
  readonly onDeath: (counted: readonly MetricValues[]) => void;
  /** It died too often too soon. */
  readonly onGivenUp: (error: Error) => void;
}

const PROGRAM = join(import.meta.dirname, `worker-program${extname(import.meta.filename)}`);
/** Opening waits for stores that may be away, two seconds each, and for the processors of a machine that is busy. */
const OPEN_MS = 60_000;
const SHORT_LIFE_MS = 10_000;
const SHORT_LIVES = 5;
const PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;
/** Looks, a second apart, without a word: a process whose event loop stands still serves nobody and must not keep its share. */
const SILENT_LOOKS = 30;
const CLOSE_MS = 5000;
const FIT_LOOK_MS = 100;

/** One place for a worker. */
export class WorkerSlot {
  readonly #parts: SlotParts;
  #child: ChildProcess | undefined;
  #channel: Channel<WorkerCalls, PrimaryCalls> | undefined;
  #state: WorkerState | undefined;
  #read: readonly MetricValues[] = [];
  /** Of the configuration it was opened with. */
  #hash = '';
  #serving = false;
  #ending = false;
  #silentLooks = 0;
  #shortLives = 0;
  #pause: AbortController | undefined;

  constructor(parts: SlotParts) {
    this.#parts = parts;
  }

  /** True from the moment it is told to listen until it dies: its channel ends first, and what that fails is no word of its. */
  get serving(): boolean {
    return this.#serving && this.#child?.connected === true;
  }

  /** What it said last; undefined while it is not there. */
  get state(): WorkerState | undefined {
    return this.serving ? this.#state : undefined;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts the first process; rejects with what kept it from opening. Serves nothing yet. */
  async open(): Promise<void> {
    const { child, channel } = this.#fork();
    const died = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`worker ${this.#parts.number} ended with ${signal ?? code} while it started`);
    });
    died.catch(() => undefined);
    await Promise.race([this.#callOpen(channel), died]);
  }

  /** Serves; answers the URL. */
  async listen(): Promise<string> {
    const { config, pending, port } = this.#parts;
    const channel = this.#channel as Channel<WorkerCalls, PrimaryCalls>;
    // From here on it takes part in all that is told to workers; what came while it opened it is told now.
    this.#serving = true;
    await channel.call('hold', pending());
    if (config().hash !== this.#hash) {
      await channel.call('prepare', shipConfig(config()));
      await channel.call('decide', 'use');
    }
    return channel.call('listen', port());
  }

  /** Asks it; rejects while it is not serving. */
  async call<Name extends keyof WorkerCalls & string>(
    name: Name,
    ask: WorkerCalls[Name][0],
    patienceMs?: number,
  ): Promise<WorkerCalls[Name][1]> {
    if (!this.#serving || this.#channel === undefined) throw new Error(`worker ${this.#parts.number} does not run`);
    return this.#channel.call(name, ask, patienceMs);
  }

  /** Its metrics now, or as they were read last when it does not answer. */
  async metrics(patienceMs: number): Promise<readonly MetricValues[]> {
    try {
      this.#read = await this.call('metrics', undefined, patienceMs);
    } catch {
      // What it counted until the last scrape still counts.
    }
    return this.#read;
  }

  /** To be called once a second: ends a process that has not said a word for half a minute. */
  look(): void {
    if (!this.#serving) return;
    this.#silentLooks += 1;
    if (this.#silentLooks < SILENT_LOOKS) return;
    this.#parts.log.error({ worker: this.#parts.number, pid: this.pid }, 'worker_silent');
    this.kill();
  }

  /** Ends the process at once; another one takes its place. */
  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  /** Its death is expected from now on, and no other takes its place. */
  retire(): void {
    this.#ending = true;
    this.#pause?.abort();
  }

  /** Ends it for good: it closes what it has open, and is killed when that takes too long. */
  async end(): Promise<void> {
    this.retire();
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    this.#channel?.call('close', undefined, CLOSE_MS).catch(() => undefined);
    const late = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS);
    await gone;
    clearTimeout(late);
  }

  /**
   * A worker that does not know the revocations would answer its share of requests with 503, while the others know what they
   * knew before Redis went away: as long as one of them serves, it waits.
   */
  async #fit(child: ChildProcess): Promise<void> {
    const isFit = () => {
      const facts = this.#state?.facts;
      if (facts === undefined || !facts.revocationsLoaded) return false;
      return facts.issuersConfigured === 0 || facts.issuersWithKeys > 0;
    };
    while (!isFit() && this.#parts.othersServe() && child.connected) await delay(FIT_LOOK_MS);
  }

  #fork(): { readonly child: ChildProcess; readonly channel: Channel<WorkerCalls, PrimaryCalls> } {
    const { number, answers, clock } = this.#parts;
    const startedMs = clock.monotonicMs();
    const child = fork(PROGRAM, [`worker-${number}`], {
      // Values with Infinity, Map and undefined in them arrive as they were.
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      // Two processes cannot have one debugger port.
      execArgv: process.execArgv.filter((option) => !option.startsWith('--inspect')),
    });
    const channel = new Channel<WorkerCalls, PrimaryCalls>(child, {
      ...answers,
      state: (state) => {
        this.#state = state;
        this.#silentLooks = 0;
        return undefined;
      },
    });
    child.on('error', (err) => this.#parts.log.error({ worker: number, err }, 'worker_trouble'));
    child.once('exit', (code, signal) => this.#died(child, signal ?? code, clock.monotonicMs() - startedMs));
    this.#child = child;
    this.#channel = channel;
    this.#state = undefined;
    this.#silentLooks = 0;
    return { child, channel };
  }

  #callOpen(channel: Channel<WorkerCalls, PrimaryCalls>): Promise<undefined> {
    const { number, count, instanceId, config } = this.#parts;
    const loaded = config();
    this.#hash = loaded.hash;
    return channel.call('open', { number, count, instanceId, config: shipConfig(loaded) }, OPEN_MS);
  }

  #died(child: ChildProcess, how: string | number | null, livedMs: number): void {
    if (child !== this.#child) return;
    const { number, log, onDeath, onGivenUp } = this.#parts;
    const served = this.#serving;
    this.#serving = false;
    if (this.#ending) return;
    log.error({ worker: number, pid: child.pid, exit: how, lived_ms: Math.round(livedMs) }, 'worker_died');
    onDeath(countsOf(this.#read));
    this.#read = [];
    this.#shortLives = served && livedMs >= SHORT_LIFE_MS ? 0 : this.#shortLives + 1;
    if (this.#shortLives < SHORT_LIVES) void this.#revive();
    else onGivenUp(new Error(`worker ${number} died ${SHORT_LIVES} times within ${SHORT_LIFE_MS} ms of its start`));
  }

  async #revive(): Promise<void> {
    const { number, log } = this.#parts;
    this.#pause = new AbortController();
    const pauseMs = Math.min(LONGEST_PAUSE_MS, PAUSE_MS * 2 ** this.#shortLives);
    await delay(pauseMs, undefined, { signal: this.#pause.signal, ref: false }).catch(() => undefined);
    if (this.#ending) return;
    const { child, channel } = this.#fork();
    try {
      await this.#callOpen(channel);
      await this.#fit(child);
      await this.listen();
      log.info({ worker: number, pid: child.pid }, 'worker_restarted');
    } catch (err) {
      // Its death, by its own hand or this one, is what brings the next.
      if (!this.#ending) log.error({ worker: number, pid: child.pid, err }, 'worker_not_started');
      child.kill('SIGKILL');
    }
  }
}
