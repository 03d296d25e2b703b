// Memory under the load over minutes, with 10,000 distinct tokens: it must be flat and small.
import { load, type Round } from './load.ts';
import type { RunningPeer } from './peer.ts';
import { median } from './statistics.ts';
import type { World } from './world.ts';

/** Resident memory in MB; `first` and `last`: medians of the first and last fifth of the samples after the first one. */
export interface Soak {
  readonly minutes: number;
  readonly tokens: number;
  readonly first: number;
  readonly last: number;
  readonly most: number;
  readonly requests: number;
  readonly samples: readonly number[];
}

const SLICE_S = 10;

/** Loads `peer` for `minutes` and samples its memory every 10 s; throws when a request was refused or failed. */
export async function soak(world: World, peer: RunningPeer, minutes: number, tokens = 10_000): Promise<Soak> {
  const tokenFile = await world.tokens.write('soak-tokens.txt', tokens);
  const rounds: Round[] = [];
  for (let slice = 0; slice < (minutes * 60) / SLICE_S; slice += 1) {
    const round = await load(world, peer, { tokenFile, seconds: SLICE_S, connections: 64 });
    if (round.refused + round.failed > 0)
      throw new Error(`${round.refused} refused, ${round.failed} failed in the soak`);
    rounds.push(round);
    console.error(`soak ${(((slice + 1) * SLICE_S) / 60).toFixed(1)} min: ${round.residentMb.toFixed(1)} MB`);
  }
  const samples = rounds.map((round) => round.residentMb);
  const fifth = Math.max(1, Math.floor(samples.length / 5));
  const requests = rounds.reduce((sum, round) => sum + round.requests, 0);
  const first = median(samples.slice(1, 1 + fifth));
  return { minutes, tokens, first, last: median(samples.slice(-fifth)), most: Math.max(...samples), requests, samples };
}
