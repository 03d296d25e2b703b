// Several worker processes behind one proxy port, seen from outside: what a client, an operator, Prometheus and kubelet get
// is what one process would give.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { configFor, tokenFor } from '../support/sidecar.ts';
import { eventually, type Loose, lives, several, tokens } from './several.ts';

const limited = { limits: { each: { key: 'client', rate: '20/1h' } }, defaults: { limits: ['each'] } };

const servedBy = (lines: readonly Loose[]) =>
  new Set(lines.filter(({ event }) => String(event) === 'decision').map(({ worker }) => Number(worker)));

const count = (statuses: readonly number[], wanted: number) => statuses.filter((status) => status === wanted).length;

test('a limit is exact over parallel requests that several processes serve, and the metrics are one set', async () => {
  await using it = await several(limited);
  const statuses = await it.statuses(80, tokenFor({ client_id: 'billing' }));
  assert.deepEqual([count(statuses, 200), count(statuses, 429)], [20, 60]);
  await eventually(() => servedBy(it.logged()).size === 2, 'both workers have decided something');
  assert.equal(await it.metric('doorward_decisions_total{outcome="allow",reason="ok",route="all"}'), 20);
  assert.equal(await it.metric('doorward_decisions_total{outcome="deny",reason="rate_limited",route="all"}'), 60);
  assert.equal(await it.metric('doorward_workers{state="serving"}'), 2);
  assert.equal(await it.metric('doorward_config_reload_success'), 1);
  assert.equal(await it.metric('doorward_store_up{store="redis"}'), 1);
  assert.ok((await it.metric('process_start_time_seconds')) > 0);
});

test('L6: a revocation counts in every process from the next request on', async () => {
  await using it = await several();
  const token = tokenFor({ sub: 'mallory' });
  assert.equal(count(await it.statuses(20, token), 200), 20);
  const body = { kind: 'subject', issuer: 'test', id: 'mallory', reason: 'test' };
  const dry = await it.admin('POST', '/v1/revocations', { ...body, dry_run: true });
  assert.equal(Number(dry.json.would_refuse), 2, 'one remembered token in each worker');
  const { status, json } = await it.admin('POST', '/v1/revocations', body);
  assert.deepEqual([status, String(json.applied)], [201, 'all']);
  assert.equal(count(await it.statuses(40, token), 401), 40);
  assert.equal((await it.admin('DELETE', `/v1/revocations/${json.id}`)).status, 204);
  assert.equal(count(await it.statuses(40, token), 200), 40);
});

test('with Redis away a revocation is pending and yet in force in every process, until it is taken back', async () => {
  await using it = await several();
  const token = tokenFor({ sub: 'mallory' });
  assert.equal(count(await it.statuses(20, token), 200), 20);
  await it.redis.stop();
  await eventually(
    async () => String((await it.ready()).json.status) === 'degraded',
    'Redis is known to be away',
    () => it.ready(),
  );
  const body = { kind: 'subject', issuer: 'test', id: 'mallory', reason: 'test' };
  const { json } = await it.admin('POST', '/v1/revocations', body);
  assert.equal(String(json.applied), 'pending');
  const statuses = await it.statuses(40, token);
  assert.equal(count(statuses, 401), 40, String(statuses));
  assert.equal(await it.status(tokenFor({ sub: 'alice' })), 200);
  const about = () => it.logged().filter(({ event }) => /^(store|ready|revocations)/.test(String(event)));
  // The watcher looks once a second: an outage that is over by then is nobody's line.
  await eventually(
    () => about().some(({ event }) => String(event) === 'store_down'),
    'the log says that Redis is away',
  );
  await it.redis.start();
  await eventually(
    async () => Number((await it.admin('GET', '/v1/status')).json.counts?.revocations_pending) === 0,
    'the log has it',
  );
  assert.equal(count(await it.statuses(40, token), 401), 40);
  assert.equal((await it.admin('DELETE', `/v1/revocations/${json.id}`)).status, 204);
  assert.equal(count(await it.statuses(40, token), 200), 40);
  await eventually(() => about().some(({ event }) => String(event) === 'store_up'), 'the log says that Redis is back');
  const said = about().map(({ event, worker }) => [String(event), worker]);
  assert.deepEqual(
    said.filter(([event]) => event !== 'revocations_lost' && event !== 'revocations_rebuilt').sort(),
    [
      ['ready', undefined],
      ['store_down', undefined],
      ['store_replaced', undefined],
      ['store_up', undefined],
    ],
    'once, by the primary',
  );
});

test('a worker that is killed under load takes its own connections with it and nothing else, and is replaced', async () => {
  await using it = await several();
  const callers = tokens(20);
  const [killed] = it.workers();
  const seen: number[] = [];
  let going = true;
  const load = Promise.all(
    callers.map(async (token) => {
      while (going) seen.push(await it.status(token));
    }),
  );
  await eventually(() => count(seen, 200) > 100, 'traffic flows');
  const before = await it.metric('doorward_decisions_total{outcome="allow",reason="ok",route="all"}');
  process.kill(killed as number, 'SIGKILL');
  await eventually(async () => {
    const { status, json } = await it.ready();
    assert.equal(status, 200, 'the other one serves');
    return Number(json.components?.workers?.detail?.serving) === 1;
  }, 'readiness says that one is missing');
  const during = await it.metric('doorward_decisions_total{outcome="allow",reason="ok",route="all"}');
  assert.ok(during >= before, `${during} after ${before}: what the dead one had counted still counts`);
  await eventually(async () => String((await it.ready()).json.status) === 'ready', 'it is replaced');
  const now = seen.length;
  await eventually(() => seen.length > now + 100, 'traffic flows on');
  going = false;
  await load;
  assert.deepEqual(
    [...new Set(seen)].filter((status) => status !== 200 && status !== 0),
    [],
  );
  // Those it had, and those that the system had given it and it had not taken yet.
  assert.ok(count(seen, 0) <= 3 * callers.length, `${count(seen, 0)} connections ended, of ${seen.length} requests`);
  assert.ok(!lives(killed as number));
  assert.equal(it.workers().length, 2);
  assert.equal(it.logged().filter(({ event }) => String(event) === 'worker_died').length, 1);
  assert.equal(await it.metric('doorward_worker_deaths_total'), 1);
});

