// Times one operation in a tight loop: enough calls to outlast the timer, several passes, the quickest and middle one said.
import { median } from '../statistics.ts';

const PASS_MS = 120;
const PASSES = 7;

/** Keeps results alive, so that the compiler cannot drop the work. */
let sink: unknown;

/** Prints nanoseconds per call of `operation`, which is given the number of the call. */
export function time(name: string, operation: (call: number) => unknown): void {
  let calls = 1000;
  const pass = (): number => {
    const startedAt = performance.now();
    for (let call = 0; call < calls; call += 1) sink = operation(call);
    return performance.now() - startedAt;
  };
  for (let tookMs = pass(); tookMs < PASS_MS; tookMs = pass())
    calls = Math.ceil(calls * Math.min(10, (1.2 * PASS_MS) / tookMs));
  const ns = Array.from({ length: PASSES }, () => (pass() * 1e6) / calls);
  const [least, middle] = [Math.min(...ns), median(ns)];
  console.log(`${name.padEnd(44)}${least.toFixed(0).padStart(8)} ns ${middle.toFixed(0).padStart(8)} ns`);
  if (sink === time) console.log(sink);
}
