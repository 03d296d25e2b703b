// What a sidecar is started with, and what it is for whoever started it: the program, a worker, a test.
import type { ReloadOutcome } from '../config/reload.ts';
import type { Clock } from '../core/clock.ts';
import type { Lookup } from '../proxy/outbound/endpoints/names.ts';
import type { Log } from '../telemetry/log.ts';
import type { routeRows } from './desks.ts';
import type { WorkerSeat } from './worker-seat.ts';

/** What a start needs. */
export interface SidecarOptions {
  readonly file: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Default: JSON lines on standard output at the configured level. */
  readonly log?: Log;
  /** Resolves host names of upstreams; default: the system's resolver. */
  readonly lookup?: Lookup;
  /** Told of every refusal, as it is kept for `doorward why`. */
  readonly onRefusal?: (decision: Readonly<Record<string, unknown>>) => void;
  /** Refuses, at the start and at each reload, what must not serve users (config/production.ts). Workers get what was accepted. */
  readonly production?: boolean;
  /** Given in a worker process: the configuration comes from the primary, which has the private ports. */
  readonly seat?: WorkerSeat;
  /** Default: the machine's own; tests let replicas disagree about the time. */
  readonly clock?: Clock;
}

/** A running sidecar. Disposing it cuts everything; `drain` ends it gently. */
export interface Sidecar extends AsyncDisposable {
  readonly proxyUrl: string;
  readonly adminUrl: string | undefined;
  readonly observeUrl: string | undefined;
  readonly socketPath: string;
  readonly stateDir: string;
  readonly adminTokenFile: string;
  routes(): ReturnType<typeof routeRows>;
  /** Without workers the outcome is in force before the promise is there; with them every process has it, or none. */
  reload(): Promise<ReloadOutcome>;
  /** Fails readiness, serves on for `drain.delay`, accepts no more, finishes, ends streams with 1001. True when all was in time. */
  drain(): Promise<boolean>;
  /** Resolves when workers cannot be kept alive and the program has to end; never without workers. */
  readonly failed: Promise<Error>;
}
