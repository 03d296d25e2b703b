// Published key sets: signed statements, and a replica without PostgreSQL that rests on them over a real Redis.
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { SignJWT } from 'jose';
import type { SidecarInput } from '../../src/config/schema.ts';
import { publicationReader, publisher } from '../../src/keys/publications.ts';
import { type AdminSidecar, startAdminSidecar } from '../admin/admin-sidecar.ts';
import { eventually } from '../rows/eventually.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { openTestDatabase } from '../support/postgres-server.ts';
import { startRedis } from '../support/redis-server.ts';

function keyPair() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    secret: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    open: publicKey.export({ type: 'spki', format: 'pem' }) as string,
  };
}

const pair = keyPair();
const what = { kind: 'keys', name: 'https://a', seq: 7, document: { keys: [] } } as const;

test('a signed document is believed by whoever trusts the key, also the previous one', async () => {
  const clock = new ManualClock();
  const jws = await publisher(pair.secret, clock)(what);
  for (const trusted of [[pair.open], [keyPair().open, pair.open]]) {
    const read = await publicationReader(trusted, clock)(jws, what, undefined);
    assert.deepEqual(read, { ...what, publishedAtMs: clock.nowMs(), expiresAtMs: clock.nowMs() + 86_400_000 });
  }
});

test('unsigned, foreign, renamed, expired, future, older and broken documents are refused, each by its reason', async () => {
  const clock = new ManualClock();
  const sign = publisher(pair.secret, clock);
  const read = publicationReader([pair.open], clock);
  const jws = await sign(what);
  const [head, body, signature] = jws.split('.') as [string, string, string];
  const none = Buffer.from('{"alg":"none","typ":"doorward-publication"}').toString('base64url');
  for (const bad of ['', 'x', `${none}.${body}.`, `${head}.${body}.`, `${head}.${body}x.${signature}`]) {
    assert.equal(await read(bad, what, undefined), 'signature');
  }
  assert.equal(await read(await publisher(keyPair().secret, clock)(what), what, undefined), 'signature');
  assert.equal(await read(jws, { kind: 'keys', name: 'https://b' }, undefined), 'mismatch');
  assert.equal(await read(jws, { kind: 'client', name: 'https://a' }, undefined), 'mismatch');
  const held = await read(await sign({ ...what, seq: 8 }), what, undefined);
  assert.ok(typeof held === 'object');
  assert.equal(await read(jws, what, held), 'replayed');
  clock.advance(-3_600_000);
  assert.equal(await read(jws, what, undefined), 'expired');
  clock.advance(3_600_000 + 86_400_000);
  assert.equal(await read(jws, what, undefined), 'expired');
});

const kek = randomBytes(32).toString('base64');
const ISSUER = 'http://doorward.localhost';

