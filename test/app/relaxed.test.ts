// Relaxations are said when they come into force; shadow mode ends at `shadow_until`, without a reload or a restart.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { Relaxed } from '../../src/app/relaxed.ts';
import { loadConfig } from '../../src/config/load.ts';
import { enforceOverdue } from '../../src/config/shadow.ts';
import { systemClock } from '../../src/core/clock.ts';
import { openLog } from '../../src/telemetry/log.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { configFor, startSidecar, type TestSidecar } from '../support/sidecar.ts';
import { eventually, several } from './several.ts';

const DAY_MS = 86_400_000;
const inDays = (days: number) => new Date(Date.now() + days * DAY_MS).toISOString().replace(/\.\d+Z$/, 'Z');

function movable() {
  const clock = { ...systemClock, aheadMs: 0, nowMs: () => systemClock.nowMs() + clock.aheadMs };
  return clock;
}

const status = async ({ proxyUrl }: TestSidecar, path = '/') => (await fetch(`${proxyUrl}${path}`)).status;
const ended = (sidecar: TestSidecar) =>
  sidecar.logged().flatMap(({ event, enforced }) => (event === 'shadow_ended' ? [enforced] : []));

const SHADOWED = {
  limits: { few: { key: 'ip', rate: '1/1h', mode: 'shadow', shadow_until: inDays(2) } },
  routes: {
    all: { match: { prefix: '/' }, mode: 'shadow', shadow_until: inDays(1) },
    open: { match: { prefix: '/open' }, auth: 'none', limits: ['few'] },
  },
};

test('a route and a limit enforce from their dates on, while the program runs', async () => {
  await using upstream = await recordingUpstream();
  const clock = movable();
  await using sidecar = await startSidecar(upstream.url, SHADOWED, {}, clock);
  assert.equal(await status(sidecar), 200);
  for (let at = 0; at < 3; at += 1) assert.equal(await status(sidecar, '/open'), 200);
  assert.deepEqual(ended(sidecar), []);
  clock.aheadMs = 1.5 * DAY_MS;
  await eventually(async () => (await status(sidecar)) === 401, 'the route enforces');
  for (let at = 0; at < 3; at += 1) assert.equal(await status(sidecar, '/open'), 200);
  assert.deepEqual(ended(sidecar), [['routes.all']]);
  clock.aheadMs = 2.5 * DAY_MS;
  await eventually(async () => (await status(sidecar, '/open')) === 429, 'the limit enforces');
  assert.deepEqual(ended(sidecar), [['routes.all'], ['routes.all', 'limits.few']]);
});

test('a date that has passed at the start or at a reload enforces at once, and is said', async () => {
  await using upstream = await recordingUpstream();
  const past = { routes: { all: { match: { prefix: '/' }, mode: 'shadow', shadow_until: '2026-01-01' } } };
  await using sidecar = await startSidecar(upstream.url, past);
  assert.equal(await status(sidecar), 401);
  assert.deepEqual(ended(sidecar), [['routes.all']]);
  sidecar.writeConfig(configFor(upstream.url, SHADOWED));
  assert.ok((await sidecar.reload()).ok);
  assert.equal(await status(sidecar), 200);
  sidecar.writeConfig(configFor(upstream.url, past));
  assert.ok((await sidecar.reload()).ok);
  assert.equal(await status(sidecar), 401);
  assert.deepEqual(ended(sidecar), [['routes.all'], ['routes.all']]);
});

test('a date that passes between compiling and coming into force is not missed', async () => {
  await using upstream = await recordingUpstream();
  const clock = movable();
  // Keys are fetched between the two at the start.
  const keys = createServer((_, response) => {
    clock.aheadMs = 1.5 * DAY_MS;
    response.end('{"keys":[]}');
  }).listen(0, '127.0.0.1');
  await once(keys, 'listening');
  try {
    const url = `http://127.0.0.1:${(keys.address() as AddressInfo).port}/jwks`;
    const issuers = { slow: { issuer: 'https://slow.test/', audience: ['api'], keys: { url } } };
    await using sidecar = await startSidecar(upstream.url, { ...SHADOWED, issuers }, {}, clock);
    assert.equal(clock.aheadMs, 1.5 * DAY_MS);
    await eventually(async () => (await status(sidecar)) === 401, 'the route enforces');
    assert.deepEqual(ended(sidecar), [['routes.all']]);
  } finally {
    keys.close();
    keys.closeAllConnections();
  }
});

