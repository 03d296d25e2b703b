// `npm run chaos`: everything is broken in turn under steady load, and every answer is judged. `--smoke` breaks each thing once
// and briefly, in a fixed order; `--minutes N --seed S` draws what breaks, and for how long. The exit code says whether all held,
// and in time.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ensureRedisServer } from '../support/redis-server.ts';
import { Books, type Row } from './books.ts';
import { Callers, type Party } from './callers.ts';
import { bound } from './ending.ts';
import { type ChaosEvent, events } from './events.ts';
import { Growth } from './growth.ts';
import { Limited } from './limited.ts';
import { OAuthClients } from './oauth.ts';
import { Streams } from './streams.ts';
import { untilWhole } from './whole.ts';
import { type Deployment, deployments, openWorld } from './world.ts';

/** One entry of the schedule. */
interface Planned {
  readonly event: ChaosEvent;
  readonly ms: number;
}

/** How long a smoke breaks each thing. */
const SMOKE_MS = 600;

/** A smoke takes about two minutes: one that takes twice as long hangs. A longer run may overshoot by its last recovery. */
const SMOKE_DEADLINE_S = 240;
const OVERSHOOT_S = 600;

/** In a shorter run V8 is still sizing its heap. */
const SHORTEST_JUDGED_MIN = 10;

/** Calm after each event, at which nothing explains a failure any more. */
const CALM_MS = 300;

/** Recoveries that take longer are printed with what was amiss last. */
const LONG_MS = 2000;

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const kills = ({ losses }: ChaosEvent) => losses.some((loss) => loss.startsWith('gone'));

const { values } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    revoked: { type: 'string' },
    redis: { type: 'string', default: 'single' },
    only: { type: 'string', default: '' },
    deadline: { type: 'string' },
  },
});
const [minutes, seed, count] = [
  Number(values.minutes),
  Number(values.seed),
  Number(values.revoked ?? (values.smoke ? 500 : 10_000)),
];
const deadlineS = Number(values.deadline ?? (values.smoke ? SMOKE_DEADLINE_S : minutes * 60 + OVERSHOOT_S));
const named = deployments.find((one) => one === values.redis);
if (!(minutes > 0) || !Number.isInteger(seed) || !(count > 0) || !(deadlineS > 0) || named === undefined) {
  console.error(
    'usage: npm run chaos -- [--smoke | --minutes N] [--seed S] [--revoked N] [--redis single|sentinel|cluster] [--only WORDS] [--deadline SECONDS]',
  );
  process.exit(2);
}
const lengthMs = minutes * 60_000;
ensureRedisServer();
bound(deadlineS);
let held = await chaos(named);
// A failover belongs to what is broken in any case; the rest is broken once.
if (values.smoke && named === 'single' && values.only === '') held = (await chaos('sentinel')) && held;
process.exitCode = held ? 0 : 1;
console.log(`chaos: over after ${seconds(performance.now())} of at most ${seconds(deadlineS * 1000)}`);

/** Numbers in [0, 1) that a seed repeats (mulberry32). */
function randomFrom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * What breaks: each event once and briefly, or drawn for so many minutes, a stall of 30 s among them. From the second quarter on
 * no sidecar is killed, so that it shows whether they grow.
 */
function* schedule(deployment: Deployment, random: () => number): Generator<Planned> {
  const fit = events.filter(({ on, name }) => on.includes(deployment) && name.includes(values.only));
  const isNew = ({ on }: ChaosEvent) => named === deployment || !on.includes('single');
  if (values.smoke) return yield* fit.filter(isNew).map((event) => ({ event, ms: SMOKE_MS }));
  const beganMs = performance.now();
  const isOver = (share: number) => performance.now() >= beganMs + share * lengthMs;
  const killing = fit.filter(kills);
  const others = fit.filter((event) => !kills(event));
  for (const event of [...killing, ...others])
    if (!isOver(1)) yield { event, ms: event.name === 'Redis stalled' ? 30_000 : 3000 };
  while (!isOver(1)) {
    const drawn = isOver(0.25) && others.length > 0 ? others : fit;
    yield { event: drawn[Math.floor(random() * drawn.length)] as ChaosEvent, ms: 500 + Math.floor(random() * 8000) };
  }
}

