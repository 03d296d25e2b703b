// A small coverage-guided fuzzer: keeps every input that takes an edge never taken, or more often by an order than before,
// and makes new inputs from those kept. What throws is a finding. The inputs kept are small, and replayed in CI.
import { type Random, randomFrom } from './random.ts';

/** What is fuzzed. */
export interface Target {
  readonly name: string;
  /** Files of src that are under test, for coverage. */
  readonly files: RegExp;
  readonly seeds: readonly (string | Buffer)[];
  /** Words of the format, which chance alone would not find. */
  readonly words: readonly string[];
  readonly maxBytes: number;
  /** Throws when the input shows something that must not be. */
  check(input: Buffer): void;
}

/** What a run found. */
export interface FuzzOutcome {
  readonly executions: number;
  readonly seconds: number;
  readonly edgesTaken: number;
  readonly corpus: readonly Buffer[];
  readonly finding: { readonly input: Buffer; readonly error: unknown } | undefined;
}

const BYTES = [
  0, 1, 9, 10, 13, 32, 34, 35, 37, 44, 45, 46, 47, 48, 57, 58, 59, 63, 65, 91, 92, 93, 123, 125, 127, 128, 192, 255,
];
/** Like AFL: 1, 2, 3, 4-7, 8-15, 16-31, 32-127, 128+ are told apart. */
const ORDERS = Uint8Array.from({ length: 256 }, (_, count) =>
  count < 3 ? count : [4, 8, 16, 32, 128, 256].findIndex((limit) => count < limit) + 3,
);

/** Fuzzes for `ms`; starts from `corpus` and the seeds of the target. `hits` are the counters of instrument.ts. */
export function fuzz(
  target: Target,
  options: {
    readonly hits: Uint8Array;
    readonly ms: number;
    readonly corpus: readonly Buffer[];
    readonly seed: number;
  },
): FuzzOutcome {
  const { hits, ms, seed } = options;
  const random = randomFrom(seed);
  const best = new Uint8Array(hits.length);
  const kept: Buffer[] = [];
  let executions = 0;
  let finding: FuzzOutcome['finding'];
  const run = (input: Buffer) => {
    hits.fill(0);
    executions += 1;
    try {
      target.check(input);
    } catch (error) {
      finding = { input, error };
      return;
    }
    if (isNew(hits, best)) kept.push(input);
  };
  const startedMs = performance.now();
  const first = [...target.seeds.map((given) => Buffer.from(given)), ...options.corpus].sort(
    (a, b) => a.length - b.length,
  );
  for (const input of first) if (finding === undefined) run(input);
  while (finding === undefined && performance.now() - startedMs < ms) {
    for (let round = 0; round < 100 && finding === undefined; round += 1) run(mutate(random, kept, target));
  }
  const edgesTaken = best.reduce((sum, order) => sum + (order > 0 ? 1 : 0), 0);
  return { executions, seconds: (performance.now() - startedMs) / 1000, edgesTaken, corpus: kept, finding };
}

function isNew(hits: Uint8Array, best: Uint8Array): boolean {
  let found = false;
  for (let at = 0; at < hits.length; at += 1) {
    const count = hits[at] as number;
    if (count === 0) continue;
    const order = ORDERS[count] as number;
    if (order > (best[at] as number)) {
      best[at] = order;
      found = true;
    }
  }
  return found;
}

function mutate(random: Random, kept: readonly Buffer[], target: Target): Buffer {
  let input = kept.length === 0 ? Buffer.alloc(0) : random.pick(kept);
  const rounds = 1 + random.below(4);
  for (let round = 0; round < rounds; round += 1) input = change(random, input, kept, target);
  return input.subarray(0, target.maxBytes);
}

function change(random: Random, input: Buffer, kept: readonly Buffer[], { words }: Target): Buffer {
  const at = random.below(input.length + 1);
  const to = at + random.below(Math.min(input.length - at, 16) + 1);
  const replace = (from: number, until: number, bytes: Buffer) =>
    Buffer.concat([input.subarray(0, from), bytes, input.subarray(until)]);
  switch (random.below(8)) {
    case 0:
      return replace(at, at + 1, Buffer.of(random.pick(BYTES)));
    case 1:
      return replace(at, at + 1, Buffer.of(random.below(256)));
    case 2:
      return replace(at, to, Buffer.alloc(0));
    case 3:
      return replace(at, at, input.subarray(at, to));
    case 4:
      return replace(at, random.chance(0.5) ? at : to, Buffer.from(random.pick(words), 'latin1'));
    case 5: {
      const other = kept.length === 0 ? input : random.pick(kept);
      return replace(at, to, other.subarray(random.below(other.length + 1), random.below(other.length + 1)));
    }
    case 6:
      return replace(at, at, Buffer.alloc(1 + random.below(40), random.pick(BYTES)));
    default:
      return replace(at, at + 1, Buffer.of(((input[at] ?? 0) ^ (1 << random.below(8))) & 0xff));
  }
}
