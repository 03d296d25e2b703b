// A real Redis Cluster on loopback: three masters and three replicas. Needs no root; ends with `await using`.
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeAddress } from '../../src/stores/redis/settings.ts';
import { SLOTS, slotOf } from '../../src/stores/redis/slot.ts';
import { freePort } from './free-port.ts';
import { ask } from './redis-sentinel.ts';
import { type RedisServer, startRedis } from './redis-server.ts';

/** A running Cluster. */
export interface ClusterDeployment extends AsyncDisposable {
  /** The first three began as masters, the others as their replicas, in the same order. */
  readonly servers: readonly RedisServer[];
  /** Addresses of the first three, as settings take them. */
  readonly nodes: readonly NodeAddress[];
  /** The master that serves `key` by what the others say. */
  owner(key: string): Promise<RedisServer>;
  /** Begins to move the slot of `key` to another master: new keys are made there, present ones stay until moved. */
  beginMove(key: string): Promise<SlotMove>;
  /** Resolves once the slot of `key` is served by another server than `old`, which everybody knows. */
  replaced(key: string, old: RedisServer): Promise<void>;
}

/** A slot between two masters. */
export interface SlotMove {
  readonly from: RedisServer;
  readonly to: RedisServer;
  /** Moves up to `count` keys; answers how many there were. */
  moveKeys(count: number): Promise<number>;
  /** Moves what is left and gives the slot to the new master. */
  finish(): Promise<void>;
}

const NODE_TIMEOUT_MS = 1000;

/** Starts it, complete. `extra` are arguments of the servers. */
export async function startCluster(...extra: string[]): Promise<ClusterDeployment> {
  const buses = new Map<RedisServer, number>();
  const servers = await Promise.all(
    [1, 2, 3, 4, 5, 6].map(async () => {
      const bus = await freePort();
      const server = await startRedis(
        ...['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-port', String(bus)],
        ...['--cluster-node-timeout', String(NODE_TIMEOUT_MS), '--repl-diskless-sync-delay', '0'],
        ...['--repl-ping-replica-period', '1', ...extra],
      );
      buses.set(server, bus);
      return server;
    }),
  );
  const [first] = servers as [RedisServer, ...RedisServer[]];
  const masters = servers.slice(0, 3);
  const share = Math.ceil(SLOTS / 3);
  for (const [at, master] of masters.entries()) {
    const to = Math.min(SLOTS - 1, (at + 1) * share - 1);
    await ask(master, (redis) => redis.call('CLUSTER', 'ADDSLOTSRANGE', at * share, to));
    await ask(master, (redis) => redis.call('CLUSTER', 'SET-CONFIG-EPOCH', at + 1));
  }
  for (const server of servers.slice(1)) {
    await ask(first, (redis) => redis.call('CLUSTER', 'MEET', '127.0.0.1', server.port, buses.get(server) as number));
  }
  await until(async () => (await Promise.all(servers.map(knownNodes))).every((count) => count === 6));
  for (const [at, master] of masters.entries()) {
    const id = await nodeId(master);
    await ask(servers[at + 3] as RedisServer, (redis) => redis.call('CLUSTER', 'REPLICATE', id));
  }
  await until(async () => (await Promise.all(servers.map(isWhole))).every(Boolean));
  await until(async () => (await Promise.all(masters.map(hasReplica))).every(Boolean));
  const owner = (key: string) => ownerOf(servers, key);
  return {
    servers,
    nodes: masters.map(({ port }) => ({ host: '127.0.0.1', port })),
    owner,
    beginMove: async (key) => beginMove(servers, await owner(key), slotOf(key)),
    replaced: (key, old) =>
      until(async () => {
        const alive = servers.filter((server) => server !== old);
        const owners = await Promise.all(alive.map((server) => ownerBy(server, servers, key).catch(() => undefined)));
        return owners.every((one) => one !== undefined && one !== old && one === owners[0]);
      }),
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    },
  };
}

const info = (server: RedisServer) => ask(server, (redis) => redis.call('CLUSTER', 'INFO')).then(String);
const isWhole = async (server: RedisServer) => {
  const text = await info(server);
  return /cluster_state:ok/.test(text) && /cluster_size:3/.test(text);
};
const knownNodes = async (server: RedisServer) => Number(/cluster_known_nodes:(\d+)/.exec(await info(server))?.[1]);
const nodeId = (server: RedisServer) => ask(server, (redis) => redis.call('CLUSTER', 'MYID')).then(String);
const hasReplica = async (server: RedisServer) => {
  const text = await ask(server, (redis) => redis.info('replication'));
  return /role:master/.test(text) && /state=online/.test(text);
};

async function ownerBy(asked: RedisServer, servers: readonly RedisServer[], key: string) {
  const slot = slotOf(key);
  const rows = (await ask(asked, (redis) => redis.call('CLUSTER', 'SLOTS'))) as [number, number, [string, number]][];
  const row = rows.find(([from, to]) => from <= slot && slot <= to);
  return servers.find(({ port }) => port === row?.[2][1]);
}

async function ownerOf(servers: readonly RedisServer[], key: string): Promise<RedisServer> {
  for (const server of servers) {
    const owner = await ownerBy(server, servers, key).catch(() => undefined);
    if (owner !== undefined) return owner;
  }
  throw new Error('nobody serves the slot');
}

async function beginMove(servers: readonly RedisServer[], from: RedisServer, slot: number): Promise<SlotMove> {
  const owners = await Promise.all(['{0}', '{b}', '{c}'].map((key) => ownerOf(servers, key)));
  const to = owners.find((server) => server !== from) as RedisServer;
  const [source, target] = await Promise.all([nodeId(from), nodeId(to)]);
  await ask(to, (redis) => redis.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source));
  await ask(from, (redis) => redis.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target));
  const moveKeys = (count: number) =>
    ask(from, async (redis) => {
      const keys = (await redis.call('CLUSTER', 'GETKEYSINSLOT', slot, count)) as string[];
      if (keys.length > 0) await redis.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, 'KEYS', ...keys);
      return keys.length;
    });
  return {
    from,
    to,
    moveKeys,
    async finish() {
      while ((await moveKeys(100)) > 0) {}
      await ask(to, (redis) => redis.call('CLUSTER', 'SETSLOT', slot, 'NODE', target));
      await ask(from, (redis) => redis.call('CLUSTER', 'SETSLOT', slot, 'NODE', target));
    },
  };
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await condition().catch(() => false))) {
    if (performance.now() > deadline) throw new Error('the Cluster did not get there in 30 s');
    await sleep(50);
  }
}
