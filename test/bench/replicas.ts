// Many replicas on one Redis: what a shared limit admits over all of them against what it says, what a request costs Redis,
// and where one Redis ends. `node test/bench/replicas.ts [--program FILE] [--seconds N]`. Decides nothing by time; exits with
// 1 when a limit admitted another number than it says.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { Agent, request } from 'undici';
import { digest } from '../../src/core/encoding.ts';
import type { Charge } from '../../src/stores/contracts/checks.ts';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { startRedis } from '../support/redis-server.ts';
import { beAlone } from './alone.ts';
import { interrupt } from './children.ts';
import { cpuMs } from './cpu.ts';
import { load } from './load.ts';
import { startDoorward } from './peers/doorward.ts';
import { target } from './requests.ts';
import { makeWorld, type World } from './world.ts';

/** One fleet under load. */
interface Fleet {
  readonly replicas: number;
  readonly limit: number;
  readonly admitted: number;
  readonly requestsPerSecond: number;
  readonly callsPerRequest: number;
  /** CPU time of Redis. */
  readonly redisUsPerRequest: number;
}

/** Redis driven to its end with batches of `batch` requests, two limits each. */
interface Saturation {
  readonly batch: number;
  readonly requestsPerSecond: number;
  readonly redisUsPerRequest: number;
  /** Share of its core that Redis used: below 0.95 something else was the bottleneck. */
  readonly busy: number;
}

const LIMIT = 1000;
const FLEETS = [1, 2, 4, 8];
const BATCHES = [1, 8, 32, 128];
const CALLERS = 2000;
const CONNECTIONS = 64;
const IN_FLIGHT = 8;

/** Calls of the check script, and CPU time of the server in µs, since the server began. */
async function spent(redis: Redis): Promise<{ readonly calls: number; readonly us: number }> {
  const [stats, cpu] = [await redis.info('commandstats'), await redis.info('cpu')];
  const seconds = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(cpu)?.[1]);
  return {
    calls: Number(/^cmdstat_evalsha:calls=(\d+)/m.exec(stats)?.[1] ?? 0),
    us: (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6,
  };
}

/** Twice as many requests as the limit allows, of one client, spread over all replicas at once. */
async function admittedBy(world: World, ports: readonly number[]): Promise<number> {
  const agent = new Agent({ connections: 16 });
  const headers = { authorization: `Bearer ${world.tokens.good}` };
  let [sent, admitted] = [0, 0];
  const caller = async () => {
    while (sent < 2 * LIMIT) {
      const port = ports[sent % ports.length];
      sent += 1;
      const answer = await request(`http://127.0.0.1:${port}${target}`, { dispatcher: agent, headers });
      await answer.body.dump();
      if (answer.statusCode === 200) admitted += 1;
      else if (answer.statusCode !== 429) throw new Error(`answered ${answer.statusCode}`);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, caller));
  await agent.close();
  return admitted;
}

async function started(world: World, name: string, count: number, ends: AsyncDisposableStack, clientRate?: string) {
  return Promise.all(
    Array.from({ length: count }, async (_unused, number) => {
      const rate = clientRate === undefined ? {} : { clientRate };
      // Replicas that wait for their share of one core must not take Redis for dead: each would count for itself.
      const setting = { name: `${name}-${number}`, fleet: name, redisTimeout: '5s', readyWithinMs: 60_000, ...rate };
      const replica = await startDoorward(world, setting);
      ends.defer(() => replica.stop());
      return replica;
    }),
  );
}

async function measureFleet(world: World, replicas: number, seconds: number): Promise<Fleet> {
  await using ends = new AsyncDisposableStack();
  const redis = new Redis(world.redisUrl);
  ends.defer(() => redis.disconnect());
  // An hour: a request in the next window would find the counter of the last one.
  const limited = await started(world, `limited-${replicas}`, replicas, ends, `${LIMIT}/1h`);
  const admitted = await admittedBy(
    world,
    limited.map(({ port }) => port),
  );
  await Promise.all(limited.map((replica) => replica.stop()));
  const fleet = await started(world, `fleet-${replicas}`, replicas, ends);
  const plan = { tokenFile: world.tokens.file, connections: Math.ceil(CONNECTIONS / replicas) };
  const all = (length: number) => Promise.all(fleet.map((each) => load(world, each, { ...plan, seconds: length })));
  await all(2);
  const before = await spent(redis);
  const rounds = await all(seconds);
  const after = await spent(redis);
  const requests = rounds.reduce((sum, round) => sum + round.requests, 0);
  if (rounds.some(({ refused, failed }) => refused + failed > 0)) throw new Error('a request was refused or failed');
  return {
    replicas,
    limit: LIMIT,
    admitted,
    requestsPerSecond: rounds.reduce((sum, round) => sum + round.requestsPerSecond, 0),
    callsPerRequest: (after.calls - before.calls) / requests,
    redisUsPerRequest: (after.us - before.us) / requests,
  };
}