async function fleet() {
  const stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis());
  const database = stack.use(await openTestDatabase());
  const shared = { name: 'shop', redis: { url: { value: redis.url }, timeout: '1s' } };
  const controlPlane = stack.use(
    await startAdminSidecar((config) => ({
      ...config,
      ...shared,
      issuers: { ...config.issuers, self: { issuer: ISSUER, audience: ['api'], sign: {} } },
      postgres: { url: { value: database.settings.url } },
      sealing: { kek: { key: { value: kek } } },
      control_plane: { signing_key: { value: pair.secret } },
    })),
  );
  const dataPlane = () =>
    startAdminSidecar(
      (config): SidecarInput => ({
        ...config,
        ...shared,
        issuers: { ...config.issuers, self: { issuer: ISSUER, audience: ['api'], keys: { published: true } } },
        control_plane: { public_key: { value: pair.open } },
      }),
    );
  return { redis, controlPlane, dataPlane, database, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function issue({ socket }: AdminSidecar): Promise<string> {
  const { json, text } = await socket('POST', '/v1/tokens', { body: { subject: 'alice', client: 'web' } });
  assert.ok(json.token, text);
  return json.token as unknown as string;
}

const kidOf = (token: string) =>
  JSON.parse(String(Buffer.from(token.split('.')[0] as string, 'base64url'))).kid as string;
const serves = async (sidecar: AdminSidecar, token: string) => (await sidecar.proxy('/x', token)).status === 200;

test('a replica without PostgreSQL takes our keys from Redis, follows a rotation, and a ban at once', async () => {
  await using f = await fleet();
  await using replica = await f.dataPlane();
  const first = await issue(f.controlPlane);
  await eventually(() => serves(replica, first), 10_000);
  const { json } = await f.controlPlane.socket('POST', `/v1/keys/${kidOf(first)}/ban`);
  assert.equal(json.applied, 'all');
  assert.equal((await replica.proxy('/x', first)).status, 401, 'from the next request on');
  const next = await issue(f.controlPlane);
  assert.notEqual(kidOf(next), kidOf(first));
  await eventually(() => serves(replica, next), 5000);
});

test('keys that somebody writes into Redis unsigned, or signed by another, are refused, said and counted; the good ones stay', async () => {
  await using f = await fleet();
  await using replica = await f.dataPlane();
  const good = await issue(f.controlPlane);
  await eventually(() => serves(replica, good), 10_000);
  const thief = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...thief.publicKey.export({ format: 'jwk' }), kid: 'thief', alg: 'ES256', use: 'sig' };
  const document = { issuer: ISSUER, keys: [jwk] };
  const seq = Date.now() + 1e9;
  const forged = await publisher(keyPair().secret, { nowMs: () => Date.now(), monotonicMs: () => 0 })({
    kind: 'keys',
    name: ISSUER,
    seq,
    document,
  });
  const redis = new Redis(f.redis.url);
  try {
    for (const text of [JSON.stringify(document), forged]) {
      await redis.hset('doorward:v1:published:keys', ISSUER, `${seq} ${text}`);
      await redis.publish('doorward:v1:published', JSON.stringify({ kind: 'keys', name: ISSUER }));
      const stolen = await new SignJWT({ sub: 'root', client_id: 'x' })
        .setProtectedHeader({ alg: 'ES256', kid: 'thief', typ: 'at+jwt' })
        .setIssuer(ISSUER)
        .setAudience('api')
        .setIssuedAt()
        .setJti('j')
        .setExpirationTime('5m')
        .sign(thief.privateKey);
      assert.equal((await replica.proxy('/x', stolen)).status, 401);
      assert.equal((await replica.proxy('/x', await issue(f.controlPlane))).status, 200);
    }
  } finally {
    redis.disconnect();
  }
  await eventually(() => replica.log().some(({ event }) => event === 'publication_refused'), 5000);
  const { text } = await replica.observe('GET', '/metrics');
  assert.match(text, /^doorward_publications_refused_total\{kind="keys",why="signature"\} [1-9]/m);
});

test('a replica that starts with nothing published is without keys for the issuer, answers 503 for its tokens, and then serves', async () => {
  await using redis = await startRedis();
  await using replica = await startAdminSidecar((config) => ({
    ...config,
    name: 'shop',
    redis: { url: { value: redis.url }, timeout: '1s' },
    issuers: { ...config.issuers, self: { issuer: ISSUER, audience: ['api'], keys: { published: true } } },
    control_plane: { public_key: { value: pair.open } },
  }));
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...own.publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' };
  const token = await new SignJWT({ sub: 'alice', client_id: 'web' })
    .setProtectedHeader({ alg: 'ES256', kid: 'k1', typ: 'at+jwt' })
    .setIssuer(ISSUER)
    .setAudience('api')
    .setIssuedAt()
    .setJti('j')
    .setExpirationTime('5m')
    .sign(own.privateKey);
  assert.equal((await replica.proxy('/x', token)).status, 503);
  const client = new Redis(redis.url);
  try {
    const clock = { nowMs: () => Date.now(), monotonicMs: () => 0 };
    const document = { issuer: ISSUER, keys: [jwk] };
    const jws = await publisher(pair.secret, clock)({ kind: 'keys', name: ISSUER, seq: 1, document });
    await client.hset('doorward:v1:published:keys', ISSUER, `1 ${jws}`);
    await client.publish('doorward:v1:published', JSON.stringify({ kind: 'keys', name: ISSUER }));
    await eventually(() => serves(replica, token), 5000);
  } finally {
    client.disconnect();
  }
});
