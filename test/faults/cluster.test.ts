// A real Redis Cluster: slots that move, masters that die, and what the limits and the revocation log make of it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { RevocationFollower } from '../../src/revocation/follower.ts';
import { RevocationIndex } from '../../src/revocation/index.ts';
import type { Charge, RateStates } from '../../src/stores/contracts/checks.ts';
import { openRedis, type RedisBackend } from '../../src/stores/redis/backend.ts';
import { keyspace, lane } from '../../src/stores/redis/keyspace.ts';
import type { RedisSettings } from '../../src/stores/redis/settings.ts';
import { slotOf } from '../../src/stores/redis/slot.ts';
import { charge, passed } from '../conformance/checks.ts';
import { draft } from '../conformance/revocations.ts';
import { until } from '../revocation/until.ts';
import { startCluster } from '../support/redis-cluster.ts';
import { ask } from '../support/redis-sentinel.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { startFleets } from './fleet.ts';

const cluster = await startCluster();
after(() => cluster[Symbol.asyncDispose]());

const settingsFor = (more: Partial<RedisSettings> = {}) =>
  ({ cluster: { nodes: cluster.nodes }, prefix: `t.${Math.random()}`, timeoutMs: 2000, ...more }) as RedisSettings;

async function open(settings = settingsFor()) {
  const backend = openRedis(settings);
  assert.equal(await backend.ready(20_000), true);
  return backend;
}

function follow({ revocations }: RedisBackend) {
  const index = new RevocationIndex();
  const settings = { onStoreDown: 'known', knownForMs: 60_000, waitMs: 5000, clock: systemClock } as const;
  const follower = new RevocationFollower({ log: revocations, index, ...settings });
  return { follower, index, [Symbol.asyncDispose]: () => follower[Symbol.asyncDispose]() };
}

/** A charge whose counters stand in the lane. */
function chargeIn(wanted: string, limit: number, more: Partial<Charge> = {}): Charge {
  for (;;) {
    const made = charge(limit, 600_000, more);
    if (lane(made.key) === wanted) return made;
  }
}

const outcome = (charges: readonly Charge[], states: RateStates | Error | undefined) =>
  states === undefined || states instanceof Error ? 'error' : passed(charges, states) ? 'passed' : 'refused';

test('slots are computed as Redis does', async () => {
  const names = keyspace('doorward');
  const keys = [names.head, names.replicas, names.decisions, names.published('keys'), '{}a', 'a{b}{c}', 'ü{é}', '{a'];
  for (const key of [...keys, ...'0123456789abcdef'].map(String)) {
    const slot = await ask(cluster.servers[0]!, (redis) => redis.call('CLUSTER', 'KEYSLOT', key));
    assert.equal(slotOf(key), slot, key);
  }
});

test('one turn asks each lane once and the head once, all in parallel', async () => {
  await using backend = await open();
  await backend.checks.check([[chargeIn('0', 5)]]);
  const calls = async () => {
    const texts = await Promise.all(
      cluster.servers.slice(0, 3).map((server) => ask(server, (r) => r.info('commandstats'))),
    );
    const count = (name: string) =>
      texts.reduce((sum, text) => sum + Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(text)?.[1] ?? 0), 0);
    return { scripts: count('evalsha') + count('eval'), heads: count('get') };
  };
  const requests = Array.from({ length: 100 }, (_, at) => [chargeIn('0', 5), chargeIn(at % 2 ? '5' : 'b', 5)]);
  const before = await calls();
  const { results } = await backend.checks.check(requests);
  const now = await calls();
  assert.ok(results.every((states, at) => outcome(requests[at]!, states) === 'passed'));
  assert.equal(now.scripts - before.scripts, 3, 'lanes 0, 5 and b');
  assert.equal(now.heads - before.heads - 200, 1, 'the scripts read 200 counters, and one read is the head');
});

test('a charge beside a refusal in another lane is given back, sliding and log', async () => {
  await using backend = await open();
  for (const algorithm of ['sliding', 'log'] as const) {
    const tight = chargeIn('1', 1);
    const wide = chargeIn('2', 10, { algorithm });
    const shadow = chargeIn('3', 10, { algorithm, shadow: true });
    const both = [wide, tight, shadow];
    assert.equal(outcome(both, (await backend.checks.check([both])).results[0]), 'passed');
    const { results } = await backend.checks.check([both, both, both]);
    assert.deepEqual(
      results.map((states) => outcome(both, states)),
      ['refused', 'refused', 'refused'],
    );
    assert.equal((results[0] as RateStates)[0], 9, 'what is left counts the charge as given back');
    await until(async () => (await backend.checks.peek(wide))[0] === 9);
    await until(async () => (await backend.checks.peek(shadow))[0] === 9);
  }
});