async function chaos(deployment: Deployment): Promise<boolean> {
  const random = randomFrom(seed);
  await using world = await openWorld(deployment);
  const books = new Books();
  const callers = new Callers(world, books, random);
  const clients = new OAuthClients(world, books, callers, random);
  const parties: readonly Party[] = [
    callers,
    clients,
    new Streams(world, books, callers, random),
    new Limited(books, callers),
  ];
  await untilWhole(world, callers.good);
  await clients.open();
  await callers.revokeMany(count);
  const beganMs = performance.now();
  console.log(`chaos: Redis ${deployment}, seed ${seed}, ${callers.revokedCount} tokens revoked before`);
  using growth = new Growth(world.replicas, lengthMs);
  const stop = async () => void (await Promise.all(parties.map((party) => party.stop())));
  await using stopping = new AsyncDisposableStack();
  stopping.defer(stop);
  for (const party of parties) party.start();
  await sleep(1000);
  for (const { event, ms } of schedule(deployment, random)) {
    const row = books.begin(event.name);
    console.log(`${((performance.now() - beganMs) / 1000).toFixed(1).padStart(7)} s  ${event.name}, ${ms} ms`);
    books.lose(event.losses);
    await callers.settle();
    await event.run(world, ms);
    const healedMs = performance.now();
    const { sinceMs, last } = await untilWhole(world, callers.good);
    const recoveryMs = Math.max(0, sinceMs - healedMs);
    row.recoveryMs = Math.max(recoveryMs, row.recoveryMs || 0);
    if (recoveryMs > LONG_MS) console.log(`          whole again after ${seconds(recoveryMs)}, last: ${last}`);
    books.recovered();
    callers.recovered();
    await sleep(CALM_MS);
  }
  await stop();
  for (const party of parties) await party.conclude?.();
  books.compare(world.application.seen());
  for (const { name, defects } of world.replicas)
    books.violations.push(...defects.map((line) => `logged by ${name}: ${line}`));
  print(books, callers.revokedCount, performance.now() - beganMs);
  for (const { told } of parties) if (told !== undefined) console.log(told);
  for (const { name, errors } of world.replicas)
    console.log(`errors logged by ${name}: ${JSON.stringify([...errors])}`);
  const grown = values.smoke || minutes < SHORTEST_JUDGED_MIN ? [] : told(growth);
  return books.violations.length + grown.length === 0;
}

/** Prints whether the sidecars have grown; answers those that have. */
function told(growth: Growth): readonly string[] {
  const { flat, grown } = growth.judge();
  for (const text of flat) console.log(`memory and descriptors flat after the first quarter, ${text}`);
  for (const text of grown) console.log(`VIOLATION memory or descriptors not flat after the first quarter, ${text}`);
  return grown;
}

/** The table, and what must not have happened. */
function print({ rows, violations }: Books, revokedCount: number, lastedMs: number): void {
  const line = ({ event, times, requests, allowed, refused, wrongAllows, wrong5xx, worstMs, recoveryMs }: Row) => {
    const codes = [...refused].map(([code, times]) => `${code} ${times}`).join(', ');
    const figures = [wrongAllows, wrong5xx, `${Math.round(worstMs)} ms`];
    const recovery = Number.isNaN(recoveryMs) ? '–' : seconds(recoveryMs);
    return `| ${[times > 1 ? `${event} (${times} times)` : event, requests, allowed, codes, ...figures, recovery].join(' | ')} |`;
  };
  console.log('\n| event | requests | allowed | refused | wrong allows | unexplained | worst | whole again after |');
  console.log('|---|---|---|---|---|---|---|---|');
  for (const row of rows) console.log(line(row));
  const total = rows.reduce((sum, { requests }) => sum + requests, 0);
  console.log(
    `\n${total} requests in ${seconds(lastedMs)}, ${revokedCount} revoked tokens, ${violations.length} violations`,
  );
  for (const text of violations.slice(0, 50)) console.log(`VIOLATION ${text}`);
}
