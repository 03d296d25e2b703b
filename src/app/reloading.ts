// Reloading as the program does it: by file watch, signal or call; the outcome is logged, counted and followed.

import { configId, type LoadedConfig } from '../config/loaded.ts';
import { ConfigError } from '../config/problem.ts';
import type { ConfigHolder, ReloadOutcome } from '../config/reload.ts';
import { type ConfigWatch, watchConfig } from '../config/watch.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Current } from './generations.ts';
import { reloadTogether } from './together.ts';
import type { WorkerPool } from './workers.ts';

/** What it is made of. */
export interface ReloadingParts {
  readonly holder: ConfigHolder;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Undefined with one process. */
  readonly pool: WorkerPool | undefined;
  /** Throws for a key, secret or certificate that turns out to be unusable. */
  readonly compile: (loaded: LoadedConfig) => Current;
  /** From here on requests see it. */
  readonly switchTo: (compiled: Current) => void;
}

/** Reloads, one at a time. */
export class Reloading implements AsyncDisposable {
  readonly #parts: ReloadingParts;
  #watch: ConfigWatch | undefined;
  #before: Promise<unknown> = Promise.resolve();

  constructor(parts: ReloadingParts) {
    this.#parts = parts;
  }

  /** Without workers the outcome is in force before the promise is there; with them every process has it, or none. */
  reload(): Promise<ReloadOutcome> {
    const { holder, pool, compile, switchTo } = this.#parts;
    const usable = (loaded: LoadedConfig) => orRefused(loaded, compile);
    if (pool === undefined) {
      return Promise.resolve(this.#told(holder.reload((next) => switchTo(usable(next)))));
    }
    const steps = { holder, pool, compile: usable, switchTo };
    const outcome = this.#before.then(async () => this.#told(await reloadTogether(steps)));
    this.#before = outcome.catch(() => undefined);
    return outcome;
  }

  /** Reloads from now on whenever a file of the configuration changes. */
  followFiles(): void {
    const { holder, metrics } = this.#parts;
    this.#watch = watchConfig(holder.current(), () => void this.reload());
    metrics.configReloadSuccess.set(1);
    this.#noteHash();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch?.[Symbol.asyncDispose]();
  }

  #told(outcome: ReloadOutcome): ReloadOutcome {
    const { holder, metrics, log } = this.#parts;
    metrics.configReloadSuccess.set(outcome.ok ? 1 : 0);
    this.#watch?.follow(holder.current());
    if (outcome.ok) {
      metrics.configRestartNeeded.set(outcome.restartNeeded.length > 0 ? 1 : 0);
      this.#noteHash();
      log.info({ changed: outcome.changed, restart_needed: outcome.restartNeeded }, 'config_reloaded');
    } else {
      const problems = outcome.problems.map(({ place, path, message }) => `${place} ${path}: ${message}`);
      log.error({ problems }, 'config_reload_refused');
    }
    return outcome;
  }

  #noteHash(): void {
    const { holder, metrics } = this.#parts;
    metrics.configHash.set(Number.parseInt(configId(holder.current()), 16));
  }
}

/** What cannot be used refuses the reload like any other problem. */
function orRefused(loaded: LoadedConfig, compile: ReloadingParts['compile']): Current {
  try {
    return compile(loaded);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : 'cannot be used';
    throw new ConfigError([{ place: loaded.file, path: '', message, nearest: undefined }], { cause });
  }
}
