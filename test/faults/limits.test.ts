// Limits at size and under real faults: a flood of keys, a Redis whose own clock is set, a Redis that is gone under open streams.
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { handshake, open, open101, streamUpstream } from '../attacks/streams.ts';
import { ask, assertProblem, bearer, eventually, head } from '../attacks/world.ts';
import { charge } from '../conformance/checks.ts';
import { until } from '../revocation/until.ts';
import { freePort } from '../support/free-port.ts';
import { launchRedis, startRedis } from '../support/redis-server.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';
import { ensureFakeClock } from '../support/system-packages.ts';

const SOON_MS = 20_000;

function raw(url: string) {
  const redis = new Redis(url);
  return Object.assign(redis, { [Symbol.dispose]: () => redis.disconnect() });
}

const KEYS = 50_000;
const AT_ONCE = 250;

test('attack 102: 50,000 callers that come once cost memory for two windows, and all of it is given back', async () => {
  await using server = await startRedis();
  await using backend = openRedis({ url: server.url, prefix: 't', timeoutMs: 5000 });
  assert.equal(await backend.ready(5000), true);
  using admin = raw(server.url);
  const used = async () => Number(/used_memory:(\d+)/.exec(await admin.info('memory'))?.[1]);
  await backend.checks.check([[charge(5, 1000), charge(5, 1000, { algorithm: 'log' })]]);
  const before = await used();
  let most = 0;
  for (let n = 0; n < KEYS; n += AT_ONCE) {
    const algorithm = n % (2 * AT_ONCE) === 0 ? 'sliding' : 'log';
    const requests = Array.from({ length: AT_ONCE }, () => [charge(5, 1000, { algorithm })]);
    const { results } = await backend.checks.check(requests);
    assert.ok(results.every((states) => !(states instanceof Error) && states[0] === 4));
    if (n % 5000 === 0) most = Math.max(most, await used());
  }
  most = Math.max(most, await used());
  const grown = most - before;
  assert.ok(grown > 1_000_000, `they were held: ${grown} bytes`);
  // All but the few of the replicas.
  await until(async () => (await admin.dbsize()) < 10, SOON_MS);
  // What stays is what Redis needs for itself, such as tables that shrink a little later.
  await until(async () => (await used()) - before < 0.2 * grown, SOON_MS);
});

/** A Redis whose wall clock can be set while it runs, as an operator or NTP does; time that passes stays true. */
async function clockedRedis() {
  const port = await freePort();
  let file = '';
  const clock: NodeJS.ProcessEnv = {
    // libc before jemalloc, which asks for the time before libfaketime can tell it.
    LD_PRELOAD: `${ensureFakeClock()} libc.so.6`,
    FAKETIME_CACHE_DURATION: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
  const set = (seconds: number) => {
    writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds}\n`);
    renameSync(`${file}.new`, file);
  };
  const args = (dir: string) => {
    file = join(dir, 'clock');
    set(0);
    clock.FAKETIME_TIMESTAMP_FILE = file;
    return ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', ''];
  };
  const server = await launchRedis(port, args, undefined, clock);
  const admin = new Redis(server.url);
  return {
    url: server.url,
    /** Resolves once the server has noticed. */
    async set(seconds: number) {
      set(seconds);
      await until(async () => Math.abs(Number((await admin.time())[0]) - Date.now() / 1000 - seconds) < 30, SOON_MS);
    },
    async [Symbol.asyncDispose]() {
      admin.disconnect();
      await server[Symbol.asyncDispose]();
    },
  };
}

test("attack 105: Redis' own clock is set back and forward by an hour: no step back frees anybody, and none locks out for its length", async () => {
  await using server = await clockedRedis();
  await using backend = openRedis({ url: server.url, prefix: 't', timeoutMs: 5000 });
  assert.equal(await backend.ready(5000), true);
  const WINDOW_MS = 600_000;
  const limits = (['sliding', 'log'] as const).map((algorithm) => charge(5, WINDOW_MS, { algorithm }));
  const left = async () => {
    const all = [];
    for (const limit of limits) {
      const { results } = await backend.checks.check([[limit]]);
      const [remaining, resetMs] = results[0] as number[];
      assert.ok(resetMs! > 0 && resetMs! <= 2 * WINDOW_MS, `reset ${resetMs}`);
      all.push(remaining);
    }
    return all;
  };
  for (const each of [4, 3, 2]) assert.deepEqual(await left(), [each, each]);
  await server.set(-3600);
  for (const each of [1, 0, -1, -1]) assert.deepEqual(await left(), [each, each], 'a step back frees nothing');
  const fresh = limits.map((limit) => ({ ...limit, key: charge(1, 1).key }));
  for (const limit of fresh) {
    const { results } = await backend.checks.check([[limit]]);
    assert.equal((results[0] as number[])[0], 4, 'who comes new is served');
  }
  await server.set(-3600 + 2 * (WINDOW_MS / 1000));
  assert.deepEqual(await left(), [4, 4], 'free again two windows later, by a clock that is still behind');
  await server.set(3600);
  for (const each of [4, 3, 2, 1, 0, -1]) assert.deepEqual(await left(), [each, each], 'an hour on all is free, once');
  await server.set(0);
  assert.deepEqual(await left(), [-1, -1], 'setting it right frees nobody');
});

test('attack 109: a cap of open streams holds with Redis gone, for each caller by itself', async () => {
  await using server = await startRedis();
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, {
    redis: { url: { value: server.url }, timeout: '250ms' },
    upstreams: { app: { url: upstream.url, streams_per_caller: 2 } },
  });
  const alice = tokenFor({ sub: 'alice', client_id: 'spa' });
  const upgrade = (token: string) => ask(at.port, head('GET /ws', [...handshake, bearer(token)]), SOON_MS);
  using first = await open101(at.port, alice);
  await server.stop();
  using events = open(at.port, head('GET /events', [bearer(alice)]));
  await eventually(() => events.text().includes('event-stream'), SOON_MS);
  for (let n = 0; n < 5; n += 1) assertProblem(await upgrade(alice), 429, 'a third stream, without Redis');
  using _other = await open101(at.port, tokenFor({ sub: 'bob', client_id: 'spa' }));
  await server.start();
  assertProblem(await upgrade(alice), 429, 'and with Redis empty');
  assert.equal(first.closed, false);
  first.socket.destroy();
  using again = await reopened(() => open101(at.port, alice));
  assertProblem(await upgrade(alice), 429, 'two again');
  assert.equal(again.closed, false);
});

/** A place is free a moment after the stream before it has closed. */
async function reopened<T>(tryOpen: () => Promise<T>): Promise<T> {
  const endMs = performance.now() + SOON_MS;
  for (;;) {
    try {
      return await tryOpen();
    } catch (error) {
      if (performance.now() > endMs) throw error;
    }
  }
}