test('what was compiled before its date and comes into force after it is compiled again, and not said to enforce until then', async () => {
  await using upstream = await recordingUpstream();
  const clock = movable();
  await using sidecar = await startSidecar(upstream.url, SHADOWED);
  const loaded = loadConfig({ file: sidecar.file, env: {} });
  const said: unknown[] = [];
  const log = openLog('info', { write: (line) => void said.push(JSON.parse(line).event) });
  const again = Promise.withResolvers<void>();
  using relaxed = new Relaxed({ clock, log, says: true, again: again.resolve });
  clock.aheadMs = 1.5 * DAY_MS;
  relaxed.follow(loaded);
  assert.ok(!said.includes('shadow_ended'));
  await again.promise;
  relaxed.follow(enforceOverdue(loaded, clock.nowMs()));
  assert.equal(said.filter((event) => event === 'shadow_ended').length, 1);
});

test('a stream that only shadow mode let in ends with it', async () => {
  await using upstream = await recordingUpstream((_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('data: one\n\n');
  });
  const clock = movable();
  await using sidecar = await startSidecar(upstream.url, SHADOWED, {}, clock);
  const stream = await fetch(`${sidecar.proxyUrl}/events`);
  const reader = (stream.body as ReadableStream<Uint8Array>).getReader();
  assert.match(Buffer.from((await reader.read()).value ?? []).toString(), /one/);
  clock.aheadMs = 1.5 * DAY_MS;
  // Resolves with the end or rejects with a reset; without an end the test would wait here for ever.
  await reader.read().catch(() => undefined);
  assert.deepEqual(ended(sidecar), [['routes.all']]);
});

test('the log says what is relaxed at the start, and again when a reload changes it', async () => {
  const relaxed = (sidecar: TestSidecar) =>
    sidecar.logged().flatMap(({ event, settings }) => (event === 'relaxed' ? [settings as string[]] : []));
  const health = { match: { path: '/healthz' }, auth: 'none' };
  const routes = { all: { match: { prefix: '/' }, relax: ['double_slash'] }, health };
  await using sidecar = await startSidecar('http://127.0.0.1:1', { routes, proxy: { error_detail: 'reason' } });
  assert.deepEqual(
    relaxed(sidecar).map((each) => each.map((text) => text.replace(/^\S+:\d+:\d+ /, ''))),
    [
      [
        'proxy.error_detail: reason: callers are told why they were refused',
        'routes.all.relax: double_slash: paths that servers read differently',
        'routes.health.auth: none: needs no token',
      ],
    ],
  );
  const stricter = (proxy: object, more: object) => {
    sidecar.writeConfig(configFor('http://127.0.0.1:1', { proxy, ...more }));
    assert.ok(sidecar.reload());
  };
  stricter({ error_detail: 'reason', max_connections: 100 }, { routes });
  assert.equal(relaxed(sidecar).length, 1);
  stricter({}, {});
  assert.deepEqual(relaxed(sidecar)[1], []);
});

test('every worker process ends it', async () => {
  const until = new Date(Date.now() + 20_000).toISOString().replace(/\.\d+Z$/, 'Z');
  await using world = await several({
    routes: { all: { match: { prefix: '/' }, mode: 'shadow', shadow_until: until } },
  });
  await eventually(async () => (await world.statuses(20)).every((each) => each === 401), 'all workers enforce');
  const relaxed = world.logged().filter(({ event }) => String(event) === 'relaxed');
  assert.ok(relaxed.length > 0 && relaxed.every(({ worker }) => worker === undefined));
  await eventually(
    () =>
      new Set(world.logged().flatMap(({ event, worker }) => (String(event) === 'shadow_ended' ? [worker] : [])))
        .size === 3,
    'the primary and both workers say so',
    () => world.logged().map(({ event }) => event),
  );
});
