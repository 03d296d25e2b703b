// Several endpoints of one upstream: who gets a request, and what becomes of one whose endpoint is not there.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { type Clock, systemClock } from '../../../src/core/clock.ts';
import { eventually } from '../../rows/eventually.ts';
import { sendRaw } from '../../support/raw-client.ts';
import { echoOn, handshake } from './echo.ts';
import { ask, before, member, metric, several, states, upstream, urls } from './members.ts';

test('requests one after another take turns', async () => {
  await using members = await several(3);
  await using sidecar = await before(urls(members));
  const from = [];
  for (let n = 0; n < 6; n += 1) from.push((await ask(sidecar)).from);
  assert.deepEqual(from, ['m1', 'm2', 'm3', 'm1', 'm2', 'm3']);
});

test('an endpoint that is slow gets what the others have no room for, not its turn', async () => {
  await using members = await several(2);
  const [slow, quick] = members;
  await using sidecar = await before(urls(members));
  slow.behaviour = 'hang';
  const hanging = [ask(sidecar), ask(sidecar)];
  await eventually(() => slow.seen.length === 1 && quick.seen.length === 1, 5000);
  slow.behaviour = 'hang';
  for (let n = 0; n < 5; n += 1) assert.equal((await ask(sidecar)).from, 'm2');
  assert.equal(slow.seen.length, 1);
  await Promise.all(hanging);
});

test('a request whose endpoint refuses the connection goes to another one whole and once, whatever its method', async () => {
  await using members = await several(2);
  const [dead, alive] = members;
  await using sidecar = await before(urls(members));
  dead.kill();
  const big = 'x'.repeat(300_000);
  for (const method of ['POST', 'GET', 'DELETE', 'PUT']) {
    const body = method === 'POST' || method === 'PUT' ? big : undefined;
    const answer = await ask(sidecar, `/${method}`, { method, ...(body === undefined ? {} : { body }) });
    assert.deepEqual([answer.status, answer.from], [200, 'm2']);
  }
  assert.deepEqual(alive.seen, [`POST /POST ${big}`, 'GET /GET', 'DELETE /DELETE', `PUT /PUT ${big}`]);
  assert.ok((await metric(sidecar, 'doorward_upstream_retries_total{upstream="app",outcome="sent"}')) >= 1);
});

test('an endpoint that cannot be connected to is left out, probed in the background, and comes back by itself', async () => {
  await using members = await several(2);
  const [dead, alive] = members;
  await using sidecar = await before(urls(members), { breaker: { failures: 2, probe: '50ms' } });
  const deadAddress = `127.0.0.1:${dead.port}`;
  dead.kill();
  assert.equal((await ask(sidecar)).status, 200);
  // Two failures are needed; probes bring the second one without any request.
  await eventually(async () => (await states(sidecar))[deadAddress] === 'unreachable', 10_000);
  assert.equal((await states(sidecar))[`127.0.0.1:${alive.port}`], 'up');
  assert.equal(await metric(sidecar, 'doorward_upstream_endpoints{upstream="app",state="unreachable"}'), 1);
  await dead.start();
  await eventually(async () => (await states(sidecar))[deadAddress] === 'up', 10_000);
  const from = [await ask(sidecar), await ask(sidecar)].map((answer) => answer.from);
  assert.deepEqual(from.toSorted(), ['m1', 'm2']);
});

