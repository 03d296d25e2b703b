// `npm run bench`: starts the upstream, Redis and every peer, checks them, measures, prints tables and writes results/.
// Timing decides nothing here: the exit code is 1 only when something did not start, serve or refuse.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { beAlone } from './alone.ts';
import { checkPeer } from './checks.ts';
import { interrupt } from './children.ts';
import { measureLatency } from './latency.ts';
import { type BenchOptions, readOptions, usage } from './options.ts';
import type { Peer, RunningPeer } from './peer.ts';
import { doorward, startDoorward } from './peers/doorward.ts';
import { fastify, fastifyNoCache, fastifyTuned } from './peers/fastify.ts';
import { haproxy } from './peers/haproxy.ts';
import { nginx } from './peers/nginx.ts';
import { httpProxy, passThrough } from './peers/node-peers.ts';
import { profilePeer } from './profile.ts';
import { measureRefusals } from './refusals.ts';
import { type Findings, markdown } from './report.ts';
import { measureRevocations, revokedName } from './revocations.ts';
import { soak } from './soak.ts';
import { measureStart } from './start-time.ts';
import { median } from './statistics.ts';
import { measureThroughput } from './throughput.ts';
import { benchDir, type Tool, versionOf } from './tools.ts';
import { makeWorld, type World } from './world.ts';

const allPeers: readonly Peer[] = [
  doorward,
  passThrough,
  httpProxy,
  nginx,
  haproxy,
  fastify,
  fastifyTuned,
  fastifyNoCache,
];
const TOKENS = 1000;

function choose(names: readonly string[] | undefined): readonly Peer[] {
  if (names === undefined) return allPeers;
  return names.map((name) => {
    const peer = allPeers.find((one) => one.name === name);
    if (peer === undefined) throw new Error(`no peer ${name}; there are ${allPeers.map((one) => one.name).join(', ')}`);
    return peer;
  });
}

function surroundings(world: World, options: BenchOptions): Omit<Findings, 'rounds' | 'about'> {
  const memory = /MemTotal:\s+(\d+)/.exec(spawnSync('cat', ['/proc/meminfo'], { encoding: 'utf8' }).stdout)?.[1];
  const processors = cpus();
  const pinned =
    world.peerCore === undefined
      ? 'One core only: nothing is pinned, and the figures mean little.'
      : `Peer on core ${world.peerCore}, load, upstream and Redis on ${world.loadCores}.`;
  const shape = `${options.rounds} interleaved rounds of ${options.seconds} s, ${options.connections} connections`;
  const siblings = readSiblings(world.peerCore ?? '0');
  return {
    at: new Date().toISOString(),
    smoke: options.smoke,
    command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
    machine: `${processors[0]?.model.trim()}, ${processors.length} cores, ${Math.round(Number(memory) / 1e6)} GB, Linux ${release()}${siblings}`,
    versions: {
      Node: process.versions.node,
      undici: spawnVersion('undici'),
      nginx: versionOf(world.tool('nginx'), '-v'),
      Redis: versionOf('redis-server', '--version'),
      wrk: versionOf(world.tool('wrk'), '-v'),
    },
    load: `${shape}, ${TOKENS} distinct ES256 tokens. ${pinned}`,
  };
}

/** Two cores of one physical core slow one another down; said, because it caps every ratio. */
function readSiblings(core: string): string {
  try {
    const list = readFileSync(`/sys/devices/system/cpu/cpu${core}/topology/thread_siblings_list`, 'utf8').trim();
    return list === core ? '' : `, cores ${list} are threads of one`;
  } catch {
    return '';
  }
}

function spawnVersion(name: string): string {
  const code = `console.log(require('${name}/package.json').version)`;
  return spawnSync(process.execPath, ['-e', code], { cwd: benchDir, encoding: 'utf8' }).stdout.trim();
}

