// What a chaos run breaks, and how it is made whole again. Every event says what callers may miss meanwhile.
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, type SentinelDeployment } from '../support/redis-sentinel.ts';
import type { RedisServer } from '../support/redis-server.ts';
import type { Relay } from '../support/relay.ts';
import type { Loss } from './books.ts';
import type { Deployment, World } from './world.ts';

/** One thing that breaks. */
export interface ChaosEvent {
  readonly name: string;
  readonly on: readonly Deployment[];
  readonly losses: readonly Loss[];
  /** Breaks it for about `ms`, and makes it whole. */
  readonly run: (world: World, ms: number) => Promise<void>;
}

const single = ['single'] as const;
const every = ['single', 'sentinel', 'cluster'] as const;

const relayed = (world: World) => world.relays.redis as Relay;
const redisOf = (world: World) => world.redis as RedisServer;

/** A fault of a relay that `heal` ends. */
function through(relay: (world: World) => Relay, fault: (relay: Relay) => void): ChaosEvent['run'] {
  return async (world, ms) => {
    const at = relay(world);
    fault(at);
    await sleep(ms);
    at.heal();
  };
}

/** The same blow again and again. */
async function repeatedly(ms: number, everyMs: number, blow: () => unknown): Promise<void> {
  for (let leftMs = ms; leftMs > 0; leftMs -= everyMs) {
    await blow();
    await sleep(everyMs);
  }
}

async function restarted(server: { stop(signal: 'SIGKILL'): Promise<void>; start(): Promise<void> }, ms: number) {
  await server.stop('SIGKILL');
  await sleep(ms);
  await server.start();
}

/** A master that lacks the replicas it needs refuses writes: the failover is over once it has them all. */
async function allFollow({ servers, master }: SentinelDeployment): Promise<void> {
  const now = await master();
  const follow = async () => {
    for (const server of servers) {
      if (server !== now) await ask(server, (redis) => redis.call('REPLICAOF', '127.0.0.1', String(now.port)));
    }
    return (await ask(now, (redis) => redis.info('replication'))).includes('min_slaves_good_slaves:2');
  };
  // A server whose role has just been changed ends its connections, the one of the question among them.
  while (!(await follow().catch(() => false))) await sleep(50);
}

/** Longer than replicas need to notice, and to sweep what has expired by their clocks. */
const CLOCK_SET_MS = 2500;
/** Longer than replicas need to notice. */
const CLOCK_NOTICED_MS = 1200;
const HOUR_S = 3600;

/** Permissions without which Sentinels and replicas get no answer that counts, while clients are served. */
const PARTITIONED = ['-ping', '-psync', '-sync', '-replconf'];

/**
 * The master is cut off from its replicas and from the Sentinels, which take another; the sidecars still reach it. By permissions,
 * since a packet filter needs a kernel module that containers lack.
 */
async function partition(sentinels: SentinelDeployment): Promise<void> {
  const old = await sentinels.master();
  await ask(old, async (redis) => {
    await redis.call('ACL', 'SETUSER', 'default', ...PARTITIONED);
    await redis.call('CLIENT', 'KILL', 'TYPE', 'replica');
  });
  await sentinels.replaced(old);
  await sleep(CUT_OFF_MS);
  await ask(old, (redis) => redis.call('ACL', 'SETUSER', 'default', '+@all'));
  await allFollow(sentinels);
}

/** How long two masters answer beside each other. */
const CUT_OFF_MS = 2000;

const KEY_OF_THE_LOG = 'doorward:v1:{rev}:head';

