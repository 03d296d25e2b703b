// Attacks 86, 91 and 92 over two replicas on one real Redis: what one revokes, the other refuses from the next request on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';
import { admin, ask, assertProblem, assertRefused, bearer, eventually, head, type World, world } from './world.ts';

/** Two replicas of one application; `a` has the recording upstream, `b` the same one. */
async function replicas(redis: RedisServer, config: object = {}) {
  const shared = { redis: { url: { value: redis.url }, timeout: '2s' }, ...config };
  const a = await world(shared);
  const b = await startSidecar(a.upstream.url, { proxy: { bad_tokens: '100000/1m' }, ...shared });
  return {
    a,
    b: { ...a, sidecar: b, port: b.port } as World,
    async [Symbol.asyncDispose]() {
      await b[Symbol.asyncDispose]();
      await a[Symbol.asyncDispose]();
    },
  };
}

const get = (token: string) => head('GET /admin', [bearer(token)]);
const revoke = (sidecar: TestSidecar, entry: object) =>
  admin(sidecar, 'POST', '/v1/revocations', { reason: 'test', ...entry });

test('attack 86: revoked through one replica is refused by the other from the next request on, for every kind', async () => {
  await using redis = await startRedis();
  await using two = await replicas(redis);
  const { a, b } = two;
  const kinds = [
    { kind: 'token', id: 'the-jti' },
    { kind: 'session', id: 'the-session' },
    { kind: 'subject', id: 'alice' },
    { kind: 'client', id: 'web' },
    { kind: 'tenant', id: 'acme' },
    { kind: 'key', id: 'test-key' },
  ];
  for (const entry of kinds) {
    const token = tokenFor({ jti: 'the-jti', sid: 'the-session', tenant: 'acme' });
    for (const { port } of [a, b]) assert.equal((await ask(port, get(token))).status, 200, entry.kind);
    const { status, body } = await revoke(a.sidecar, entry);
    assert.deepEqual([status, body.applied], [201, 'all'], entry.kind);
    const answer = await assertRefused(b, get(token), 401, { what: entry.kind });
    assert.match(answer.headers['www-authenticate'] ?? '', /error="invalid_token"/);
    await assertRefused(a, get(token), 401, { what: entry.kind });
    assert.equal((await admin(b.sidecar, 'DELETE', `/v1/revocations/${body.id}`)).status, 204);
    for (const { port } of [a, b]) assert.equal((await ask(port, get(token))).status, 200, `${entry.kind} undone`);
  }
});

test('attack 86: fifty times, the first request after the answer is refused by the other replica', async () => {
  await using redis = await startRedis();
  await using two = await replicas(redis);
  for (let n = 0; n < 50; n += 1) {
    const jti = `race-${n}`;
    const token = tokenFor({ jti });
    const [one, other] = n % 2 === 0 ? [two.a, two.b] : [two.b, two.a];
    assert.equal((await ask(other.port, get(token))).status, 200);
    await revoke(one.sidecar, { kind: 'token', id: jti });
    assert.equal((await ask(other.port, get(token))).status, 401, `round ${n}`);
  }
});

test('attack 86: everything issued before a moment is refused, new logins pass', async () => {
  await using redis = await startRedis();
  await using two = await replicas(redis);
  const nowS = Math.floor(Date.now() / 1000);
  await revoke(two.a.sidecar, { kind: 'subject', id: 'alice', not_before: new Date((nowS - 10) * 1000).toISOString() });
  await assertRefused(two.b, get(tokenFor({ iat: nowS - 20 })), 401);
  assert.equal((await ask(two.b.port, get(tokenFor({ iat: nowS })))).status, 200);
});

test('attack 91: with Redis gone a replica refuses what it knows, accepts nothing new when told deny, and catches up', async () => {
  await using redis = await startRedis();
  await using two = await replicas(redis, { redis: { url: { value: redis.url }, timeout: '100ms' } });
  await using strict = await replicas(redis, {
    redis: { url: { value: redis.url }, timeout: '100ms' },
    revocation: { on_store_down: 'deny' },
  });
  const known = tokenFor({ jti: 'known' });
  await revoke(two.a.sidecar, { kind: 'token', id: 'known' });
  await assertRefused(two.b, get(known), 401);
  await redis.stop();
  await assertRefused(two.b, get(known), 401, { what: 'known stays known' });
  assert.equal((await ask(two.b.port, get(tokenFor()))).status, 200, 'known: the index answers');
  await assertRefused(strict.a, get(tokenFor()), 503, { what: 'deny' });
  const pending = await revoke(two.a.sidecar, { kind: 'token', id: 'while-away' });
  assert.equal(pending.body.applied, 'pending');
  const token = tokenFor({ jti: 'while-away' });
  await assertRefused(two.a, get(token), 401, { what: 'in force where it was received' });
  await redis.start();
  await eventually(async () => (await ask(two.b.port, get(token))).status === 401, 8000);
  await eventually(async () => (await ask(two.b.port, get(known))).status === 401, 8000);
  await eventually(async () => (await ask(strict.a.port, get(tokenFor()))).status === 200, 8000);
});

test('attack 92: a revocation far in the future is stored and neither overflows nor lapses', async () => {
  await using at = await world();
  const { status, body } = await revoke(at.sidecar, { kind: 'subject', id: 'bob', until: '2038-01-19T03:14:08Z' });
  assert.deepEqual([status, body.until], [201, '2038-01-19T03:14:08.000Z']);
  await assertRefused(at, get(tokenFor({ sub: 'bob' })), 401);
  const forever = await revoke(at.sidecar, { kind: 'subject', id: 'carol', until: 'forever' });
  assert.equal(forever.body.until, 'forever');
  await assertRefused(at, get(tokenFor({ sub: 'carol' })), 401);
  assert.equal((await ask(at.port, get(tokenFor()))).status, 200);
});

test('attack 95: a token without jti is revoked by itself, in whatever signature it comes', async () => {
  await using at = await world();
  const token = tokenFor({ jti: undefined });
  assert.equal((await ask(at.port, get(token))).status, 200);
  const { status } = await admin(at.sidecar, 'POST', '/v1/revocations', { token, reason: 'leaked' });
  assert.equal(status, 201);
  assertProblem(await ask(at.port, get(token)), 401, 'revoked by digest');
  assert.equal((await ask(at.port, get(tokenFor({ jti: undefined, sub: 'bob' })))).status, 200);
});