test('an endpoint that comes back gets few requests at first, and its full share when slow_start is over', async () => {
  await using members = await several(2);
  const [back] = members;
  let aheadMs = 0;
  const clock: Clock = { nowMs: systemClock.nowMs, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
  const settings = { slow_start: '1h', breaker: { failures: 1, probe: '50ms' } };
  await using sidecar = await before(urls(members), settings, undefined, clock);
  const state = async () => (await states(sidecar))[`127.0.0.1:${back.port}`];
  const ofHundred = async () => {
    let count = 0;
    for (let n = 0; n < 100; n += 1) if ((await ask(sidecar)).from === 'm1') count += 1;
    return count;
  };
  assert.equal(await ofHundred(), 50, 'at the start nobody is behind');
  back.kill();
  await eventually(async () => (await ask(sidecar)) && (await state()) === 'unreachable', 10_000);
  await back.start();
  await eventually(async () => (await state()) === 'up', 10_000);
  const few = await ofHundred();
  assert.ok(few >= 5 && few <= 20, `${few} of 100 with a share of a tenth`);
  aheadMs = 3_600_000;
  assert.equal(await ofHundred(), 50);
});

test('without retries a refused connection is 502', async () => {
  await using members = await several(2);
  members[0]?.kill();
  await using sidecar = await before(urls(members), { retries: 0 });
  const first = await ask(sidecar);
  assert.deepEqual([first.status, first.from], [502, 'upstream_unreachable']);
  assert.equal((await ask(sidecar)).from, 'm2');
});

test('attack 55: a request that was sent is never sent to another endpoint, also when its connection is reset', async () => {
  await using members = await several(2);
  await using sidecar = await before(urls(members), { retries: 5 });
  for (const each of members) each.behaviour = 'reset';
  for (const method of ['POST', 'GET', 'PUT']) {
    const answer = await ask(sidecar, `/${method}`, { method, ...(method === 'GET' ? {} : { body: 'once' }) });
    assert.deepEqual([answer.status, answer.from], [502, 'upstream_reset']);
  }
  const seen = members.flatMap((each) => each.seen);
  assert.deepEqual(seen.toSorted(), ['GET /GET', 'POST /POST once', 'PUT /PUT once']);
});

test('with nobody to connect to, requests are refused at once, and served again as soon as somebody is', async () => {
  await using only = await member('m1');
  await using sidecar = await before(only.url, { breaker: { failures: 3, probe: '50ms' } });
  assert.equal((await ask(sidecar)).status, 200);
  only.kill();
  const answers = [];
  for (let n = 0; n < 8; n += 1) answers.push(await ask(sidecar));
  assert.ok(answers.slice(0, 2).every(({ from }) => from === 'upstream_unreachable' || from === 'upstream_reset'));
  const last = answers.at(-1);
  assert.deepEqual([last?.status, last?.from], [503, 'upstream_unavailable']);
  assert.equal(last?.headers['retry-after'], '1');
  assert.equal((await upstream(sidecar)).takes_requests, false);
  await only.start();
  await eventually(async () => (await ask(sidecar)).status === 200, 10_000);
});

test('/readyz stays ready without an upstream, and names it', async () => {
  await using only = await member('m1');
  await using sidecar = await before(only.url, { breaker: { failures: 1, probe: '50ms' } });
  const readyz = async () => {
    const response = await fetch(`${sidecar.observeUrl}/readyz`);
    const { status, components } = (await response.json()) as { status: string; components: Record<string, unknown> };
    return [response.status, status, components.upstreams];
  };
  assert.deepEqual((await readyz())[2], { status: 'up', detail: { down: [] } });
  only.kill();
  await ask(sidecar);
  assert.deepEqual(await readyz(), [200, 'degraded', { status: 'degraded', detail: { down: ['app'] } }]);
  await only.start();
  await eventually(async () => JSON.stringify((await readyz())[2]) === '{"status":"up","detail":{"down":[]}}', 10_000);
});

/** A listener that the kernel lets nobody connect to any more: stopped, with its queue full. */
async function blackHole(): Promise<{ port: number; child: ChildProcess; fillers: Socket[] } & AsyncDisposable> {
  const script = `const s = require('node:net').createServer();
    s.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => { console.log(s.address().port); });`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  const port = Number(line.toString());
  child.kill('SIGSTOP');
  const fillers: Socket[] = [];
  // As long as connections are accepted the queue is not full.
  for (let full = false; !full; ) {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => {});
    fillers.push(socket);
    full = await Promise.race([
      once(socket, 'connect').then(() => false),
      new Promise<boolean>((resolve) => setTimeout(resolve, 500, true)),
    ]);
  }
  return {
    port,
    child,
    fillers,
    async [Symbol.asyncDispose]() {
      for (const socket of fillers) socket.destroy();
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

test('an endpoint that never accepts costs a request connect_timeout once, and then nobody waits for it', async () => {
  await using hole = await blackHole();
  await using alive = await member('alive');
  await using sidecar = await before([`http://127.0.0.1:${hole.port}`, alive.url], {
    connect_timeout: '300ms',
    breaker: { failures: 1, probe: '10s' },
  });
  assert.equal((await ask(sidecar, '/first', { method: 'POST', body: 'hi' })).from, 'alive');
  for (let n = 0; n < 5; n += 1) assert.equal((await ask(sidecar)).from, 'alive');
  assert.equal(alive.seen[0], 'POST /first hi');
  assert.equal((await states(sidecar))[`127.0.0.1:${hole.port}`], 'unreachable');
  assert.equal(await metric(sidecar, 'doorward_upstream_retries_total{upstream="app",outcome="sent"}'), 1);
});

test('requests that wait for a slot of an upstream that goes away are told at once', async () => {
  await using hole = await blackHole();
  await using sidecar = await before(`http://127.0.0.1:${hole.port}`, {
    connect_timeout: '300ms',
    connections: 1,
    queue: 100,
    queue_timeout: '20s',
    breaker: { failures: 1, probe: '10s' },
  });
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask(sidecar)));
  const codes = answers.map(({ from }) => from).toSorted();
  assert.deepEqual([...new Set(codes)], ['upstream_unavailable', 'upstream_unreachable']);
  assert.equal(codes.filter((code) => code === 'upstream_unreachable').length, 1);
});

test('a connection takes no new request after max_age', async () => {
  await using only = await member('m1');
  await using sidecar = await before(only.url, { max_age: '600ms', keep_alive: '1m' });
  await ask(sidecar);
  await ask(sidecar);
  assert.equal(only.connections, 1);
  await eventually(() => only.open.size === 0, 10_000);
  await ask(sidecar);
  assert.equal(only.connections, 2);
});

test('a reload that changes one upstream leaves connections and endpoints of the other alone', async () => {
  await using first = await member('first');
  await using second = await member('second');
  const config = (streams: number) => ({
    upstreams: { one: { url: first.url, keep_alive: '1m' }, two: { url: second.url, keep_alive: '1m', streams } },
    routes: {
      one: { match: { prefix: '/one' }, auth: 'none', upstream: 'one' },
      two: { match: { prefix: '/two' }, auth: 'none', upstream: 'two' },
    },
  });
  const { startSidecar, configFor } = await import('../../support/sidecar.ts');
  await using sidecar = await startSidecar('', config(1));
  await ask(sidecar, '/one');
  await ask(sidecar, '/two');
  sidecar.writeConfig(configFor('', config(2)));
  assert.equal((await sidecar.reload()).ok, true);
  await ask(sidecar, '/one');
  await ask(sidecar, '/two');
  assert.deepEqual([first.connections, second.connections], [1, 2]);
});

test('a WebSocket whose endpoint refuses goes to another one, and with none left it is 503 at once', async () => {
  await using dead = await member('dead');
  dead.kill();
  const echo = await echoOn({ host: '127.0.0.1', port: 0 });
  await using sidecar = await before([dead.url, `http://127.0.0.1:${echo.port}`], {
    breaker: { failures: 1, probe: '1h' },
  });
  const { text } = await sendRaw(sidecar.port, [handshake('/chat'), 'ping'], { responses: 9, timeoutMs: 1500 });
  assert.ok(/^HTTP\/1\.1 101 /.test(text) && text.endsWith('ping'), text);
  await eventually(async () => ((await upstream(sidecar)).streams as number) === 0, 5000);
  await echo[Symbol.asyncDispose]();
  const answers = [];
  for (let n = 0; n < 2; n += 1) answers.push((await sendRaw(sidecar.port, handshake('/chat'))).responses[0]);
  assert.deepEqual(
    answers.map((answer) => [answer?.status, JSON.parse(String(answer?.body)).code]),
    [
      [502, 'upstream_unreachable'],
      [503, 'upstream_unavailable'],
    ],
  );
  const { endpoints } = (await upstream(sidecar)) as { endpoints: { requests: number }[] };
  assert.deepEqual(
    endpoints.map(({ requests }) => requests),
    [0, 0],
  );
});

test('an upstream that answers on its connections and takes no new ones is not given up', async () => {
  const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', () => setTimeout(() => socket.write(answer), 30));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await using sidecar = await before(url, { keep_alive: '1m', breaker: { failures: 3, probe: '1h' } });
  assert.equal((await ask(sidecar)).from, 'ok');
  server.close();
  for (let n = 0; n < 6; n += 1) {
    const pair = await Promise.all([ask(sidecar), ask(sidecar)]);
    assert.deepEqual(pair.map(({ from }) => from).toSorted(), ['ok', 'upstream_unreachable']);
  }
  assert.equal(sockets.length, 1);
  for (const socket of sockets) socket.destroy();
});