/** How often the servers have answered with each of these so far. */
async function redirections(): Promise<readonly number[]> {
  const texts = await Promise.all(cluster.servers.map((server) => ask(server, (redis) => redis.info('errorstats'))));
  return ['MOVED', 'ASK', 'TRYAGAIN'].map((code) =>
    texts.reduce((sum, text) => sum + Number(new RegExp(`errorstat_${code}:count=(\\d+)`).exec(text)?.[1] ?? 0), 0),
  );
}

test('limits stay exact and nothing fails while their slot moves, key by key, under load (MOVED, ASK, TRYAGAIN)', async () => {
  const settings = settingsFor();
  await using a = await open(settings);
  await using b = await open(settings);
  const LIMIT = 400;
  const two = {
    rates: [
      { limit: LIMIT, windowMs: 600_000 },
      { limit: 2 * LIMIT, windowMs: 3_600_000 },
    ],
  };
  const limits = [chargeIn('c', LIMIT), chargeIn('c', LIMIT, { algorithm: 'log' }), chargeIn('c', LIMIT, two)];
  const seen = limits.map(() => ({ passed: 0, refused: 0, error: 0 }));
  let running = true;
  const worker = async (backend: RedisBackend) => {
    while (running) {
      const turn = limits.flatMap((limit) => [[limit], [limit]]);
      const { results } = await backend.checks.check(turn);
      for (const [at, charges] of turn.entries()) seen[at >> 1]![outcome(charges, results[at])] += 1;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };
  const workers = [worker(a), worker(b)];
  const bucket = a.checks;
  const before = await redirections();
  for (let round = 0; round < 2; round += 1) {
    const move = await cluster.beginMove('{c}');
    const refusals = seen.map(({ refused }) => refused);
    while ((await move.moveKeys(1)) > 0) await new Promise((resolve) => setTimeout(resolve, 60));
    await move.finish();
    await until(async () => (await bucket.check([[chargeIn('c', 5)]])).results[0] instanceof Error === false);
    if (round === 1) await until(async () => seen.every(({ refused }, at) => refused > refusals[at]! + 20));
  }
  running = false;
  await Promise.all(workers);
  for (const { passed: admitted, error } of seen) assert.deepEqual({ admitted, error }, { admitted: LIMIT, error: 0 });
  const after = await redirections();
  assert.ok(
    after.every((count, at) => count > before[at]!),
    `each of MOVED, ASK and TRYAGAIN was answered: ${before} to ${after}`,
  );
});

test('the revocation log goes on while its slot moves: nothing is lost, and every replica has it all', async () => {
  const settings = settingsFor();
  await using backendA = await open(settings);
  await using backendB = await open(settings);
  await using a = follow(backendA);
  await using b = follow(backendB);
  await a.follower.start();
  await b.follower.start();
  const move = await cluster.beginMove('{rev}');
  const revoking = (async () => {
    for (let n = 0; n < 30; n += 1) await a.follower.revoke(draft(`moving${n}`));
  })();
  while ((await move.moveKeys(1)) > 0) await new Promise((resolve) => setTimeout(resolve, 30));
  await move.finish();
  await revoking;
  await until(async () => a.follower.pending().length === 0, 20_000);
  await until(async () => (await b.follower.observe((await backendB.checks.check([[]])).head)) === 'current');
  assert.equal([...b.index.entries()].filter(({ id }) => id.startsWith('moving')).length, 30);
});

test('a lane whose master is gone fails alone: other lanes count on, and the head is read', async () => {
  await using backend = await open(settingsFor({ timeoutMs: 500 }));
  await backend.revocations.rebuild([], undefined);
  const old = await cluster.owner('{f}');
  const [other] = '0123456789abcde'.split('').filter((name) => ownerDiffers(name, 'f'));
  const [here, there] = [chargeIn('f', 5), chargeIn(other as string, 5)];
  await backend.checks.check([[here], [there]]);
  await old.stop('SIGKILL');
  const reply = await backend.checks.check([[here], [there], [here, there]]);
  assert.deepEqual(
    reply.results.map((states) => states instanceof Error),
    [true, false, true],
  );
  assert.notEqual(reply.head, undefined);
  assert.deepEqual(backend.health().warnings.includes('redis_nodes_away'), true);
  await cluster.replaced('{f}', old);
  await until(async () => !((await backend.checks.check([[here]])).results[0] instanceof Error), 20_000);
  await until(async () => (await backend.checks.peek(there))[0] === 3, 5000);
  await old.start();
  await until(async () => backend.health().warnings.every((warning) => warning !== 'redis_nodes_away'), 20_000);
});

/** True when the lanes began on different masters; slots do not move between the tests but for lane c. */
function ownerDiffers(one: string, another: string): boolean {
  const third = (name: string) => Math.floor(slotOf(`{${name}}`) / Math.ceil(16_384 / 3));
  return third(one) !== third(another) && third(one) !== third('rev') && one !== 'c';
}

test('K13: kill -9 of the master of the log under load: no revoked token passes, no 500, revoking counts again', async () => {
  const nodes = cluster.nodes.map(({ host, port }) => `${host}:${port}`);
  await using fleets = await startFleets({ cluster: { nodes }, timeout: '250ms' });
  const old = await cluster.owner('{rev}');
  await fleets.endure(async () => {
    await old.stop('SIGKILL');
    await cluster.replaced('{rev}', old);
  });
  await old.start();
  await fleets.judge();
});

test('a log that is made anew waits for what others know, on whichever node they listen', async () => {
  await using backend = await open();
  assert.ok((await backend.revocations.rebuild([], undefined)).listeners > 0);
});

test('notices reach replicas on other nodes, also after the node they listened to has gone', async () => {
  const settings = settingsFor();
  await using backendA = await open(settings);
  await using backendB = await open(settings);
  const heard: string[] = [];
  await using _watch = await backendB.revocations.watch((notice) => {
    if (notice.type === 'limit_reset') heard.push(notice.key);
  });
  const hears = async () => {
    const limit = charge(5, 60_000);
    await until(async () => {
      // Where the lane of the limit has lost its master this is refused until another has taken over.
      await backendA.checks.reset(limit).catch(() => undefined);
      return heard.includes(limit.key);
    }, 30_000);
  };
  await hears();
  const isListenedTo = async (server: RedisServer) =>
    String(await ask(server, (redis) => redis.call('CLIENT', 'LIST', 'TYPE', 'pubsub'))).includes('cmd=');
  const at = (await Promise.all(cluster.servers.map(isListenedTo))).indexOf(true);
  const gone = cluster.servers[at] as RedisServer;
  await gone.stop('SIGKILL');
  await hears();
  await gone.start();
  const isWhole = async (server: RedisServer) => {
    const [state, nodes] = await ask(server, (redis) =>
      Promise.all([redis.call('CLUSTER', 'INFO'), redis.call('CLUSTER', 'NODES')]),
    );
    return String(state).includes('cluster_state:ok') && !String(nodes).includes('fail');
  };
  await until(async () => (await Promise.all(cluster.servers.map(isWhole))).every(Boolean), 30_000);
});

test('L12: the documented ACL is enough for a Cluster', async () => {
  const source = readFileSync(new URL('../../src/stores/redis/backend.ts', import.meta.url), 'utf8');
  const [, words = ''] = /ACL SETUSER doorward (on [^.]*?)\nimport/s.exec(source) ?? [];
  const rules = words.replaceAll('//', ' ').replace('PASSWORD', 's3cret').split(/\s+/).filter(Boolean);
  for (const server of cluster.servers)
    await ask(server, (redis) => redis.call('ACL', 'SETUSER', 'doorward', ...rules));
  await using backend = await open(settingsFor({ prefix: 'doorward', user: 'doorward', password: 's3cret' }));
  await using replica = follow(backend);
  await replica.follower.start();
  assert.equal((await replica.follower.revoke(draft('one'))).applied, 'all');
  const [log, tight] = [chargeIn('4', 5, { algorithm: 'log' }), chargeIn('9', 1)];
  for (let n = 0; n < 2; n += 1) await backend.checks.check([[log, tight]]);
  await until(async () => (await backend.checks.peek(log))[0] === 4);
  const move = await cluster.beginMove('{9}');
  await move.moveKeys(10);
  assert.equal((await backend.checks.peek(tight))[0], -1);
  await move.finish();
  await backend.refresh();
  assert.deepEqual(backend.health(), { up: true, warnings: [] });
});

test('CLUSTERDOWN: with no majority nothing is believed, and all is back with it', async () => {
  await using backend = await open(settingsFor({ timeoutMs: 500 }));
  await backend.revocations.rebuild([], undefined);
  const keep = await cluster.owner('{rev}');
  const stopped = cluster.servers.filter((server) => server !== keep);
  for (const server of stopped) server.signal('SIGSTOP');
  try {
    await until(async () => String(await ask(keep, (r) => r.call('CLUSTER', 'INFO'))).includes('cluster_state:fail'));
    await assert.rejects(async () => backend.checks.check([[]]), { kind: 'store_unavailable' });
  } finally {
    for (const server of stopped) server.signal('SIGCONT');
  }
  await until(async () => {
    const reply = await Promise.resolve(backend.checks.check([[chargeIn('0', 5), chargeIn('5', 5)]])).catch(
      () => undefined,
    );
    return reply?.head !== undefined && !(reply.results[0] instanceof Error);
  }, 30_000);
});
