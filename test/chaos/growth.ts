// Whether the sidecars grow: resident memory and open descriptors of the same processes, in the second quarter of a run and in
// its last one. Of descriptors the least counts, since faults hold requests; of memory the middle one, since what V8 holds goes up
// and down by a hundred megabytes with its collections.
import { readdirSync, readFileSync } from 'node:fs';
import type { Replica } from './replica.ts';

/** A look at a process. */
export interface Footprint {
  readonly atMs: number;
  readonly pid: number;
  readonly memoryMb: number;
  readonly descriptors: number;
}

const EVERY_MS = 1000;
/** What one quarter may be above another and still be flat. */
const MEMORY_SHARE = 1.15;
const MEMORY_MB = 16;
const DESCRIPTORS = 12;
/** Share of a run in which a new process sizes its heap and fills its caches; it counts as no quarter of its own. */
const WARM_UP = 0.1;

/** Footprints of one replica, held against one another; `share` is where in the run a moment lies, from 0. */
export function judgeGrowth(
  samples: readonly Footprint[],
  share: (atMs: number) => number,
): { readonly isFlat: boolean; readonly text: string } {
  const last = samples.at(-1)?.pid;
  const ours = samples.filter(({ pid }) => pid === last);
  const warmAt = share(ours[0]?.atMs ?? 0) + WARM_UP;
  const quarter = (from: number, to: number) => {
    const within = ours.filter(({ atMs }) => share(atMs) >= Math.max(from, warmAt) && share(atMs) < to);
    const memory = within.map(({ memoryMb }) => memoryMb).sort((a, b) => a - b);
    const descriptors = Math.min(...within.map((each) => each.descriptors));
    return memory.length === 0 ? undefined : { memoryMb: memory[memory.length >> 1] as number, descriptors };
  };
  const [early, late] = [quarter(0.25, 0.5), quarter(0.75, Number.POSITIVE_INFINITY)];
  if (early === undefined || late === undefined)
    return { isFlat: false, text: 'its process did not live from the second quarter to the last' };
  const isFlat =
    late.memoryMb <= early.memoryMb * MEMORY_SHARE + MEMORY_MB && late.descriptors <= early.descriptors + DESCRIPTORS;
  const memory = `${early.memoryMb.toFixed(0)} to ${late.memoryMb.toFixed(0)} MB`;
  return { isFlat, text: `${memory}, ${early.descriptors} to ${late.descriptors} descriptors` };
}

/** Samples while it lives. */
export class Growth implements Disposable {
  readonly #replicas: readonly Replica[];
  readonly #lengthMs: number;
  readonly #beganMs = performance.now();
  readonly #timer: NodeJS.Timeout;
  readonly #samples = new Map<string, Footprint[]>();

  /** `lengthMs`: how long the run will take. */
  constructor(replicas: readonly Replica[], lengthMs: number) {
    this.#replicas = replicas;
    this.#lengthMs = lengthMs;
    for (const { name } of replicas) this.#samples.set(name, []);
    this.#timer = setInterval(() => this.#sample(), EVERY_MS);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** A sentence for each replica that is flat, and one for each that is not, or whose process did not live that long. */
  judge(): { readonly flat: string[]; readonly grown: string[] } {
    const [flat, grown]: [string[], string[]] = [[], []];
    for (const [name, samples] of this.#samples) {
      const { isFlat, text } = judgeGrowth(samples, (atMs) => (atMs - this.#beganMs) / this.#lengthMs);
      (isFlat ? flat : grown).push(`${name}: ${text}`);
    }
    return { flat, grown };
  }

  #sample(): void {
    for (const { name, pid } of this.#replicas) {
      const found = pid === undefined ? undefined : footprintOf(pid);
      if (found !== undefined) this.#samples.get(name)?.push(found);
    }
  }
}

/** Undefined when the process has just ended. */
function footprintOf(pid: number): Footprint | undefined {
  try {
    const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    if (kilobytes === undefined) return undefined;
    const descriptors = readdirSync(`/proc/${pid}/fd`).length;
    return { atMs: performance.now(), pid, memoryMb: Number(kilobytes) / 1024, descriptors };
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
