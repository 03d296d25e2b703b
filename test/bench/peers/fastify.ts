// The Fastify stack, with its token cache on or off. It lives in a package of its own: see fastify-stack/.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../support/free-port.ts';
import { bearer } from '../checks.ts';
import { startChild, untilServing } from '../children.ts';
import type { Peer } from '../peer.ts';
import { audience, issuer } from '../tokens.ts';
import { benchDir, ensureFastifyStack } from '../tools.ts';

const stack = (
  name: string,
  about: string,
  tuning: { readonly cache: boolean; readonly pipelining: boolean },
): Peer => ({
  name,
  about: `@fastify/http-proxy, jwt, rate-limit on Redis per address and client; ${about}`,
  checksTokens: true,
  async start(world, nodeArgs = []) {
    ensureFastifyStack();
    const port = await freePort();
    const { redisUrl, upstreamPort, tokens } = world;
    const file = join(world.dir, `${name}.json`);
    const settings = {
      port,
      upstreamPort,
      redisUrl,
      issuer,
      audience,
      pem: tokens.pem,
      limit: 1_000_000_000,
      ...tuning,
    };
    writeFileSync(file, JSON.stringify(settings));
    const cwd = join(benchDir, 'fastify-stack');
    const args = [...nodeArgs, 'server.ts', file];
    const child = startChild({ name, dir: world.dir, command: process.execPath, args, cores: world.peerCore, cwd });
    await untilServing(child, port, '/', bearer(tokens.good));
    return { port, pid: child.pid, stop: child.stop };
  },
});

/** As the READMEs set it up, and with the token cache of @fastify/jwt. */
export const fastify = stack('fastify', 'token cache on', { cache: true, pipelining: false });

/** As the READMEs set it up: without the token cache. */
export const fastifyNoCache = stack('fastify-no-cache', 'token cache off', { cache: false, pipelining: false });

/** What somebody who knows ioredis would make of it: commands of one turn leave in one write. */
export const fastifyTuned = stack('fastify-tuned', 'token cache on, auto-pipelining on', {
  cache: true,
  pipelining: true,
});
