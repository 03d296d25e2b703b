// Resident memory of the sidecar over the soak: flat means that the last third is not above the middle one.
import type { SidecarProcess } from './sidecar-process.ts';

/** What the samples say. `growth`: median of the last third over that of the middle third, less one. */
export interface MemoryFigures {
  readonly growth: number;
  readonly text: string;
}

const EVERY_MS = 1000;

/** Samples once a second until it is stopped. */
export function sampleMemory(sidecar: SidecarProcess): { stop(): MemoryFigures } {
  const samples: number[] = [];
  const timer = setInterval(() => {
    if (sidecar.isAlive()) samples.push(sidecar.residentMb());
    if (samples.length % 30 === 0) console.error(`${samples.length} s: ${samples.at(-1)?.toFixed(0)} MB`);
  }, EVERY_MS);
  return {
    stop() {
      clearInterval(timer);
      const third = Math.floor(samples.length / 3);
      const [first, middle, last] = [0, 1, 2].map((at) => median(samples.slice(at * third, (at + 1) * third)));
      const growth = (last as number) / (middle as number) - 1;
      const thirds = [first, middle, last].map((mb) => (mb as number).toFixed(0)).join(', ');
      return { growth, text: `${thirds} MB by thirds, most ${Math.max(...samples).toFixed(0)} MB` };
    },
  };
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