test('a worker that takes the place of another while Redis is away waits, and the others go on with what they know', async () => {
  await using it = await several();
  const token = tokenFor();
  assert.equal(count(await it.statuses(20, token), 200), 20);
  await it.redis.stop();
  await eventually(async () => String((await it.ready()).json.status) === 'degraded', 'Redis is known to be away');
  const [killed] = it.workers();
  process.kill(killed as number, 'SIGKILL');
  await eventually(
    () => it.workers().length === 2 && it.workers().every((pid) => pid !== killed),
    'another one starts',
  );
  // Three times as long as it took Redis to be given up at its start.
  for (let round = 0; round < 12; round += 1) {
    assert.equal(count(await it.statuses(10, token), 200), 10);
    await sleep(500);
  }
  assert.equal(Number((await it.ready()).json.components?.workers?.detail?.serving), 1);
  await it.redis.start();
  await eventually(async () => String((await it.ready()).json.status) === 'ready', 'it serves once it knows');
  assert.equal(count(await it.statuses(20, token), 200), 20);
});

test('attack 112: a reload is in force in every process or in none', async () => {
  await using it = await several();
  const { proxy, ...rest } = configFor(it.upstream.url, {
    redis: { url: { value: it.redis.url }, timeout: '5s' },
    proxy: { workers: 2 },
  });
  const moved = { ...rest, proxy, routes: { all: { match: { prefix: '/moved' } } } };
  const token = tokenFor();
  assert.equal(count(await it.statuses(20, token), 200), 20);
  it.writeConfig(moved);
  const reloaded = await it.admin('POST', '/v1/config/reload', {});
  assert.equal(reloaded.status, 200);
  assert.equal(count(await it.statuses(40, token), 404), 40);
  const hash = await it.metric('doorward_config_hash');
  it.writeConfig({ ...moved, routes: { all: { match: { prefix: '/' }, upstream: 'nobody' } } });
  assert.equal((await it.admin('POST', '/v1/config/reload', {})).status, 422);
  assert.equal(count(await it.statuses(40, token), 404), 40);
  assert.equal(await it.metric('doorward_config_hash'), hash);
  const [killed] = it.workers();
  process.kill(killed as number, 'SIGKILL');
  await eventually(() => it.workers().every((pid) => pid !== killed), 'the worker is replaced');
  await eventually(async () => String((await it.ready()).json.status) === 'ready', 'and serves');
  assert.equal(count(await it.statuses(40, token), 404), 40, 'what is in force, not what the file says');
});

test('a worker that dies during a reload keeps nobody from the new configuration', async () => {
  await using it = await several();
  const token = tokenFor();
  assert.equal(count(await it.statuses(20, token), 200), 20);
  const redis = { url: { value: it.redis.url }, timeout: '5s' };
  const moved = { redis, proxy: { workers: 2 }, routes: { all: { match: { prefix: '/moved' } } } };
  it.writeConfig(configFor(it.upstream.url, moved));
  const [dying] = it.workers();
  process.kill(dying as number, 'SIGSTOP');
  const reloading = it.admin('POST', '/v1/config/reload', {});
  // By then the other one has answered.
  await sleep(500);
  process.kill(dying as number, 'SIGKILL');
  assert.equal((await reloading).status, 200);
  await eventually(() => it.workers().every((pid) => pid !== dying), 'the worker is replaced');
  await eventually(async () => String((await it.ready()).json.status) === 'ready', 'and serves');
  assert.equal(count(await it.statuses(40, token), 404), 40);
});

test('why, status and limits speak for all processes, through socket and port', async () => {
  await using it = await several(limited);
  const token = tokenFor({ client_id: 'billing' });
  await it.statuses(30, token);
  await eventually(() => servedBy(it.logged()).size === 2, 'both workers have decided something');
  const refusals = it.logged().filter(({ reason }) => String(reason) === 'rate_limited');
  for (const worker of [1, 2]) {
    const refusal = refusals.find((line) => Number(line.worker) === worker);
    if (refusal === undefined) continue;
    const { json } = await it.admin('GET', `/v1/decisions?request_id=${refusal.request_id}`);
    const kept = json.items?.[0 as unknown as string];
    assert.equal(String(kept?.reason), 'rate_limited');
    assert.match(String(kept?.rule_at), /^sidecar\.yaml:1:\d+$/, 'a worker judges by the configuration of the primary');
  }
  const counts = async () => (await it.admin('GET', '/v1/status')).json.counts;
  await eventually(async () => Number((await counts())?.tokens_cached) === 2, 'one token is remembered in each');
  const status = await it.admin('GET', '/v1/status');
  assert.equal(Number(status.json.components?.workers?.detail?.configured), 2);
  assert.equal((await it.admin('DELETE', '/v1/limits/each/test%2Fbilling')).status, 200);
  await eventually(async () => (await it.status(token)) === 200, 'the limit begins anew');
});
