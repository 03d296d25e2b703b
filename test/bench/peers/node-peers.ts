// The peers that are small Node programs of ours: the bare pass-through and `http-proxy` alone.
import { join } from 'node:path';
import { freePort } from '../../support/free-port.ts';
import { startChild, untilServing } from '../children.ts';
import type { Peer } from '../peer.ts';
import { benchDir } from '../tools.ts';

const program = (name: string, about: string): Peer => ({
  name,
  about,
  checksTokens: false,
  async start(world, nodeArgs = []) {
    const port = await freePort();
    const args = [...nodeArgs, join(benchDir, 'peers', `${name}.ts`), String(port), String(world.upstreamPort)];
    const child = startChild({ name, dir: world.dir, command: process.execPath, args, cores: world.peerCore });
    await untilServing(child, port, '/');
    return { port, pid: child.pid, stop: child.stop };
  },
});

/** Bare pass-through of the same Node and undici. */
export const passThrough = program('pass-through', 'same Node and undici, no checks');

/** `http-proxy` alone. */
export const httpProxy = program('http-proxy', 'the package alone, no checks');
