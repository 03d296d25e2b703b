// Whether the sidecars grow: resident memory and open descriptors of the same processes, in the second quarter of a run and in
// its last one. The least of each quarter counts, since faults hold requests, and garbage waits for its collection.
import { readdirSync, readFileSync } from 'node:fs';
import type { Replica } from './replica.ts';

interface Footprint {
  readonly atMs: number;
  readonly pid: number;
  readonly memoryMb: number;
  readonly descriptors: number;
}

const EVERY_MS = 1000;
/** What one quarter may be above another and still be flat. */
const MEMORY_SHARE = 1.2;
const MEMORY_MB = 16;
const DESCRIPTORS = 12;

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
      const last = this.#least(samples, 0.75, 1.25);
      const early = this.#least(samples, 0.25, 0.5, samples.at(-1)?.pid);
      if (early === undefined || last === undefined) {
        grown.push(`${name}: its process did not live from the second quarter to the last`);
        continue;
      }
      const isFlat =
        last.memoryMb <= early.memoryMb * MEMORY_SHARE + MEMORY_MB &&
        last.descriptors <= early.descriptors + DESCRIPTORS;
      const memory = `${early.memoryMb.toFixed(0)} to ${last.memoryMb.toFixed(0)} MB`;
      (isFlat ? flat : grown).push(`${name}: ${memory}, ${early.descriptors} to ${last.descriptors} descriptors`);
    }
    return { flat, grown };
  }

  #least(samples: readonly Footprint[], from: number, to: number, pid = samples.at(-1)?.pid) {
    const within = samples.filter(({ atMs, pid: its }) => {
      const share = (atMs - this.#beganMs) / this.#lengthMs;
      return its === pid && share >= from && share < to;
    });
    if (within.length === 0) return undefined;
    return {
      memoryMb: Math.min(...within.map(({ memoryMb }) => memoryMb)),
      descriptors: Math.min(...within.map(({ descriptors }) => descriptors)),
    };
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
