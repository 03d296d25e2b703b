// What happens to the sidecar while it serves: reloads every few seconds, good and broken, by signal, by file and by call;
// and once, in the middle, a Redis that dies and comes back empty.
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { World } from '../world.ts';
import { type Actor, pause, repeat } from './exchange.ts';

/** Two files that hold and a broken one, in turn. */
export const reloads: Actor = async (world, stopped) => {
  let turn = 0;
  await repeat(stopped, 1, 3000, async () => {
    turn += 1;
    const broken = turn % 3 === 2;
    world.write(world.files[turn % 3] as string);
    if (turn % 2 === 0) world.sidecar.signal('SIGHUP');
    // Time for signal and file watch, which must not make a broken file any better.
    await pause(500, stopped);
    await world.ledger.attempt(broken ? 'reload of a broken file' : 'reload', async () => {
      const { status } = await world.admin('POST', '/v1/config/reload', {});
      assert.equal(status, broken ? 422 : 200);
      return 'never';
    });
  });
};

const AWAY_MS = 3000;

/** Kills Redis without warning, and starts it again with nothing in it. */
export async function restartRedis({ redis, ledger }: World): Promise<void> {
  await ledger.attempt('Redis restart', async () => {
    await redis.stop();
    await delay(AWAY_MS);
    await redis.start();
    return 'never';
  });
}
