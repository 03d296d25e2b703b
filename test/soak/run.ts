// `npm run soak`: a sidecar as a process under traffic of every kind while it is reloaded and its Redis dies, for minutes. It
// is about what is left behind, not about speed: memory flat, descriptors back, no request lost, doubled or mixed up.
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ensureRedisServer } from '../support/redis-server.ts';
import { aborts } from './actors/aborts.ts';
import { largeBodies, slowClients } from './actors/bodies.ts';
import { badTokens, overLimit } from './actors/refusals.ts';
import { revocations, revokedStreams } from './actors/revocations.ts';
import { steady } from './actors/steady.ts';
import { eventStreams, webSockets } from './actors/streams.ts';
import { reloads, restartRedis } from './actors/upheaval.ts';
import { sampleMemory } from './memory.ts';
import { type Check, report } from './report.ts';
import { openWorld, type World } from './world.ts';

const actors = [
  steady,
  badTokens,
  overLimit,
  revocations,
  revokedStreams,
  largeBodies,
  slowClients,
  aborts,
  webSockets,
  eventStreams,
  reloads,
];

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, smoke: { type: 'boolean', default: false } },
});
const seconds = values.smoke ? 20 : Number(values.minutes) * 60;
if (!(seconds >= 10)) {
  console.error('usage: npm run soak -- [--minutes N | --smoke]');
  process.exit(2);
}
ensureRedisServer();
await using world = await openWorld();
process.exitCode = (await soak(world, seconds)) ? 0 : 1;

/** Runs everything for `seconds` and says whether all held. */
async function soak(world: World, seconds: number): Promise<boolean> {
  const { sidecar, ledger } = world;
  const baseline = sidecar.descriptors().length;
  const stopped = new AbortController();
  const memory = sampleMemory(sidecar);
  console.error(`soaking ${sidecar.addresses.proxy} (pid ${sidecar.pid}) for ${seconds} s`);
  const working = Promise.all(actors.map((actor) => actor(world, stopped.signal)));
  await delay((seconds / 2) * 1000);
  const restarted = restartRedis(world);
  await delay((seconds / 2) * 1000);
  stopped.abort();
  const figures = memory.stop();
  await Promise.all([working, restarted]);
  const left = await descriptorsLeft(sidecar, baseline);
  const alive = sidecar.isAlive();
  const metrics = alive ? await world.admin('GET', '/v1/status') : undefined;
  const exit = await sidecar.stop(10_000);
  const forgotten = world.upstream.open();
  const unexpected = [...sidecar.errors].filter(([event]) => event !== 'config_reload_refused');
  const checks: Check[] = [
    { what: 'every request has its own answer', holds: ledger.open === 0, figure: `${ledger.open} open` },
    { what: 'process alive at the end', holds: alive, figure: String(metrics?.status) },
    // Shorter than this the caches are still filling.
    { what: 'memory flat', holds: seconds < 120 || figures.growth < 0.1, figure: figures.text },
    { what: 'descriptors back', holds: left <= baseline + 2, figure: `${baseline} before, ${left} after` },
    { what: 'nothing under way at the upstream', holds: forgotten === 0, figure: String(forgotten) },
    { what: 'no error in the log', holds: unexpected.length === 0, figure: JSON.stringify(unexpected) },
    { what: 'exit on SIGTERM', holds: exit === 0, figure: String(exit) },
  ];
  return report(ledger, checks, seconds);
}

/** Waits until what keep-alive holds has gone, for at most 20 s. */
async function descriptorsLeft(sidecar: World['sidecar'], baseline: number): Promise<number> {
  for (let attempt = 0; attempt < 40; attempt += 1) {
    if (!sidecar.isAlive() || sidecar.descriptors().length <= baseline + 2) break;
    await delay(500);
  }
  return sidecar.isAlive() ? sidecar.descriptors().length : Number.NaN;
}