/** All of them, in the order of a bounded run. */
export const events: readonly ChaosEvent[] = [
  {
    name: 'Redis killed, restarted empty',
    on: single,
    losses: ['store'],
    run: (world, ms) => restarted(redisOf(world), ms),
  },
  {
    name: 'Redis flushed',
    on: single,
    losses: ['store'],
    run: (world, ms) => repeatedly(ms, 500, () => ask(redisOf(world), (redis) => redis.flushall())),
  },
  { name: 'Redis stalled', on: single, losses: ['store'], run: through(relayed, (relay) => relay.stall()) },
  {
    name: 'Redis full',
    on: single,
    losses: ['store'],
    async run(world, ms) {
      await ask(redisOf(world), (redis) => redis.config('SET', 'maxmemory', '1'));
      await sleep(ms);
      await ask(redisOf(world), (redis) => redis.config('SET', 'maxmemory', '0'));
    },
  },
  {
    name: 'Redis connections reset',
    on: single,
    losses: ['store'],
    run: (world, ms) => repeatedly(ms, 100, () => relayed(world).reset()),
  },
  {
    name: 'Redis answers truncated',
    on: single,
    losses: ['store'],
    run: through(relayed, (relay) => relay.truncate(700, 'down')),
  },
  {
    name: 'Redis answers late, in odd pieces',
    on: single,
    losses: ['store'],
    run: through(relayed, (relay) => relay.crumble()),
  },
  {
    name: 'Redis answers repeated (broken stream)',
    on: single,
    losses: ['store'],
    run: through(relayed, (relay) => relay.mangle('repeat', 'down')),
  },
  {
    name: 'Redis answers reordered (broken stream)',
    on: single,
    losses: ['store'],
    run: through(relayed, (relay) => relay.mangle('swap', 'down')),
  },
  {
    name: 'Redis 100 ms away',
    on: single,
    // Slow is not away: what depends on Redis is served, later.
    losses: ['store'],
    run: through(relayed, (relay) => relay.delay(50)),
  },
  {
    name: 'Redis process stopped (SIGSTOP)',
    on: single,
    losses: ['store'],
    async run(world, ms) {
      redisOf(world).signal('SIGSTOP');
      await sleep(ms);
      redisOf(world).signal('SIGCONT');
    },
  },
  {
    name: 'failover (SENTINEL FAILOVER)',
    on: ['sentinel'],
    losses: ['store'],
    async run({ sentinels }) {
      await sentinels?.failover();
      await allFollow(sentinels as SentinelDeployment);
    },
  },
  {
    name: 'master killed, failed over',
    on: ['sentinel'],
    losses: ['store'],
    async run({ sentinels }) {
      const old = (await sentinels?.master()) as RedisServer;
      await old.stop('SIGKILL');
      await sentinels?.replaced(old);
      await old.start();
      await allFollow(sentinels as SentinelDeployment);
    },
  },
  {
    name: 'master cut off from its replicas, another elected',
    on: ['sentinel'],
    losses: ['store'],
    run: ({ sentinels }) => partition(sentinels as SentinelDeployment),
  },
  {
    name: 'replica of Redis killed',
    on: ['sentinel'],
    // Another one is left, which is enough: nobody is refused, and revoking waits for it, or says that it is pending.
    losses: [],
    async run({ sentinels }, ms) {
      const master = await sentinels?.master();
      await restarted(sentinels?.servers.find((server) => server !== master) as RedisServer, ms);
      await allFollow(sentinels as SentinelDeployment);
    },
  },
  {
    name: 'all Sentinels killed',
    on: ['sentinel'],
    // Who is connected to the master stays so.
    losses: [],
    async run({ sentinels }, ms) {
      await Promise.all((sentinels as SentinelDeployment).sentinels.map((one) => restarted(one, ms)));
      await sentinels?.ready();
    },
  },
  {
    name: 'master of the log killed, failed over',
    on: ['cluster'],
    losses: ['store'],
    async run({ cluster }) {
      const old = (await cluster?.owner(KEY_OF_THE_LOG)) as RedisServer;
      await old.stop('SIGKILL');
      await cluster?.replaced(KEY_OF_THE_LOG, old);
      await old.start();
    },
  },
  { name: 'PostgreSQL killed', on: every, losses: ['postgres'], run: ({ postgres }, ms) => restarted(postgres, ms) },
  {
    name: 'PostgreSQL stalled',
    on: single,
    losses: ['postgres'],
    run: through(
      ({ relays }) => relays.postgres,
      (relay) => relay.stall(),
    ),
  },
  {
    name: 'PostgreSQL answers late, in odd pieces',
    on: single,
    losses: ['postgres'],
    run: through(
      ({ relays }) => relays.postgres,
      (relay) => relay.crumble(),
    ),
  },
  {
    name: 'PostgreSQL connections reset',
    on: single,
    losses: ['postgres'],
    run: ({ relays }, ms) => repeatedly(ms, 100, () => relays.postgres.reset()),
  },
  {
    name: 'PostgreSQL answers truncated',
    on: single,
    losses: ['postgres'],
    run: through(
      ({ relays }) => relays.postgres,
      (relay) => relay.truncate(700, 'down'),
    ),
  },
  ...([0, 1] as const).map(
    (index): ChaosEvent => ({
      name: `sidecar ${index === 0 ? 'known' : 'deny'} killed`,
      on: every,
      losses: [`gone${index}`],
      run: (world, ms) => restarted(world.replicas[index], ms),
    }),
  ),
  {
    name: 'application killed',
    on: every,
    losses: ['upstream'],
    async run({ application }, ms) {
      await application.kill();
      await sleep(ms);
      await application.start();
    },
  },
  {
    name: 'application stalled',
    on: single,
    losses: ['upstream'],
    run: through(
      ({ relays }) => relays.application,
      (relay) => relay.stall(),
    ),
  },
  {
    name: 'application connections reset',
    on: single,
    losses: ['upstream'],
    run: ({ relays }, ms) => repeatedly(ms, 100, () => relays.application.reset()),
  },
  {
    name: 'application answers truncated',
    on: single,
    losses: ['upstream'],
    run: through(
      ({ relays }) => relays.application,
      (relay) => relay.truncate(700, 'down'),
    ),
  },
  {
    name: 'application answers repeated (broken stream)',
    on: single,
    losses: ['upstream', 'order'],
    run: through(
      ({ relays }) => relays.application,
      (relay) => relay.mangle('repeat', 'down'),
    ),
  },
  {
    name: 'application answers reordered (broken stream)',
    on: single,
    losses: ['upstream', 'order'],
    run: through(
      ({ relays }) => relays.application,
      (relay) => relay.mangle('swap', 'down'),
    ),
  },
  {
    name: 'clocks an hour apart, and the other way round',
    on: every,
    losses: ['clock'],
    async run({ replicas: [one, other] }) {
      for (const [offsetS, ms] of [
        [HOUR_S, CLOCK_SET_MS],
        [-HOUR_S, CLOCK_SET_MS],
        [0, CLOCK_NOTICED_MS],
      ] as const) {
        one.setClock(offsetS);
        other.setClock(-offsetS);
        await sleep(ms);
      }
    },
  },
  {
    name: 'disk of the audit spool full',
    on: single,
    losses: ['disk'],
    async run({ replicas }, ms) {
      for (const replica of replicas) replica.limitFiles(1);
      await sleep(ms);
      for (const replica of replicas) replica.limitFiles(undefined);
    },
  },
  {
    name: 'Redis and PostgreSQL killed together',
    on: single,
    losses: ['store', 'postgres'],
    run: async (world, ms) => void (await Promise.all([restarted(redisOf(world), ms), restarted(world.postgres, ms)])),
  },
];
