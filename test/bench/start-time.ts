// From the start of the process to `/readyz` 200, with Redis outside.
import { startDoorward } from './peers/doorward.ts';
import { type Spread, spread } from './statistics.ts';
import type { World } from './world.ts';

/** Starts Doorward `times` times; in ms. */
export async function measureStart(world: World, times: number): Promise<Spread> {
  const readyMs: number[] = [];
  for (let run = 0; run < times; run += 1) {
    const started = await startDoorward(world, { name: 'start', pollMs: 5 });
    readyMs.push(started.readyMs);
    await started.stop();
  }
  return spread(readyMs);
}
