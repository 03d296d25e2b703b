// Host names are followed: every address is an endpoint, as long as the name has it. The lookup is ours, the servers are real.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemLookup } from '../../../src/proxy/outbound/endpoints/names.ts';
import { eventually } from '../../rows/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { ask, before, member, metric, states } from './members.ts';

/** Answers what `addresses` holds at the moment, and counts. */
function nameService(...addresses: (string | Error)[]) {
  const service = {
    addresses,
    asked: [] as string[],
    lookup: async (host: string) => {
      service.asked.push(host);
      const failure = service.addresses.find((each) => each instanceof Error);
      if (failure !== undefined) throw failure;
      return service.addresses as string[];
    },
  };
  return service;
}

const QUICK = { dns_refresh: '250ms', keep_alive: '1m' };

test('all addresses of a name are used, IPv4 and IPv6, and it is looked up once for many requests', async () => {
  const port = await freePort();
  await using one = await member('one', '127.0.0.1', port);
  await using two = await member('two', '127.0.0.2', port);
  await using six = await member('six', '::1', port);
  const service = nameService('127.0.0.1', '127.0.0.2', '::1');
  await using sidecar = await before(`http://app.internal:${port}`, { dns_refresh: '1h' }, service.lookup);
  await eventually(async () => Object.keys(await states(sidecar)).length === 3, 5000);
  assert.deepEqual(await states(sidecar), {
    [`127.0.0.1:${port}`]: 'up',
    [`127.0.0.2:${port}`]: 'up',
    [`[::1]:${port}`]: 'up',
  });
  const from = [];
  for (let n = 0; n < 6; n += 1) from.push((await ask(sidecar)).from);
  assert.deepEqual(from, ['one', 'two', 'six', 'one', 'two', 'six']);
  assert.deepEqual(service.asked, ['app.internal']);
  assert.deepEqual([one.seen.length, two.seen.length, six.seen.length], [2, 2, 2]);
});

test('an address that left gets no new request and its idle connections close; one that came is used', async () => {
  const port = await freePort();
  await using one = await member('one', '127.0.0.1', port);
  await using two = await member('two', '127.0.0.2', port);
  const service = nameService('127.0.0.1');
  await using sidecar = await before(`http://app.internal:${port}`, QUICK, service.lookup);
  await eventually(async () => (await states(sidecar))[`127.0.0.1:${port}`] === 'up', 5000);
  assert.equal((await ask(sidecar)).from, 'one');
  const before1 = one.seen.length;
  one.behaviour = 'hang';
  const underWay = ask(sidecar, '/slow');
  await eventually(() => one.seen.length === before1 + 1, 5000);
  service.addresses = ['127.0.0.2'];
  await eventually(async () => (await states(sidecar))[`127.0.0.2:${port}`] === 'up', 5000);
  await eventually(() => one.open.size === 1, 5000);
  assert.deepEqual(Object.keys(await states(sidecar)), [`127.0.0.2:${port}`]);
  for (let n = 0; n < 3; n += 1) assert.equal((await ask(sidecar)).from, 'two');
  assert.equal(two.seen.length, 3);
  // What was under way there is left alone until its own time is over.
  assert.equal((await underWay).from, 'upstream_timeout');
  await eventually(() => one.open.size === 0, 5000);
});

test('a lookup that fails or finds nothing changes nothing, and is told once', async () => {
  const port = await freePort();
  await using one = await member('one', '127.0.0.1', port);
  const service = nameService('127.0.0.1');
  await using sidecar = await before(`http://app.internal:${port}`, QUICK, service.lookup);
  await eventually(async () => (await states(sidecar))[`127.0.0.1:${port}`] === 'up', 5000);
  service.addresses = [new Error('SERVFAIL')];
  const failed = () => metric(sidecar, 'doorward_upstream_lookups_total{upstream="app",outcome="failed"}');
  await eventually(async () => (await failed()) >= 2, 10_000);
  assert.equal((await ask(sidecar)).from, 'one');
  service.addresses = [];
  const soFar = await failed();
  await eventually(async () => (await failed()) >= soFar + 2, 10_000);
  assert.equal((await ask(sidecar)).from, 'one');
  assert.equal(one.connections, 1);
  assert.equal(sidecar.logged().filter(({ event }) => event === 'lookup_failed').length, 1);
});

test('a connect that failed asks the name service again, long before dns_refresh', async () => {
  const port = await freePort();
  await using two = await member('two', '127.0.0.2', port);
  const service = nameService('127.0.0.1');
  await using sidecar = await before(`http://app.internal:${port}`, { dns_refresh: '1h' }, service.lookup);
  await eventually(async () => (await states(sidecar))[`127.0.0.1:${port}`] === 'up', 5000);
  service.addresses = ['127.0.0.2'];
  assert.equal((await ask(sidecar)).from, 'upstream_unreachable');
  await eventually(async () => (await ask(sidecar)).from === 'two', 10_000);
  assert.ok(two.seen.length > 0);
});

test('requests that come before the first answer of the name service are served', async () => {
  await using local = await member('local', '127.0.0.1');
  const { promise, resolve } = Promise.withResolvers<readonly string[]>();
  await using sidecar = await before(`http://localhost:${local.port}`, {}, () => promise);
  assert.equal((await ask(sidecar)).from, 'local');
  resolve(['127.0.0.1']);
  await eventually(async () => (await states(sidecar))[`127.0.0.1:${local.port}`] === 'up', 5000);
  assert.equal((await ask(sidecar)).from, 'local');
});

test('an IPv6 address in a url is an endpoint, and nobody is asked for it', async () => {
  await using six = await member('six', '::1');
  const service = nameService();
  await using sidecar = await before(six.url, {}, service.lookup);
  assert.equal((await ask(sidecar)).from, 'six');
  assert.deepEqual(service.asked, []);
});

test('the system resolver knows localhost, and refuses what does not exist', async () => {
  assert.ok((await systemLookup('localhost')).includes('127.0.0.1'));
  await assert.rejects(systemLookup('does-not-exist.invalid'));
});
