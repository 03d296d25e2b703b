// How long anybody waits for a Redis that is late, silent or talks nonsense, and what is answered meanwhile. Every fault is a
// relay before a real server, or the server itself brought into that state.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { charge } from '../conformance/checks.ts';
import { draft } from '../conformance/revocations.ts';
import { until } from '../revocation/until.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { launchRedis, startRedis } from '../support/redis-server.ts';
import { startRelay } from '../support/relay.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const unavailable = { name: 'SidecarError', kind: 'store_unavailable' };

/** A backend behind a relay, connected. */
async function open(timeoutMs: number) {
  const server = await startRedis();
  const relay = await startRelay({ port: server.port, host: '127.0.0.1' });
  const backend = openRedis({ url: `redis://127.0.0.1:${relay.port}`, prefix: 't', timeoutMs });
  assert.equal(await backend.ready(10_000), true);
  await backend.checks.check([[charge(5, 60_000)]]);
  return {
    server,
    relay,
    backend,
    async [Symbol.asyncDispose]() {
      await backend[Symbol.asyncDispose]();
      await relay[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const answers = (check: () => unknown) => async () =>
  Promise.resolve(check()).then(
    () => true,
    () => false,
  );

test('attack 104: after five answers in a row that did not come, requests are not sent any more, until one comes', async () => {
  await using it = await open(100);
  const { checks } = it.backend;
  it.relay.delay(60_000, 'down');
  for (let n = 0; n < 5; n += 1) await assert.rejects(async () => checks.check([[]]), unavailable);
  assert.equal(it.backend.health().up, false);
  const before = it.relay.forwarded.up;
  for (let n = 0; n < 100; n += 1) await assert.rejects(async () => checks.check([[charge(5, 60_000)]]), unavailable);
  assert.ok(it.relay.forwarded.up - before < 2000, 'probes and handshakes only, not a hundred checks');
  it.relay.heal();
  await until(async () => it.backend.health().up);
  await until(answers(() => checks.check([[]])));
});

test('attack 104: the check and the catching up that it starts share one timeout', async () => {
  await using it = await open(5000);
  await using upstream = await recordingUpstream();
  const url = `redis://127.0.0.1:${it.relay.port}`;
  await using sidecar = await startSidecar(upstream.url, {
    redis: { url: { value: url }, timeout: '5s', prefix: 't' },
  });
  const ask = () => fetch(sidecar.proxyUrl, { headers: { authorization: `Bearer ${tokenFor()}` } });
  assert.equal((await ask()).status, 200);
  // Another replica revokes, past the relay; this one hears of it by the next batch only.
  it.relay.delay(3500, 'down');
  await using direct = openRedis({ url: it.server.url, prefix: 't', timeoutMs: 2000 });
  await direct.ready(5000);
  await until(async () =>
    direct.revocations.append(draft('late')).then(
      () => true,
      () => false,
    ),
  );
  const began = performance.now();
  assert.equal((await ask()).status, 200);
  const tookMs = performance.now() - began;
  assert.ok(tookMs < 6900, `check 3500 ms, then at most 1500 ms more, not 3500 more: ${tookMs}`);
});

for (const onStoreDown of ['local', 'deny', 'allow'] as const) {
  for (const revocation of ['known', 'deny', 'allow'] as const) {
    test(`attack 104: a Redis that stalls, limits ${onStoreDown}, revocations ${revocation}: as configured, no 500`, async () => {
      await using server = await startRedis();
      await using relay = await startRelay({ port: server.port, host: '127.0.0.1' });
      await using upstream = await recordingUpstream();
      await using sidecar = await startSidecar(upstream.url, {
        redis: { url: { value: `redis://127.0.0.1:${relay.port}` }, timeout: '100ms' },
        revocation: { on_store_down: revocation },
        limits: { per_ip: { key: 'ip', rate: '3/1h', on_store_down: onStoreDown } },
        defaults: { limits: ['per_ip'] },
        routes: { open: { match: { prefix: '/open' }, auth: 'none' }, all: { match: { prefix: '/' } } },
      });
      const ask = async (path: string) => {
        const headers = { authorization: `Bearer ${tokenFor()}` };
        // Fifty times the timeout of Redis: a machine that is busy may, a request that waits for something else may not.
        return (await fetch(sidecar.proxyUrl + path, { headers, signal: AbortSignal.timeout(5000) })).status;
      };
      relay.stall();
      const statuses: Record<string, number[]> = { '/open': [], '/': [] };
      for (const path of ['/open', '/', '/open', '/', '/open', '/', '/open', '/'])
        statuses[path]!.push(await ask(path));
      const limited = { local: [200, 200, 429, 429], deny: [503, 503, 503, 503], allow: [200, 200, 200, 200] };
      const withToken = { local: [200, 429, 429, 429], deny: [503, 503, 503, 503], allow: [200, 200, 200, 200] };
      assert.deepEqual(
        statuses['/open'],
        revocation === 'deny' && onStoreDown === 'local' ? [200, 200, 200, 429] : limited[onStoreDown],
      );
      if (revocation !== 'deny') assert.deepEqual(statuses['/'], withToken[onStoreDown]);
      // A key that is known to be over its limit is refused without asking.
      else
        assert.ok(
          statuses['/']!.every((status, at) => status === 503 || (status === 429 && at === 3)),
          String(statuses['/']),
        );
      const metrics = await (await fetch(`${sidecar.observeUrl}/metrics`)).text();
      assert.match(metrics, /doorward_degraded\{subsystem="store",mode="away"\} 1/);
      assert.match(metrics, new RegExp(`doorward_degraded\\{subsystem="limits",mode="${onStoreDown}"\\} 1`));
      const ready = await fetch(`${sidecar.observeUrl}/readyz`);
      assert.equal(ready.status, 200, 'a blip of Redis takes no pod out');
      assert.equal(((await ready.json()) as { status: string }).status, 'degraded');
      const warned = sidecar.logged().filter(({ event }) => event === 'config_warning');
      assert.deepEqual(
        warned.map(({ level, problem }) => [level, problem]),
        revocation === 'allow' ? [['warn', 'allow accepts revoked tokens while Redis is away']] : [],
      );
      relay.heal();
      await until(async () =>
        /doorward_store_up\{store="redis"\} 1/.test(await (await fetch(`${sidecar.observeUrl}/metrics`)).text()),
      );
    });
  }
}

test('a reply that is cut in its middle is no answer, and the connection is made anew', async () => {
  await using it = await open(1000);
  it.relay.truncate(3, 'down');
  await assert.rejects(async () => it.backend.checks.check([[charge(5, 60_000)]]), unavailable);
  it.relay.heal();
  await until(answers(() => it.backend.checks.check([[]])));
});

test('a connection that is reset while commands are under way charges nothing twice', async () => {
  await using it = await open(1000);
  const limit = charge(1000, 600_000);
  it.relay.stall('down');
  const under = Promise.allSettled(Array.from({ length: 5 }, async () => it.backend.checks.check([[limit]])));
  const before = it.relay.forwarded.up;
  await until(async () => it.relay.forwarded.up > before || before > 0);
  await new Promise((resolve) => setTimeout(resolve, 100));
  it.relay.reset();
  it.relay.heal();
  assert.ok((await under).every(({ status }) => status === 'rejected'));
  await until(answers(() => it.backend.checks.check([[]])));
  const [left] = await it.backend.checks.peek(limit);
  assert.equal(left, 995, 'each ran once, and none was sent again');
});

test('READONLY: the connection is made anew at once, to whatever the address stands for by then', async () => {
  await using it = await open(1000);
  const admin = new Redis(it.server.url);
  await admin.replicaof('127.0.0.1', 1);
  const before = it.relay.accepted;
  const { results } = await it.backend.checks.check([[charge(5, 60_000)]]);
  assert.ok(results[0] instanceof Error);
  await until(async () => it.relay.accepted > before);
  await admin.replicaof('NO', 'ONE');
  await until(async () => {
    const reply = await Promise.resolve(it.backend.checks.check([[charge(5, 60_000)]])).catch(() => undefined);
    return reply !== undefined && !(reply.results[0] instanceof Error);
  });
  admin.disconnect();
});

test('BUSY: a server that runs a long script is away, and back when it has ended', async () => {
  await using server = await startRedis('--busy-reply-threshold', '50');
  await using backend = openRedis({ url: server.url, prefix: 't', timeoutMs: 500 });
  assert.equal(await backend.ready(5000), true);
  const admin = new Redis(server.url);
  const endless = admin.eval('while true do end', 0).catch(() => undefined);
  const codes = new Set<string>();
  await until(async () => {
    const error = await Promise.resolve(backend.checks.check([[charge(5, 60_000)]])).catch((thrown: Error) => thrown);
    if (error instanceof Error) codes.add((error as Error & { code?: string }).code ?? '');
    return codes.has('BUSY');
  });
  const killer = new Redis(server.url, { enableReadyCheck: false });
  await killer.script('KILL');
  await endless;
  await until(answers(() => backend.checks.check([[]])));
  admin.disconnect();
  killer.disconnect();
});

test('NOPERM: a user that may not run scripts is told apart in the error, and nothing is decided by it', async () => {
  await using server = await startRedis();
  const admin = new Redis(server.url);
  await admin.call('ACL', 'SETUSER', 'weak', 'on', '>pw', '~*', '&*', '+@all', '-eval', '-evalsha');
  await using backend = openRedis({ url: server.url, user: 'weak', password: 'pw', prefix: 't', timeoutMs: 500 });
  assert.equal(await backend.ready(5000), true);
  await assert.rejects(async () => backend.checks.check([[]]), { ...unavailable, code: 'NOPERM' });
  assert.equal(backend.health().up, false);
  admin.disconnect();
});

/** So slow a load that there is time to look; an answer is given every few keys. */
const SLOW_LOAD = ['--key-load-delay', '500', '--loading-process-events-interval-bytes', '1024'];

/** A client of the test itself; it ends with the test, also where that fails. */
function raw(url: string) {
  const redis = new Redis(url, { enableReadyCheck: false });
  redis.on('error', () => undefined);
  return Object.assign(redis, { [Symbol.dispose]: () => redis.disconnect() });
}

async function fill(admin: Redis, hundreds: number): Promise<void> {
  for (let n = 0; n < hundreds; n += 1)
    await admin.mset(...Array.from({ length: 100 }, (_, at) => [`filler${n}.${at}`, 'x'.repeat(100)]).flat());
}

test('LOADING: a server that loads its data is not ready, and is used once it has it', async () => {
  await using server = await startRedis('--dbfilename', 'dump.rdb');
  using admin = raw(server.url);
  await fill(admin, 40);
  await admin.save();
  const [, dir] = (await admin.config('GET', 'dir')) as [string, string];
  await server.stop();
  await using loading = await launchRedis(server.port, () => [
    ...['--port', String(server.port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', ...SLOW_LOAD],
  ]);
  await using backend = openRedis({ url: loading.url, prefix: 't', timeoutMs: 1000 });
  assert.equal(await backend.ready(200), false);
  await assert.rejects(async () => backend.checks.check([[]]), unavailable);
  using asker = raw(loading.url);
  await assert.rejects(asker.get('x'), /^ReplyError: LOADING/, 'and that is what it was doing');
  await until(
    answers(() => backend.checks.check([[]])),
    20_000,
  );
});

test('LOADING: a server that loads its data anew under open connections is told apart, and used again after it', async () => {
  await using server = await startRedis('--enable-debug-command', 'yes', '--dbfilename', 'dump.rdb', ...SLOW_LOAD);
  await using backend = openRedis({ url: server.url, prefix: 't', timeoutMs: 1000 });
  assert.equal(await backend.ready(5000), true);
  await backend.checks.check([[]]);
  using admin = raw(server.url);
  await fill(admin, 12);
  const loaded = admin.call('DEBUG', 'RELOAD').catch(() => undefined);
  const codes = new Set<string>();
  await until(async () => {
    const error = await Promise.resolve(backend.checks.check([[]])).catch((thrown: Error) => thrown);
    if (error instanceof Error) codes.add((error as Error & { code?: string }).code ?? error.message);
    return codes.has('LOADING');
  });
  assert.equal(backend.health().up, false);
  await loaded;
  await until(answers(() => backend.checks.check([[charge(5, 60_000)]])));
  assert.equal(backend.health().up, true);
});
