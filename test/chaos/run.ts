// `npm run chaos`: everything is broken in turn under steady load, and every answer is judged. `--smoke` breaks each thing once
// and briefly, in a fixed order; `--minutes N --seed S` draws what breaks, and for how long. The exit code says whether all held.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ensureRedisServer } from '../support/redis-server.ts';
import { Callers, isApplied, type Row } from './callers.ts';
import { type ChaosEvent, events } from './events.ts';
import { type Deployment, deployments, openWorld, routes, type World } from './world.ts';

/** One entry of the schedule. */
interface Planned {
  readonly event: ChaosEvent;
  readonly ms: number;
}

const RECOVERY_MS = 60_000;

/** A failover has aftershocks: what is whole stays whole this long before it counts. */
const SETTLED_MS = 1000;

const { values } = parseArgs({
  options: {
    smoke: { type: 'boolean', default: false },
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    revoked: { type: 'string' },
    redis: { type: 'string', default: 'single' },
    only: { type: 'string', default: '' },
  },
});
const [minutes, seed, count] = [
  Number(values.minutes),
  Number(values.seed),
  Number(values.revoked ?? (values.smoke ? 500 : 10_000)),
];
const named = deployments.find((one) => one === values.redis);
if (!(minutes > 0) || !Number.isInteger(seed) || !(count > 0) || named === undefined) {
  console.error(
    'usage: npm run chaos -- [--smoke | --minutes N] [--seed S] [--revoked N] [--redis single|sentinel|cluster] [--only WORDS]',
  );
  process.exit(2);
}
ensureRedisServer();
let held = await chaos(named);
// A failover belongs to what is broken in any case; the rest is broken once.
if (values.smoke && named === 'single' && values.only === '') held = (await chaos('sentinel')) && held;
process.exitCode = held ? 0 : 1;

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

/** What breaks: each event once and briefly, or drawn for so many minutes, a stall of 30 s among them. */
function* schedule(deployment: Deployment, random: () => number): Generator<Planned> {
  const fit = events.filter(({ on, name }) => on.includes(deployment) && name.includes(values.only));
  const isNew = ({ on }: ChaosEvent) => named === deployment || !on.includes('single');
  if (values.smoke) return yield* fit.filter(isNew).map((event) => ({ event, ms: 1000 }));
  const endMs = performance.now() + minutes * 60_000;
  for (const event of fit)
    if (performance.now() < endMs) yield { event, ms: event.name === 'Redis stalled' ? 30_000 : 3000 };
  while (performance.now() < endMs) {
    yield { event: fit[Math.floor(random() * fit.length)] as ChaosEvent, ms: 500 + Math.floor(random() * 8000) };
  }
}

async function chaos(deployment: Deployment): Promise<boolean> {
  const random = randomFrom(seed);
  await using world = await openWorld(deployment);
  // Real servers outlive a program that is ended from outside, unless it ends them.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, async () => {
      await world[Symbol.asyncDispose]();
      process.exit(130);
    });
  }
  await using callers = new Callers(world, random);
  await untilWhole(world, callers);
  await callers.revokeMany(count);
  const beganMs = performance.now();
  console.log(`chaos: Redis ${deployment}, seed ${seed}, ${callers.revokedCount} tokens revoked before`);
  callers.start();
  await sleep(1000);
  for (const { event, ms } of schedule(deployment, random)) {
    const row = callers.begin(event.name);
    console.log(`${((performance.now() - beganMs) / 1000).toFixed(1).padStart(7)} s  ${event.name}, ${ms} ms`);
    await callers.lose(event.losses);
    await event.run(world, ms);
    const healedMs = performance.now();
    row.recoveryMs = Math.max(0, (await untilWhole(world, callers)) - healedMs);
    callers.recovered();
    await sleep(400);
  }
  await callers.finish();
  print(callers, (performance.now() - beganMs) / 1000);
  for (const { name, errors } of world.replicas)
    console.log(`errors logged by ${name}: ${JSON.stringify([...errors])}`);
  return callers.violations.length === 0;
}

/** Waits until both replicas are ready and not degraded, serve every route, and revoke for everybody; answers since when. */
async function untilWhole(world: World, callers: Callers): Promise<number> {
  const endMs = performance.now() + RECOVERY_MS;
  let sinceMs = performance.now();
  for (;;) {
    const askedMs = performance.now();
    const trouble = await troubleOf(world, callers.good);
    const nowMs = performance.now();
    if (trouble !== undefined) sinceMs = nowMs;
    else if (askedMs - sinceMs > SETTLED_MS) return sinceMs;
    if (nowMs > endMs) throw new Error(`no recovery within ${RECOVERY_MS} ms: ${trouble ?? 'not for a whole second'}`);
    await sleep(20);
  }
}

async function troubleOf({ replicas }: World, token: string): Promise<string | undefined> {
  for (const replica of replicas) {
    const readiness = await replica.readiness();
    if (readiness !== 'ready') return `${replica.name} is ${readiness}`;
    for (const path of routes) {
      const { status, code } = await replica.ask(path, token);
      if (status !== 200) return `${replica.name}${path} answers ${status} ${code}`;
    }
    const draft = { kind: 'subject', issuer: 'https://id.test/', id: 'nobody', until: 'forever', reason: 'probe' };
    const revoked = await replica.admin('POST', '/v1/revocations', draft);
    if (!isApplied(revoked)) return `revoking at ${replica.name}: ${revoked.status} ${revoked.text}`;
  }
  return undefined;
}

/** The table, and what must not have happened. */
function print({ rows, violations, revokedCount }: Callers, seconds: number): void {
  const line = ({ event, requests, allowed, refused, wrongAllows, wrong5xx, worstMs, recoveryMs }: Row) => {
    const codes = [...refused].map(([code, times]) => `${code} ${times}`).join(', ');
    const figures = [wrongAllows, wrong5xx, `${Math.round(worstMs)} ms`];
    const recovery = Number.isNaN(recoveryMs) ? '–' : `${(recoveryMs / 1000).toFixed(1)} s`;
    return `| ${[event, requests, allowed, codes, ...figures, recovery].join(' | ')} |`;
  };
  console.log('\n| event | requests | allowed | refused | wrong allows | unexplained | worst | whole again after |');
  console.log('|---|---|---|---|---|---|---|---|');
  for (const row of rows) console.log(line(row));
  const total = rows.reduce((sum, { requests }) => sum + requests, 0);
  console.log(
    `\n${total} requests in ${seconds.toFixed(0)} s, ${revokedCount} revoked tokens, ${violations.length} violations`,
  );
  for (const text of violations.slice(0, 50)) console.log(`VIOLATION ${text}`);
}
