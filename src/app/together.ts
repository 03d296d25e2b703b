// A reload over several processes: every one of them compiles the new configuration before any of them uses it.
import type { LoadedConfig } from '../config/loaded.ts';
import { ConfigError } from '../config/problem.ts';
import type { ConfigHolder, ReloadOutcome } from '../config/reload.ts';
import { shipConfig } from '../config/shipped.ts';
import type { Current } from './generations.ts';
import type { Switching } from './switching.ts';
import type { SeatedParts } from './worker-seat.ts';
import type { WorkerPool } from './workers.ts';

/** What the primary does it with. */
export interface TogetherSteps {
  readonly holder: ConfigHolder;
  readonly pool: Pick<WorkerPool, 'prepare' | 'decide'>;
  /** Throws ConfigError for what cannot be used. */
  readonly compile: (loaded: LoadedConfig) => Current;
  readonly switchTo: (compiled: Current) => void;
}

/** All or none; one at a time. */
export async function reloadTogether({ holder, pool, compile, switchTo }: TogetherSteps): Promise<ReloadOutcome> {
  const before = holder.current();
  const prepared = holder.prepare();
  if (!prepared.ok) return prepared;
  const { changed, restartNeeded, next, take } = prepared;
  try {
    if (changed) {
      const compiled = compile(next);
      const trouble = await pool.prepare(shipConfig(next));
      if (trouble !== undefined) throw refusedThere(next.file, trouble);
      switchTo(compiled);
    }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // What the old one rests on was let go of when the new one was compiled.
    switchTo(compile(before));
    await pool.decide('forget');
    return { ok: false, problems: error.problems };
  }
  take();
  if (changed) await pool.decide('use');
  return { ok: true, changed, restartNeeded };
}

/** A worker's part: compiles what the primary gives it, and uses that or what is in use when the primary has decided. */
export function twoSteps(holder: ConfigHolder, switching: Switching): Pick<SeatedParts, 'prepare' | 'decide'> {
  let prepared: Current | undefined;
  return {
    prepare(loaded) {
      prepared = switching.compile(loaded);
    },
    decide(what) {
      const compiled = what === 'use' ? prepared : undefined;
      if (compiled === undefined) switching.switchTo(switching.compile(switching.current().loaded));
      else holder.reload(() => switching.switchTo(compiled));
    },
  };
}

const refusedThere = (file: string, message: string) =>
  new ConfigError([{ place: file, path: '', message, nearest: undefined }]);
