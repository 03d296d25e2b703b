// Throughput and CPU per request of all peers, in interleaved rounds: A B C A B C …, so that what the machine does besides
// hits all alike.
import { load, type Round } from './load.ts';
import type { RunningPeer } from './peer.ts';
import type { World } from './world.ts';

/** Rounds by peer name; round n of one peer ran beside round n of the others. */
export type Rounds = ReadonlyMap<string, readonly Round[]>;

/** Runs the rounds; throws when an answer was no success or a connection failed. */
export async function measureThroughput(
  world: World,
  peers: ReadonlyMap<string, RunningPeer>,
  plan: {
    readonly rounds: number;
    readonly seconds: number;
    readonly warmUpSeconds: number;
    readonly connections: number;
  },
): Promise<Rounds> {
  const rounds = new Map<string, Round[]>([...peers.keys()].map((name) => [name, []]));
  const once = async (name: string, peer: RunningPeer, seconds: number) => {
    const loadPlan = { tokenFile: world.tokens.file, seconds, connections: plan.connections };
    let round = await load(world, peer, loadPlan);
    // On a machine that others keep busy one second may pass without an answer; that says nothing about the peer.
    if (round.requests === 0) round = await load(world, peer, { ...loadPlan, seconds: seconds + 4 });
    if (round.refused + round.failed > 0 || round.requests === 0) {
      throw new Error(`${name}: ${round.refused} refused and ${round.failed} failed of ${round.requests}`);
    }
    return round;
  };
  if (plan.warmUpSeconds > 0) for (const [name, peer] of peers) await once(name, peer, plan.warmUpSeconds);
  for (let number = 1; number <= plan.rounds; number += 1) {
    for (const [name, peer] of peers) {
      const round = await once(name, peer, plan.seconds);
      rounds.get(name)?.push(round);
      const rate = round.requestsPerSecond.toFixed(0).padStart(7);
      console.error(
        `round ${number}/${plan.rounds}  ${name.padEnd(17)}${rate}/s ${round.cpuUs.toFixed(1).padStart(7)} µs`,
      );
    }
  }
  return rounds;
}
