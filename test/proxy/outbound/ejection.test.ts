// Endpoints that accept requests and fail them: left out for a while that grows, never too many, never the last.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { Balance } from '../../../src/proxy/outbound/endpoints/balance.ts';
import { ejected } from '../../../src/proxy/outbound/endpoints/ejection.ts';
import { Endpoint } from '../../../src/proxy/outbound/endpoints/endpoint.ts';
import { RetryBudget } from '../../../src/proxy/outbound/endpoints/retry-budget.ts';
import { eventually } from '../../rows/eventually.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { ask, type Behaviour, before, type Member, metric, several, states, urls } from './members.ts';

const rules = { failures: 3, for: 1000, longest: 5000, max_share: 0.5, statuses: [] };

for (const behaviour of ['reset', 503, 'hang'] as Behaviour[]) {
  test(`an endpoint whose requests end with ${behaviour} is ejected, and comes back when its time is over`, async () => {
    await using members = await several(2);
    const [bad, good] = members;
    const ejection = { failures: 3, for: '1s', statuses: [503] };
    await using sidecar = await before(urls(members), { ejection });
    bad.behaviour = behaviour;
    const state = async () => (await states(sidecar))[`127.0.0.1:${bad.port}`];
    const begun = Array.from({ length: 6 }, () => ask(sidecar));
    await Promise.all(begun);
    assert.equal(await state(), 'ejected');
    assert.equal(bad.seen.length, 3);
    const served = good.seen.length;
    assert.equal((await ask(sidecar)).from, 'm2');
    assert.equal(good.seen.length, served + 1);
    assert.equal(await metric(sidecar, 'doorward_upstream_ejections_total{upstream="app"}'), 1);
    bad.behaviour = 'answer';
    await eventually(async () => (await state()) === 'up', 10_000);
    const [out, back] = sidecar.logged().filter(({ event }) => String(event).startsWith('endpoint_'));
    const endpoint = { upstream: 'app', endpoint: `127.0.0.1:${bad.port}` };
    assert.partialDeepStrictEqual(out, { level: 'warn', event: 'endpoint_out', ...endpoint, state: 'ejected' });
    assert.partialDeepStrictEqual(back, { level: 'info', event: 'endpoint_back', ...endpoint, before: 'ejected' });
    const from = [(await ask(sidecar)).from, (await ask(sidecar)).from];
    assert.deepEqual(from.toSorted(), ['m1', 'm2']);
  });
}

test('statuses that are not named eject nobody, and a good answer in between begins the count anew', async () => {
  await using members = await several(2);
  await using sidecar = await before(urls(members), { ejection: { failures: 2, for: '1m', statuses: [503] } });
  for (const each of members) each.behaviour = 500;
  for (let n = 0; n < 8; n += 1) assert.equal((await ask(sidecar)).status, 500);
  for (let n = 0; n < 4; n += 1) {
    for (const each of members) each.behaviour = n % 2 === 0 ? 503 : 'answer';
    await ask(sidecar);
    await ask(sidecar);
  }
  assert.deepEqual(Object.values(await states(sidecar)), ['up', 'up']);
});

test('the last endpoint is never ejected, and an ejected one returns when the others break', async () => {
  await using members = await several(2);
  const [first, second] = members;
  const ejection = { failures: 2, for: '10m', longest: '10m', max_share: 1 };
  await using sidecar = await before(urls(members), { ejection, breaker: { failures: 1, probe: '10m' } });
  for (const each of members) each.behaviour = 'reset';
  for (let n = 0; n < 10; n += 1) assert.equal((await ask(sidecar)).from, 'upstream_reset');
  const now = await states(sidecar);
  assert.deepEqual(Object.values(now).toSorted(), ['ejected', 'up']);
  const [left, out] = now[`127.0.0.1:${first.port}`] === 'up' ? [first, second] : [second, first];
  out.behaviour = 'answer';
  left.kill();
  await eventually(async () => (await ask(sidecar)).from === out.name, 5000);
  assert.equal((await states(sidecar))[`127.0.0.1:${out.port}`], 'up');
});

const endpoint = (name: string) => new Endpoint(name, name, undefined as never, 'unchecked');

