// Doorward itself, as an operator runs it: `main.ts run --config`, with Redis, limits per address and per client that never
// refuse, the revocation check and the default identity headers.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SidecarInput } from '../../../src/config/schema.ts';
import { freePort } from '../../support/free-port.ts';
import { type Child, startChild, untilServing } from '../children.ts';
import type { Peer, RunningPeer } from '../peer.ts';
import { audience, issuer } from '../tokens.ts';
import type { World } from '../world.ts';

const NEVER = '1000000000/1m';

/** What differs between the Doorwards of a run. */
export interface DoorwardSetting {
  readonly name: string;
  /** Replicas of one fleet share what stands in Redis; default: alone. */
  readonly fleet?: string;
  /** `redis.timeout`; default as shipped. */
  readonly redisTimeout?: string;
  /** What differs in the upstream's settings. */
  readonly upstream?: Partial<NonNullable<SidecarInput['upstreams']>[string]>;
  /** Rate of the limit per client. */
  readonly clientRate?: string;
  /** `proxy.bad_tokens`; default as shipped. */
  readonly badTokens?: string;
  readonly nodeArgs?: readonly string[];
  /** How long it may take to be ready; default 15 s. */
  readonly readyWithinMs?: number;
  /** How often readiness is asked, in ms. */
  readonly pollMs?: number;
}

/** A started Doorward and how long it took from the start of the process to ready. */
export interface StartedDoorward extends RunningPeer {
  readonly readyMs: number;
}

/** First part of the Redis keys of the Doorward called `name`: none of a run sees another's. */
export const redisPrefix = (name: string) => `bench-${name}`;

function configuration(world: World, setting: DoorwardSetting, port: number, observePort: number): SidecarInput {
  return {
    version: 1,
    name: `bench-${setting.fleet ?? setting.name}`,
    state_dir: join(world.dir, `state-${setting.name}`),
    proxy: {
      listen: `127.0.0.1:${port}`,
      drain: { delay: '0s', timeout: '1s' },
      ...(setting.badTokens === undefined ? {} : { bad_tokens: setting.badTokens }),
    },
    admin: { listen: 'off' },
    observe: { listen: `127.0.0.1:${observePort}` },
    upstreams: { app: { url: `http://127.0.0.1:${world.upstreamPort}`, ...setting.upstream } },
    issuers: {
      bench: { issuer, audience: [audience], keys: { inline: { keys: [world.tokens.jwk] } }, algorithms: ['ES256'] },
    },
    limits: { per_ip: { key: 'ip', rate: NEVER }, per_client: { key: 'client', rate: setting.clientRate ?? NEVER } },
    defaults: { limits: ['per_ip', 'per_client'] },
    routes: { all: { match: { prefix: '/' } } },
    redis: {
      url: { value: world.redisUrl },
      prefix: redisPrefix(setting.fleet ?? setting.name),
      ...(setting.redisTimeout === undefined ? {} : { timeout: setting.redisTimeout }),
    },
    log: { level: 'info', decisions: { allow: 0 } },
  };
}

/** Starts one Doorward; resolves when `/readyz` says 200. */
export async function startDoorward(world: World, setting: DoorwardSetting): Promise<StartedDoorward> {
  const port = await freePort();
  const observePort = await freePort();
  const file = join(world.dir, `${setting.name}.yaml`);
  // JSON is YAML.
  writeFileSync(file, JSON.stringify(configuration(world, setting, port, observePort), undefined, 2));
  const args = [...world.nodeArgs, ...(setting.nodeArgs ?? []), world.program, 'run', '--config', file];
  const startedAt = performance.now();
  const plan = { name: setting.name, dir: world.dir, command: process.execPath, args, cores: world.peerCore };
  const child: Child = startChild(plan);
  await untilServing(child, observePort, '/readyz', {}, setting.pollMs ?? 25, setting.readyWithinMs);
  return { port, pid: child.pid, stop: child.stop, readyMs: performance.now() - startedAt };
}

/** Doorward with everything on. */
export const doorward: Peer = {
  name: 'doorward',
  about: 'everything on: tokens, revocations, limits per address and client on Redis, identity headers',
  checksTokens: true,
  start: (world, nodeArgs = []) => startDoorward(world, { name: 'doorward', nodeArgs }),
};
