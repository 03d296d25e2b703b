// What is open on one replica ends by what another one is told: a token revoked, a client disabled. Two sidecars on one real
// Redis, also with the subscriptions that carry the news cut just before. One second is promised on a machine that has time;
// here whether and how they end decides, and the time is a diagnostic.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Redis } from 'ioredis';
import { closeFrameAt, open, open101, streamUpstream } from '../attacks/streams.ts';
import { admin, ask, assertProblem, bearer, eventually, head, operatorKnown } from '../attacks/world.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';

const SOON_MS = 10_000;
const routes = { poll: { match: { path: '/poll' }, stream: true }, all: { match: { prefix: '/' } } };

type Upstream = Awaited<ReturnType<typeof streamUpstream>>;

/** Two replicas on one Redis and one PostgreSQL. */
async function pair() {
  await using closing = new AsyncDisposableStack();
  const redis = closing.use(await startRedis());
  const database = closing.use(await openTestDatabase());
  const upstream = closing.use(await streamUpstream());
  const stores = {
    redis: { url: { value: redis.url }, timeout: '5s' },
    ...postgresConfig(database, { timeout: '5s' }),
  };
  const start = () => startSidecar(upstream.url, { ...stores, routes });
  const a = closing.use(await start());
  await operatorKnown(a);
  const b = closing.use(await start());
  const client = new Redis(redis.url);
  closing.defer(() => client.disconnect());
  const end = closing.move();
  return { a, b, upstream, client, [Symbol.asyncDispose]: () => end.disposeAsync() };
}

/** One of each kind that stays open, by the token; `poll` resolves with its answer. */
async function openAll(at: TestSidecar, upstream: Upstream, token: string) {
  const socket = await open101(at.port, token);
  const events = open(at.port, head('GET /events', [bearer(token)]));
  await eventually(() => events.text().includes('text/event-stream'), SOON_MS);
  const place = upstream.polls.length;
  const poll = ask(at.port, head('GET /poll', [bearer(token)]), 3 * SOON_MS);
  await eventually(() => upstream.polls.length > place, SOON_MS);
  const close = () => {
    for (const each of [socket, events]) each.socket.destroy();
  };
  return { socket, events, poll, answer: upstream.polls[place]?.answer, [Symbol.dispose]: close };
}

/** Opens everything on B for two callers, lets A be told of one, and holds that only what is his ends, and how. */
async function endsElsewhere(t: TestContext, isDeaf: boolean, tell: (a: TestSidecar) => Promise<unknown>) {
  await using it = await pair();
  const { b, upstream, client } = it;
  using mine = await openAll(b, upstream, tokenFor({ jti: 'mine', client_id: 'web' }));
  using other = await openAll(b, upstream, tokenFor({ jti: 'other', client_id: 'cli' }));
  if (isDeaf) assert.ok(Number(await client.client('KILL', 'TYPE', 'pubsub')) >= 2, 'both replicas were listening');
  const startedMs = performance.now();
  await tell(it.a);
  await eventually(() => mine.socket.closed && mine.events.closed, SOON_MS);
  assertProblem(await mine.poll, 401, 'a long poll is answered');
  t.diagnostic(`ended ${Math.round(performance.now() - startedMs)} ms after the call began`);
  assert.equal(closeFrameAt(mine.socket.after()), 1008);
  assert.equal(mine.socket.after().subarray(4).toString(), 'token no longer valid');
  assert.ok(!mine.events.text().includes('\r\n0\r\n\r\n'), 'an event stream is cut, not ended as if it were complete');
  // Two sweeps and some: what is open then was looked at and kept.
  await new Promise((resolve) => setTimeout(resolve, 800));
  assert.deepEqual([other.socket.closed, other.events.closed], [false, false]);
  other.answer?.('news');
  assert.deepEqual(await other.poll.then(({ status, body }) => [status, body]), [200, 'news']);
}

const revoke = async (a: TestSidecar) => {
  const { status, body } = await admin(a, 'POST', '/v1/revocations', { kind: 'token', id: 'mine', reason: 'test' });
  assert.deepEqual([status, body.applied], [201, 'all']);
};

const disable = async (a: TestSidecar) => {
  const { status } = await admin(a, 'PUT', '/v1/clients/web?issuer=test', { disabled: true });
  assert.equal(status, 200);
};

for (const [what, tell] of [
  ['a token revoked', revoke],
  ['a client disabled', disable],
] as const) {
  for (const isDeaf of [false, true]) {
    const how = isDeaf ? ', also when nobody hears the notice' : '';
    test(`attack 52: ${what} on one replica ends what it has open on another, with codes${how}`, (t) =>
      endsElsewhere(t, isDeaf, tell));
  }
}
