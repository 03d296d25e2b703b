// A real Sentinel deployment on loopback: a master, two replicas, three Sentinels. Needs no root; ends with `await using`.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { NodeAddress } from '../../src/stores/redis/settings.ts';
import { freePort } from './free-port.ts';
import { launchRedis, type RedisServer, startRedis } from './redis-server.ts';

/** What the Sentinels call the master. */
export const masterName = 'main';

/** A running deployment. */
export interface SentinelDeployment extends AsyncDisposable {
  /** The first one began as the master. */
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  /** Addresses of the Sentinels, as settings take them. */
  readonly nodes: readonly NodeAddress[];
  /** Resolves once every Sentinel sees all servers and the other Sentinels, as it has to for a failover. */
  ready(): Promise<void>;
  /** The server that the Sentinels call the master. */
  master(): Promise<RedisServer>;
  /** `SENTINEL FAILOVER`, and waits until another server is named; replicas are there for it. */
  failover(): Promise<void>;
  /** Resolves once all Sentinels are done with making another the master than `old`, and it has a replica that follows. */
  replaced(old: RedisServer): Promise<void>;
}

/** A failure is noticed after this long without an answer; real deployments take seconds. */
const DOWN_AFTER_MS = 600;

/** Starts it, ready for a failover. `extra` are arguments of the servers. */
export async function startSentinels(...extra: string[]): Promise<SentinelDeployment> {
  const shared = ['--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1', ...extra];
  const needs = ['--min-replicas-to-write', '1', '--min-replicas-max-lag', '2'];
  const first = await startRedis(...shared, ...needs);
  const follow = ['--replicaof', '127.0.0.1', String(first.port)];
  const rest = await Promise.all([1, 2].map(() => startRedis(...shared, ...needs, ...follow)));
  const servers = [first, ...rest];
  await until(async () => (await goodReplicas(first)) === 2);
  const sentinels = await Promise.all([1, 2, 3].map(() => startSentinel(first.port)));
  const deployment = {
    servers,
    sentinels,
    nodes: sentinels.map(({ port }) => ({ host: '127.0.0.1', port })),
    ready: () => until(async () => (await Promise.all(sentinels.map(knowsAll))).every(Boolean)),
    master: () => named(sentinels, servers),
    async failover() {
      const old = await named(sentinels, servers);
      await ask(sentinels[0] as RedisServer, (redis) => redis.call('SENTINEL', 'FAILOVER', masterName));
      await deployment.replaced(old);
    },
    replaced: (old: RedisServer) =>
      until(async () => {
        const now = await named(sentinels, servers);
        if (now === old || !(await Promise.all(sentinels.map((sentinel) => hasSwitched(sentinel, now)))).every(Boolean))
          return false;
        return (await goodReplicas(now)) >= 1;
      }),
    async [Symbol.asyncDispose]() {
      await Promise.all([...sentinels, ...servers].map((server) => server[Symbol.asyncDispose]()));
    },
  };
  await deployment.ready();
  return deployment;
}

async function startSentinel(masterPort: number): Promise<RedisServer> {
  const port = await freePort();
  return launchRedis(port, (dir) => {
    const file = join(dir, 'sentinel.conf');
    const lines = [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${dir}`,
      `sentinel monitor ${masterName} 127.0.0.1 ${masterPort} 2`,
      `sentinel down-after-milliseconds ${masterName} ${DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${masterName} 3000`,
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    return [file, '--sentinel'];
  });
}

/** Asks one server on a connection of its own. */
export async function ask<T>({ port }: RedisServer, question: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis({ port, host: '127.0.0.1', lazyConnect: true, retryStrategy: () => null });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    return await question(redis);
  } finally {
    redis.disconnect();
  }
}

const goodReplicas = async (server: RedisServer): Promise<number> => {
  const info = await ask(server, (redis) => redis.info('replication')).catch(() => '');
  return Number(/min_slaves_good_slaves:(\d+)/.exec(info)?.[1] ?? 0);
};

async function named(sentinels: readonly RedisServer[], servers: readonly RedisServer[]): Promise<RedisServer> {
  const [, port] = (await ask(sentinels[0] as RedisServer, (redis) =>
    redis.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', masterName),
  )) as [string, string];
  const server = servers.find((one) => one.port === Number(port));
  if (server === undefined) throw new Error('the Sentinels name a server that is not ours');
  return server;
}

/**
 * True when its failover to `now` is over: it names a new master before that, and only then tells its subscribers (+switch-master),
 * who connect anew.
 */
async function hasSwitched(sentinel: RedisServer, now: RedisServer): Promise<boolean> {
  const info = await ask(sentinel, (redis) => redis.info('sentinel'));
  return new RegExp(`status=ok,address=127\\.0\\.0\\.1:${now.port},`).test(info);
}

/** True when it sees both replicas and both other Sentinels: before that a failover would find nobody to agree with. */
async function knowsAll(sentinel: RedisServer): Promise<boolean> {
  const info = await ask(sentinel, (redis) => redis.info('sentinel')).catch(() => '');
  return /status=ok,.*slaves=2,sentinels=3/.test(info);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await condition().catch(() => false))) {
    if (performance.now() > deadline) throw new Error('the Sentinel deployment did not get there in 30 s');
    await sleep(50);
  }
}
