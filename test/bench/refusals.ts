// What a refusal costs against an acceptance: bad tokens as shipped (an address that sends them is soon refused without
// signature work), the worst case with that limit off, and requests over a limit.
import { type LoadPlan, load, type Round } from './load.ts';
import { startDoorward } from './peers/doorward.ts';
import { median } from './statistics.ts';
import type { World } from './world.ts';

/** Medians of one kind of refusal. */
export interface RefusalCost {
  readonly kind: string;
  /** As an operator would run it; false: with a protection off, to know the worst. */
  readonly bounded: boolean;
  readonly requestsPerSecond: number;
  readonly cpuUs: number;
  readonly rounds: readonly Round[];
}

const kinds = [
  { kind: 'bad token, as shipped', name: 'refuses-bad-tokens', setting: {}, forged: true },
  {
    kind: 'bad token, never seen, no limit',
    name: 'refuses-forged',
    setting: { badTokens: '1000000000/1m' },
    forged: true,
  },
  { kind: 'over the limit', name: 'refuses-over-limit', setting: { clientRate: '1/1h' }, forged: false },
] as const;

/** Measures each kind on a Doorward of its own, `rounds` times `seconds`; throws when less than 99 % was refused. */
export async function measureRefusals(
  world: World,
  length: {
    readonly rounds: number;
    readonly seconds: number;
    readonly warmUpSeconds: number;
    readonly connections: number;
  },
): Promise<readonly RefusalCost[]> {
  const costs: RefusalCost[] = [];
  for (const { kind, name, setting, forged } of kinds) {
    const running = await startDoorward(world, { name, ...setting });
    try {
      const plan: LoadPlan = { ...length, tokenFile: world.tokens.file, forged };
      // Unmeasured: warms up, and uses up what may pass.
      await load(world, running, { ...plan, seconds: length.warmUpSeconds });
      const rounds: Round[] = [];
      for (let round = 0; round < length.rounds; round += 1) rounds.push(await load(world, running, plan));
      for (const { requests, refused, failed } of rounds) {
        if (refused < requests * 0.99 || failed > 0) {
          throw new Error(`${kind}: ${refused} of ${requests} refused, ${failed} failed`);
        }
      }
      const [rps, cpuUs] = [rounds.map((round) => round.requestsPerSecond), rounds.map((round) => round.cpuUs)];
      costs.push({
        kind,
        bounded: !('badTokens' in setting),
        requestsPerSecond: median(rps),
        cpuUs: median(cpuUs),
        rounds,
      });
    } finally {
      await running.stop();
    }
  }
  return costs;
}