test('ejections that follow each other last longer, up to a bound, and begin anew after a good time', () => {
  const [bad, good] = [endpoint('bad'), endpoint('good')];
  const lengths = [];
  let nowMs = 0;
  for (let n = 0; n < 5; n += 1) {
    bad.failures = 3;
    assert.ok(ejected(bad, [bad, good], rules, nowMs));
    lengths.push(bad.ejectedUntilMs - nowMs);
    nowMs = bad.ejectedUntilMs;
    bad.ejectedUntilMs = 0;
    bad.returnedAtMs = nowMs;
  }
  assert.deepEqual(lengths, [1000, 2000, 4000, 5000, 5000]);
  nowMs += 5000;
  bad.failures = 3;
  assert.ok(ejected(bad, [bad, good], rules, nowMs));
  assert.equal(bad.ejectedUntilMs - nowMs, 1000);
});

test('at most max_share of the endpoints are ejected', () => {
  const list = Array.from({ length: 5 }, (_, at) => endpoint(String(at)));
  let out = 0;
  for (const each of list) {
    each.failures = 3;
    if (ejected(each, list, rules, 0)) out += 1;
  }
  assert.equal(out, 2);
});

test('during slow start the share of an endpoint grows evenly, at light load and under load', () => {
  for (const isBusy of [false, true]) {
    const [old, fresh] = [endpoint('old'), endpoint('fresh')];
    fresh.rampFromMs = 0;
    const balance = new Balance(10_000);
    const sharesOf = (nowMs: number) => {
      let chosen = 0;
      for (let n = 0; n < 1000; n += 1) {
        const each = balance.choose([old, fresh], undefined, nowMs) as Endpoint;
        if (isBusy) each.active += 1;
        if (each === fresh) chosen += 1;
      }
      [old.active, fresh.active] = [0, 0];
      return chosen;
    };
    const shares = [500, 5000, 9000, 10_000].map(sharesOf);
    // Of the turns of both, a share s of its own ones: s / (1 + s).
    const wanted = [0.1, 0.5, 0.9, 1].map((share) => (1000 * share) / (1 + share));
    for (const [at, share] of shares.entries()) {
      assert.ok(Math.abs(share - (wanted[at] as number)) <= 25, `${isBusy}: ${shares} instead of ${wanted}`);
    }
  }
});

test('an endpoint in slow start takes everything when there is nobody else', () => {
  const fresh = endpoint('fresh');
  fresh.rampFromMs = 0;
  const balance = new Balance(10_000);
  for (let n = 0; n < 10; n += 1) assert.equal(balance.choose([fresh], undefined, 1), fresh);
});

test('a doubtful endpoint is taken only where none is up, and one that is out never', () => {
  const [up, doubtful, out] = [endpoint('up'), endpoint('doubtful'), endpoint('out')];
  Object.assign(doubtful, { rank: 1 });
  Object.assign(out, { rank: 2 });
  up.active = 100;
  const balance = new Balance(0);
  assert.equal(balance.choose([out, doubtful, up], undefined, 0), up);
  assert.equal(balance.choose([out, doubtful, up], up, 0), doubtful);
  assert.equal(balance.choose([out], undefined, 0), undefined);
});

test('retries are a share of requests, beyond a reserve', () => {
  const budget = new RetryBudget(0.2);
  const spendAll = () => {
    let spent = 0;
    while (budget.spend()) spent += 1;
    return spent;
  };
  assert.equal(spendAll(), 10);
  for (let n = 0; n < 100; n += 1) budget.earn();
  assert.ok(Math.abs(spendAll() - 20) <= 1);
  for (let n = 0; n < 100_000; n += 1) budget.earn();
  assert.equal(spendAll(), 100);
});