const chargesOf = (number: number): readonly Charge[] =>
  ['per_ip', 'per_client'].map((limit) => ({
    key: digest(`${limit} ${number % CALLERS}`),
    rates: [{ limit: 1e9, windowMs: 60_000 }],
    algorithm: 'sliding',
    shadow: false,
  }));

/** Redis alone on the core that the peers have else. */
async function saturate(world: World, batch: number, seconds: number): Promise<Saturation> {
  await using server = await startRedis();
  const watching = new Redis(server.url);
  const pid = Number(/^process_id:(\d+)/m.exec(await watching.info('server'))?.[1]);
  watching.disconnect();
  spawnSync('taskset', ['-acp', world.peerCore ?? '0', String(pid)]);
  await using backend = openRedis({ url: server.url, prefix: 'saturation', timeoutMs: 5000 });
  if (!(await backend.ready(5000))) throw new Error('Redis did not answer');
  const requests = Array.from({ length: CALLERS }, (_unused, number) => chargesOf(number));
  let [at, done, endsAt] = [0, 0, performance.now() + 1000];
  const drive = async () => {
    while (performance.now() < endsAt) {
      const from = at % (CALLERS - batch);
      at += batch;
      const { results } = await backend.checks.check(requests.slice(from, from + batch));
      if (results.some((result) => result instanceof Error)) throw new Error('Redis refused a charge');
      done += batch;
    }
  };
  const driveAll = () => Promise.all(Array.from({ length: IN_FLIGHT }, drive));
  await driveAll();
  const [usedMs, beganMs] = [cpuMs(pid), performance.now()];
  done = 0;
  endsAt = beganMs + seconds * 1000;
  await driveAll();
  const [redisMs, wallMs] = [cpuMs(pid) - usedMs, performance.now() - beganMs];
  return {
    batch,
    requestsPerSecond: (done * 1000) / wallMs,
    redisUsPerRequest: (redisMs * 1000) / done,
    busy: redisMs / wallMs,
  };
}

function printFleets(fleets: readonly Fleet[]): void {
  console.log('| replicas | limit | admitted | requests/s, all | calls of Redis per request | Redis µs per request |');
  console.log('|---:|---:|---:|---:|---:|---:|');
  for (const { replicas, limit, admitted, requestsPerSecond, callsPerRequest, redisUsPerRequest } of fleets) {
    const figures = [requestsPerSecond.toFixed(0), callsPerRequest.toFixed(3), redisUsPerRequest.toFixed(1)];
    console.log(`| ${[replicas, limit, admitted, ...figures].join(' | ')} |`);
  }
}

function printSaturation(found: readonly Saturation[]): void {
  console.log('| requests per call | requests/s | Redis µs per request | core of Redis used | one core carries |');
  console.log('|---:|---:|---:|---:|---:|');
  for (const { batch, requestsPerSecond, redisUsPerRequest, busy } of found) {
    const figures = [requestsPerSecond.toFixed(0), redisUsPerRequest.toFixed(2), `${(busy * 100).toFixed(0)} %`];
    console.log(`| ${[batch, ...figures, (1e6 / redisUsPerRequest).toFixed(0)].join(' | ')} |`);
  }
}

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '5' }, program: { type: 'string', default: 'src/main.ts' } },
});
const seconds = Number(values.seconds);
if (!(seconds > 0 && seconds <= 60)) throw new Error('--seconds needs a number up to 60');
await beAlone();
process.once('SIGINT', interrupt);
await using world = await makeWorld([], 1000, { program: resolve(values.program), nodeArgs: [] });
const saturation: Saturation[] = [];
for (const batch of BATCHES) saturation.push(await saturate(world, batch, seconds));
printSaturation(saturation);
const fleets: Fleet[] = [];
for (const replicas of FLEETS) {
  fleets.push(await measureFleet(world, replicas, seconds));
  console.error(`${replicas} replicas: ${fleets.at(-1)?.admitted} of ${LIMIT} admitted`);
}
printFleets(fleets);
const results = join(import.meta.dirname, 'results');
mkdirSync(results, { recursive: true });
const file = join(results, `replicas-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.json`);
writeFileSync(file, JSON.stringify({ seconds, saturation, fleets }, undefined, 2));
console.log(file);
if (fleets.some(({ admitted, limit }) => admitted !== limit)) process.exitCode = 1;
