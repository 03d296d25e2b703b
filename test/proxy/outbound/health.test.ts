// Active checks: who fails them gets no requests, and they are no traffic.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../rows/eventually.ts';
import { ask, before, member, metric, several, states, urls } from './members.ts';

const health = { path: '/healthz', interval: '250ms', timeout: '200ms', healthy: 2, unhealthy: 2 };

test('an endpoint that fails its checks gets no requests until it passes them again', async () => {
  await using members = await several(2);
  const [sick, well] = members;
  await using sidecar = await before(urls(members), { health });
  const stateOfSick = async () => (await states(sidecar))[`127.0.0.1:${sick.port}`];
  await eventually(async () => (await stateOfSick()) === 'up', 10_000);
  sick.health = 503;
  await eventually(async () => (await stateOfSick()) === 'unhealthy', 10_000);
  const soFar = sick.seen.length;
  for (let n = 0; n < 6; n += 1) assert.equal((await ask(sidecar)).from, 'm2');
  assert.deepEqual([sick.seen.length, well.seen.length], [soFar, 6]);
  sick.health = 204;
  await eventually(async () => (await stateOfSick()) === 'up', 10_000);
  const from = [(await ask(sidecar)).from, (await ask(sidecar)).from];
  assert.deepEqual(from.toSorted(), ['m1', 'm2']);
});

test('with nobody healthy requests are 503 at once, without a connection, and resume by themselves', async () => {
  await using only = await member('m1');
  only.health = 500;
  await using sidecar = await before(only.url, { health });
  await eventually(async () => (await states(sidecar))[`127.0.0.1:${only.port}`] === 'unhealthy', 10_000);
  const answers = [await ask(sidecar), await ask(sidecar, '/', { method: 'POST', body: 'x' })];
  for (const { status, from, headers } of answers)
    assert.deepEqual([status, from, headers['retry-after']], [503, 'upstream_unavailable', '1']);
  assert.deepEqual(only.seen, []);
  only.health = 200;
  await eventually(async () => (await ask(sidecar)).status === 200, 10_000);
});

test('one failed check of several is no reason; the first one is', async () => {
  await using only = await member('m1');
  await using sidecar = await before(only.url, { health: { ...health, unhealthy: 100 } });
  const state = async () => (await states(sidecar))[`127.0.0.1:${only.port}`];
  await eventually(async () => (await state()) === 'up', 10_000);
  only.health = 500;
  const checks = only.checks.length;
  await eventually(() => only.checks.length >= checks + 3, 10_000);
  assert.equal(await state(), 'up');
  await using another = await member('m2');
  another.health = 500;
  await using late = await before(another.url, { health: { ...health, unhealthy: 100 } });
  await eventually(async () => (await states(late))[`127.0.0.1:${another.port}`] === 'unhealthy', 10_000);
});

test('a check that is not answered in time has failed', async () => {
  await using members = await several(2);
  members[0].health = 0;
  await using sidecar = await before(urls(members), { health });
  await eventually(async () => (await states(sidecar))[`127.0.0.1:${members[0].port}`] === 'unhealthy', 10_000);
  assert.equal((await states(sidecar))[`127.0.0.1:${members[1].port}`], 'up');
});

test('the statuses that pass can be named', async () => {
  await using members = await several(2);
  const [teapot, fine] = members;
  teapot.health = 418;
  await using sidecar = await before(urls(members), { health: { ...health, status: [418] } });
  await eventually(async () => {
    const now = await states(sidecar);
    return now[`127.0.0.1:${teapot.port}`] === 'up' && now[`127.0.0.1:${fine.port}`] === 'unhealthy';
  }, 10_000);
});

test('checks are no traffic: no decisions, no slots, a Host of the configuration, a connection that is closed', async () => {
  await using only = await member('m1');
  await using sidecar = await before(only.url, { health, host: 'app.example', connections: 1 });
  await eventually(() => only.checks.length >= 3, 10_000);
  const [check] = only.checks;
  assert.deepEqual([check?.host, check?.connection], ['app.example', 'close']);
  assert.equal(check?.['x-request-id'], undefined);
  const decisions = () => sidecar.logged().filter(({ event }) => event === 'decision').length;
  assert.equal(decisions(), 0);
  await ask(sidecar);
  await eventually(() => decisions() === 1, 5000);
  assert.ok((await metric(sidecar, 'doorward_upstream_health_checks_total{upstream="app",outcome="passed"}')) >= 2);
  await eventually(() => only.open.size <= 1, 5000);
});