test('a handshake that is not answered counts as one failure, however long its client stays', async () => {
  await using members = await several(2);
  await using sidecar = await before(urls(members), { ejection: { failures: 2, for: '1m' } });
  for (const each of members) each.behaviour = 'hang';
  // Half open: it closes nothing when it has its answer.
  const client = connect({ port: sidecar.port, host: '127.0.0.1', allowHalfOpen: true });
  client.on('error', () => {});
  const fields = ['Host: app', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
  client.write(`${['GET / HTTP/1.1', ...fields, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='].join('\r\n')}\r\n\r\n`);
  const [answer] = await once(client.setEncoding('latin1'), 'data');
  assert.match(String(answer), /^HTTP\/1\.1 504 /);
  await eventually(async () => (await metric(sidecar, 'doorward_streams_open')) === 0, 10_000);
  assert.deepEqual(Object.values(await states(sidecar)), ['up', 'up']);
  client.destroy();
});

test('many requests of one caller that time out together eject no endpoint that answers others meanwhile', async () => {
  const clock = new ManualClock();
  await using members = await several(2);
  await using sidecar = await before(urls(members), { ejection: { failures: 3, for: '1m' } }, undefined, clock);
  for (const each of members) each.behaviour = 'hang';
  const slow = Array.from({ length: 12 }, () => ask(sidecar, '/slow'));
  await eventually(() => members.every(({ seen }) => seen.length >= 6), 20_000);
  for (const each of members) each.behaviour = 'answer';
  clock.advance(500);
  const from = new Set<string>();
  while (from.size < 2) from.add((await ask(sidecar)).from);
  clock.advance(600);
  assert.deepEqual(new Set((await Promise.all(slow)).map((each) => each.from)), new Set(['upstream_timeout']));
  assert.deepEqual(Object.values(await states(sidecar)), ['up', 'up']);
});

test('what was under way at an ejection and fails behind it does not count when the endpoint is back', async () => {
  const clock = new ManualClock();
  await using members = await several(2);
  await using sidecar = await before(urls(members), { ejection: { failures: 2, for: '1m' } }, undefined, clock);
  for (const each of members) each.behaviour = 'hang';
  const asked = Array.from({ length: 12 }, () => ask(sidecar));
  await eventually(() => members.every(({ seen }) => seen.length >= 6), 20_000);
  clock.advance(1100);
  await Promise.all(asked);
  const stateOf = async ({ port }: Member) => (await states(sidecar))[`127.0.0.1:${port}`];
  const [first, second] = members;
  const bad = (await stateOf(first)) === 'ejected' ? first : second;
  assert.equal(await stateOf(bad), 'ejected');
  clock.advance(60_000);
  await eventually(async () => (await stateOf(bad)) === 'up', 20_000);
  for (const each of members) each.behaviour = each === bad ? 'reset' : 'answer';
  const seen = bad.seen.length;
  while (bad.seen.length === seen) await ask(sidecar);
  assert.equal(await stateOf(bad), 'up');
});

test('bodies that an endpoint refuses by closing, and heads that repeat what a caller sent, do not eject it', async () => {
  await using members = await several(2);
  await using sidecar = await before(urls(members), { ejection: { failures: 2, for: '1m' } });
  for (const each of members) each.behaviour = 'reset';
  for (let n = 0; n < 8; n += 1) {
    assert.equal((await ask(sidecar, '/', { method: 'POST', body: 'x'.repeat(20_000) })).from, 'upstream_reset');
  }
  assert.deepEqual(Object.values(await states(sidecar)), ['up', 'up']);
  for (const each of members) each.behaviour = 'repeat';
  for (let n = 0; n < 8; n += 1) {
    assert.equal((await ask(sidecar, `/?next=${'x'.repeat(9000)}`)).from, 'upstream_invalid');
  }
  assert.deepEqual(Object.values(await states(sidecar)), ['up', 'up']);
  for (const each of members) each.behaviour = 'reset';
  for (let n = 0; n < 4; n += 1) await ask(sidecar, '/', { method: 'POST', body: 'x' });
  assert.deepEqual(Object.values(await states(sidecar)).toSorted(), ['ejected', 'up']);
});

test('an endpoint that takes no bodies is what is late, not the client, and is ejected for it', async () => {
  const clock = new ManualClock();
  await using members = await several(2);
  await using sidecar = await before(urls(members), { ejection: { failures: 2, for: '1m' } }, undefined, clock);
  for (const each of members) each.behaviour = 'deaf';
  const options = { method: 'POST', body: 'x'.repeat(9_000_000) };
  const asked = Array.from({ length: 4 }, () => ask(sidecar, '/', options));
  const taken = () => members.flatMap(({ open }) => [...open]).map(({ bytesRead }) => bytesRead);
  let last: readonly number[] = [];
  let still = 0;
  await eventually(() => {
    const now = taken();
    still = now.length === 4 && now.every((bytes, at) => bytes > 0 && bytes === last[at]) ? still + 1 : 0;
    last = now;
    return still >= 40;
  }, 30_000);
  clock.advance(31_000);
  const from = (await Promise.all(asked)).map((each) => each.from);
  assert.deepEqual(
    from,
    Array.from({ length: 4 }, () => 'upstream_timeout'),
  );
  assert.deepEqual(Object.values(await states(sidecar)).toSorted(), ['ejected', 'up']);
});