async function startAll(world: World, peers: readonly Peer[], ends: AsyncDisposableStack) {
  const running = new Map<string, RunningPeer>();
  for (const peer of peers) {
    const started = await peer.start(world);
    ends.defer(() => started.stop());
    await checkPeer(world, peer, started);
    running.set(peer.name, started);
    console.error(`${peer.name}: serves good tokens${peer.checksTokens ? ', refuses bad ones' : ''}`);
  }
  return running;
}

async function latencyOf(
  world: World,
  running: ReadonlyMap<string, RunningPeer>,
  found: Findings['rounds'],
  options: BenchOptions,
) {
  const [ours, bare] = [running.get('doorward'), running.get('pass-through')];
  if (ours === undefined || bare === undefined) return undefined;
  const saturation = median((found.get('doorward') ?? []).map((round) => round.requestsPerSecond));
  const rate = options.smoke ? 500 : Math.round(saturation / 2);
  const load = options.smoke ? { rate, turns: 1, seconds: 1 } : { rate, turns: 4, seconds: 6 };
  return await measureLatency(world, { doorward: ours, passThrough: bare }, load);
}

async function compare(world: World, peers: readonly Peer[], options: BenchOptions): Promise<Findings> {
  const withDoorward = options.extras && peers.includes(doorward);
  const start = withDoorward ? await measureStart(world, options.smoke ? 1 : 5) : undefined;
  await using ends = new AsyncDisposableStack();
  const running = await startAll(world, peers, ends);
  const rounds = await measureThroughput(world, running, options);
  const latency = options.extras ? await latencyOf(world, running, rounds, options) : undefined;
  const { smoke, connections } = options;
  const length = { rounds: smoke ? 1 : 3, seconds: smoke ? 1 : 4, warmUpSeconds: smoke ? 1 : 2, connections };
  const ours = running.get('doorward');
  const refusals = options.extras && ours ? await measureRefusals(world, ours, length) : undefined;
  const about = new Map(peers.map((peer) => [peer.name, peer.about]));
  return { ...surroundings(world, options), about, rounds, start, latency, refusals };
}

async function soakOnly(world: World, options: BenchOptions): Promise<Findings> {
  const running = await startDoorward(world, { name: 'doorward' });
  try {
    const found = await soak(world, running, options.soakMinutes);
    return { ...surroundings(world, options), about: new Map(), rounds: new Map(), soak: found };
  } finally {
    await running.stop();
  }
}

async function revocationsOnly(world: World, options: BenchOptions): Promise<Findings> {
  const { rounds, loadedMs } = await measureRevocations(world, options);
  const about = new Map([
    [revokedName, `${options.revocations} active revocations; ${Math.round(loadedMs)} ms to ready`],
  ]);
  return { ...surroundings(world, options), about, rounds };
}

function measure(world: World, peers: readonly Peer[], options: BenchOptions): Promise<Findings> {
  if (options.soakMinutes > 0) return soakOnly(world, options);
  return options.revocations > 0 ? revocationsOnly(world, options) : compare(world, peers, options);
}

function publish(found: Findings): void {
  const folder = join(benchDir, 'results');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${found.at.replaceAll(/[:.]/g, '-')}.json`);
  const text = JSON.stringify(found, (_key, value) => (value instanceof Map ? Object.fromEntries(value) : value), 2);
  writeFileSync(file, `${text}\n`);
  console.log(markdown(found));
  console.error(`written to ${file}`);
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(usage);
    return;
  }
  const peers = choose(options.peers);
  if (!options.smoke) await beAlone();
  const tools: Tool[] = peers.includes(haproxy) ? ['haproxy'] : [];
  await using world = await makeWorld(tools, TOKENS, options);
  if (options.profile) {
    await profilePeer(world, options.peers === undefined ? doorward : (peers[0] as Peer), options.seconds);
  } else {
    publish(await measure(world, peers, options));
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    interrupt();
    setTimeout(() => process.exit(130), 8000).unref();
  });
}
try {
  await main();
} catch (error) {
  console.error(`bench failed: ${(error as Error).message}`);
  process.exitCode = 1;
}
