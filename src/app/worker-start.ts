// Starts the workers that a configuration asks for. With one process nothing of them is loaded.
import type { LoadedConfig } from '../config/loaded.ts';
import type { Ground } from './foundation.ts';
import type { WorkerSeat } from './worker-seat.ts';
import { workerCount } from './worker-share.ts';
import type { WorkerPool } from './workers.ts';

/** What they are started with. */
export interface WorkerStartParts extends Ground {
  /** Given in a worker, which starts none. */
  readonly seat: WorkerSeat | undefined;
  readonly instanceId: string;
  /** The configuration in force. */
  readonly config: () => LoadedConfig;
}

/** Workers that open while their primary does. */
export interface StartedWorkers {
  readonly pool: WorkerPool;
  /** Rejects with what kept the first of them from opening. May be left alone. */
  readonly opened: Promise<void>;
}

/** Undefined where this process serves by itself. */
export async function startWorkers({ seat, ...parts }: WorkerStartParts): Promise<StartedWorkers | undefined> {
  const count = seat === undefined ? workerCount(parts.config()) : 1;
  if (count === 1) return undefined;
  const { WorkerPool } = await import('./workers.ts');
  const pool = new WorkerPool({ ...parts, count });
  const opened = pool.open();
  opened.catch(() => undefined);
  return { pool, opened };
}
