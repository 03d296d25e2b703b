// What a refusal costs against an acceptance: bad tokens as shipped (an address that sends them is soon refused without
// signature work), the worst case with that limit off, and requests over a limit.
import { type LoadPlan, load, type Round } from './load.ts';
import type { RunningPeer } from './peer.ts';
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

/** What may pass on a slow machine before a limit has closed: once per client, and some under way. */
const FEW = 100;

/** Name of the row that the others are held against. */
export const acceptance = 'acceptance';

interface Contender {
  readonly kind: string;
  readonly bounded: boolean;
  readonly running: RunningPeer;
  readonly plan: LoadPlan;
  readonly rounds: Round[];
}

/**
 * Measures each kind on a Doorward of its own, and acceptance on `accepting`, in interleaved rounds. Throws when more
 * than a hundredth of what should be refused passed, or anything else failed.
 */
export async function measureRefusals(
  world: World,
  accepting: RunningPeer,
  length: {
    readonly rounds: number;
    readonly seconds: number;
    readonly warmUpSeconds: number;
    readonly connections: number;
  },
): Promise<readonly RefusalCost[]> {
  await using ends = new AsyncDisposableStack();
  const base = { ...length, tokenFile: world.tokens.file };
  const contenders: Contender[] = [];
  contenders.push({ kind: acceptance, bounded: true, running: accepting, plan: base, rounds: [] });
  for (const { kind, name, setting, forged } of kinds) {
    const running = await startDoorward(world, { name, ...setting });
    ends.defer(() => running.stop());
    contenders.push({ kind, bounded: !('badTokens' in setting), running, plan: { ...base, forged }, rounds: [] });
  }
  // Unmeasured: warms up, and uses up what may pass.
  for (const { running, plan } of contenders) await load(world, running, { ...plan, seconds: length.warmUpSeconds });
  for (let round = 0; round < length.rounds; round += 1) {
    for (const contender of contenders) contender.rounds.push(await loadOnce(world, contender));
  }
  return contenders.map(({ kind, bounded, rounds }) => ({
    kind,
    bounded,
    requestsPerSecond: median(rounds.map((round) => round.requestsPerSecond)),
    cpuUs: median(rounds.map((round) => round.cpuUs)),
    rounds,
  }));
}

async function loadOnce(world: World, { kind, running, plan }: Contender): Promise<Round> {
  const round = await load(world, running, plan);
  const { requests, refused, failed } = round;
  const asExpected = kind === acceptance ? refused === 0 : requests - refused <= Math.max(FEW, requests / 100);
  if (!asExpected || failed > 0) throw new Error(`${kind}: ${refused} of ${requests} refused, ${failed} failed`);
  return round;
}
