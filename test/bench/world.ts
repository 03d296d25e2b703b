// What all peers of a run share: the folder, the cores, the upstream, Redis, the tokens. Everything in it ends with the run.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../support/free-port.ts';
import { ensureRedisServer, startRedis } from '../support/redis-server.ts';
import { startChild, untilServing } from './children.ts';
import { makeTokens, type TokenSet } from './tokens.ts';
import { ensureTools, type Tool } from './tools.ts';

/** Surroundings of one run. */
export interface World extends AsyncDisposable {
  readonly dir: string;
  readonly tokens: TokenSet;
  readonly upstreamPort: number;
  readonly redisUrl: string;
  /** Core of the measured peer, and cores of everything else; undefined without a second core. */
  readonly peerCore: string | undefined;
  readonly loadCores: string | undefined;
  /** Doorward's main module, and flags for Node when it runs it. */
  readonly program: string;
  readonly nodeArgs: readonly string[];
  /** Absolute path of a program. */
  tool(name: Tool): string;
}

/** What Node runs as Doorward, and with which flags. */
export interface DoorwardProgram {
  readonly program: string;
  readonly nodeArgs: readonly string[];
}

const BODY = JSON.stringify({
  id: 42,
  name: 'A plain item of a plain shop',
  description: 'What an application answers to a small read: a few fields, some text, nothing large.',
  price: { amount: '19.90', currency: 'EUR' },
  tags: ['plain', 'small'],
});

/** nginx that answers a small JSON body itself, in one process. */
function upstreamConfig(port: number): string {
  return `daemon off; master_process off; pid upstream.pid; error_log stderr;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; default_type application/json;
  server { listen 127.0.0.1:${port} backlog=4096; location / { return 200 '${BODY}'; } }
}
`;
}

/** Builds the surroundings with `tokenCount` tokens; throws, with nothing left running, when a part cannot start. */
export async function makeWorld(tools: readonly Tool[], tokenCount: number, what: DoorwardProgram): Promise<World> {
  ensureRedisServer();
  const found = ensureTools([...new Set<Tool>(['nginx', 'wrk', 'taskset', ...tools])]);
  const cores = availableParallelism();
  const [peerCore, loadCores] = cores < 2 ? [] : ['0', cores === 2 ? '1' : `1-${cores - 1}`];
  // Redis and whatever else is started from here inherits the cores of the load.
  if (loadCores !== undefined) spawnSync('taskset', ['-acp', loadCores, String(process.pid)]);
  await using ends = new AsyncDisposableStack();
  const dir = mkdtempSync(join(tmpdir(), 'doorward-bench-'));
  const removeDir = () => rmSync(dir, { recursive: true, force: true });
  process.once('exit', removeDir);
  ends.defer(removeDir);
  const redis = ends.use(await startRedis());
  process.once('exit', () => void redis.stop());
  const upstreamPort = await freePort();
  const config = join(dir, 'upstream.conf');
  writeFileSync(config, upstreamConfig(upstreamPort));
  const args = ['-p', `${dir}/`, '-c', config];
  const upstream = startChild({ name: 'upstream', dir, command: found.get('nginx') as string, args, cores: loadCores });
  ends.defer(() => upstream.stop());
  await untilServing(upstream, upstreamPort, '/');
  const tokens = await makeTokens(dir, tokenCount);
  const end = ends.move();
  return {
    dir,
    tokens,
    upstreamPort,
    redisUrl: redis.url,
    peerCore,
    loadCores,
    program: what.program,
    nodeArgs: what.nodeArgs,
    tool: (name) => found.get(name) as string,
    [Symbol.asyncDispose]: () => end.disposeAsync(),
  };
}
