// Refusing early: a bound on what is under way, and a share of new requests while the event loop is late.
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { Overload } from '../../src/proxy/overload.ts';
import { handshake, open, open101, streamUpstream } from '../attacks/streams.ts';
import { ask, assertProblem, bearer, eventually, head } from '../attacks/world.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const SOON_MS = 10_000;

/** The rule on a clock that the test moves; its own timer finds the clock standing still and changes nothing. */
function rule(maxDelay = 100) {
  const clock = new ManualClock();
  const changes: unknown[] = [];
  const overload = new Overload({
    clock,
    settings: () => ({ max_requests: 1000, max_delay: maxDelay }),
    onChange: (change) => changes.push(change),
  });
  const turn = (ms: number) => {
    clock.advance(ms);
    overload.sample();
  };
  const refusedOf = (requests: number) =>
    Array.from({ length: requests }, () => overload.refuses()).filter(Boolean).length;
  return { overload, changes, turn, refusedOf, [Symbol.dispose]: () => overload[Symbol.dispose]() };
}

test('one late turn refuses nobody, nor do many with punctual ones between', () => {
  using at = rule();
  for (let n = 0; n < 20; n += 1) {
    at.turn(2000);
    at.turn(50);
  }
  assert.equal(at.refusedOf(1000), 0);
  assert.deepEqual(at.changes, []);
});

test('late for half a second, a share of new requests is refused, and more the longer it lasts, but never all', () => {
  using at = rule();
  at.turn(300);
  assert.equal(at.refusedOf(1000), 0);
  at.turn(600);
  assert.ok(Math.abs(at.refusedOf(1000) - 100) <= 1);
  at.turn(300);
  assert.ok(Math.abs(at.refusedOf(1000) - 200) <= 1);
  for (let n = 0; n < 50; n += 1) at.turn(300);
  assert.ok(Math.abs(at.refusedOf(1000) - 950) <= 1);
  assert.deepEqual(at.changes, [{ began: true }]);
});

test('punctual again, refusing fades and ends, and says how many it refused', () => {
  using at = rule();
  at.turn(300);
  at.turn(600);
  at.turn(300);
  const refused = at.refusedOf(100);
  assert.ok(refused >= 19 && refused <= 20);
  for (let n = 0; n < 200; n += 1) at.turn(50);
  assert.equal(at.overload.share, 0);
  assert.equal(at.refusedOf(1000), 0);
  assert.deepEqual(at.changes, [{ began: true }, { began: false, refused }]);
});

test('max_delay 0ms never refuses for lateness', () => {
  using at = rule(0);
  for (let n = 0; n < 50; n += 1) at.turn(5000);
  assert.equal(at.refusedOf(1000), 0);
});

test('so many requests are under way and no more; the next is 503 with Retry-After, and every end makes room', async () => {
  const held: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (request.url === '/held') held.push(response);
    else response.end('quick');
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await using at = await startSidecar(url, { proxy: { max_requests: 2 } });
  try {
    const quick = () => ask(at.port, head('GET /quick', [bearer(tokenFor())]), SOON_MS);
    using first = open(at.port, head('GET /held', [bearer(tokenFor())]));
    using _second = open(at.port, head('GET /held', [bearer(tokenFor())]));
    await eventually(() => held.length === 2, SOON_MS);
    const refused = await quick();
    assertProblem(refused, 503, 'the third');
    assert.equal(refused.headers['retry-after'], '1');
    assertProblem(
      await ask(at.port, head('GET /ws', [...handshake, bearer(tokenFor())]), SOON_MS),
      503,
      'WebSockets too',
    );
    const metrics = await (await fetch(`${at.observeUrl}/metrics`)).text();
    assert.match(metrics, /doorward_decisions_total\{outcome="deny",reason="overloaded",route=""\} 2\n/);
    first.socket.destroy();
    await eventually(async () => (await quick()).status === 200, SOON_MS);
    held[1]?.end('done');
    for (let n = 0; n < 5; n += 1) {
      assertProblem(await ask(at.port, head('GET /quick'), SOON_MS), 401, 'refusals make room as well');
      await eventually(async () => (await quick()).status === 200, SOON_MS);
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('open streams are not requests under way', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, { proxy: { max_requests: 1 } });
  using _socket = await open101(at.port, tokenFor());
  using events = open(at.port, head('GET /events', [bearer(tokenFor())]));
  await eventually(() => events.text().includes('event-stream'), SOON_MS);
  using _another = await open101(at.port, tokenFor());
  assert.equal((await ask(at.port, head('GET /plain', [bearer(tokenFor())]), SOON_MS)).status, 200);
});

test('a sidecar whose event loop is late refuses some, serves the others, and stops refusing when it is over', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, { proxy: { max_delay: '100ms' } });
  const plain = async () => (await ask(at.port, head('GET /plain', [bearer(tokenFor())]), SOON_MS)).status;
  // The sidecar runs in this process: what blocks us makes it late.
  const busy = setInterval(() => {
    const untilMs = performance.now() + 300;
    while (performance.now() < untilMs);
  }, 1);
  const seen = new Set<number>();
  try {
    await eventually(async () => seen.add(await plain()).size === 2, 3 * SOON_MS);
  } finally {
    clearInterval(busy);
  }
  assert.deepEqual([...seen].sort(), [200, 503]);
  await eventually(() => at.logged().some(({ event }) => event === 'overload_ended'), 3 * SOON_MS);
  const said = at.logged().filter(({ event }) => String(event).startsWith('overload_'));
  assert.deepEqual(
    said.slice(0, 2).map(({ level, event }) => [level, event]),
    [
      ['warn', 'overload_began'],
      ['warn', 'overload_ended'],
    ],
  );
  assert.ok(Number(said[1]?.refused) > 0);
  assert.equal(await plain(), 200);
});
