// Added latency at half of saturation: Doorward against the bare pass-through under the same constant rate, by turns.
import { join } from 'node:path';
import { runToEnd } from './children.ts';
import type { RunningPeer } from './peer.ts';
import { median } from './statistics.ts';
import type { SteadyPlan, SteadyResult } from './steady-load.ts';
import { benchDir } from './tools.ts';
import type { World } from './world.ts';

/** Medians over the turns, in microseconds; `added` is Doorward's percentile minus the pass-through's. */
export interface Latency {
  readonly rate: number;
  readonly doorward: { readonly p50Us: number; readonly p99Us: number };
  readonly passThrough: { readonly p50Us: number; readonly p99Us: number };
  readonly added: { readonly p50Us: number; readonly p99Us: number };
  readonly turns: readonly { readonly peer: string; readonly result: SteadyResult }[];
}

/** One steady load in a process of its own, on the cores of the load; throws when a request failed. */
export async function steady(world: World, plan: SteadyPlan): Promise<SteadyResult> {
  const args = [join(benchDir, 'steady-load.ts'), JSON.stringify(plan)];
  const out = await runToEnd(process.execPath, args, world.loadCores, (plan.seconds + 20) * 1000);
  const result = JSON.parse(out) as SteadyResult;
  if (result.failed > 0) throw new Error(`${result.failed} requests failed at ${plan.rate}/s`);
  return result;
}

/** Measures at `rate` requests per second, `turns` times `seconds` each. */
export async function measureLatency(
  world: World,
  peers: { readonly doorward: RunningPeer; readonly passThrough: RunningPeer },
  load: { readonly rate: number; readonly turns: number; readonly seconds: number },
): Promise<Latency> {
  const results = { doorward: [] as SteadyResult[], passThrough: [] as SteadyResult[] };
  const turns: { peer: string; result: SteadyResult }[] = [];
  const plan = { rate: load.rate, seconds: load.seconds, connections: 64, tokenFile: world.tokens.file };
  for (let turn = 0; turn < load.turns; turn += 1) {
    for (const peer of ['passThrough', 'doorward'] as const) {
      const result = await steady(world, { ...plan, port: peers[peer].port });
      results[peer].push(result);
      turns.push({ peer, result });
    }
  }
  const middle = (of: readonly SteadyResult[]) => ({
    p50Us: median(of.map((result) => result.p50Us)),
    p99Us: median(of.map((result) => result.p99Us)),
  });
  const [doorward, passThrough] = [middle(results.doorward), middle(results.passThrough)];
  const added = { p50Us: doorward.p50Us - passThrough.p50Us, p99Us: doorward.p99Us - passThrough.p99Us };
  return { rate: load.rate, doorward, passThrough, added, turns };
}
