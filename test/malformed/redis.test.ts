// A Redis that answers nonsense: garbage, wrong types, half replies, replies nobody asked for, absurd lengths. What is known
// to be revoked stays refused, the rest is served as on_store_down says, in bounded time and without a 500.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { keyspace } from '../../src/stores/redis/keyspace.ts';
import { admin } from '../attacks/world.ts';
import { eventually } from '../rows/eventually.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';

const LIMIT = 1_000_000;

const nonsense: Readonly<Record<string, string | Buffer>> = {
  'another protocol': 'HTTP/1.1 400 Bad Request\r\n\r\n',
  noise: Buffer.from('\x00\xff\x13\x37'.repeat(500), 'latin1'),
  'a simple string': '+OK\r\n',
  'a number': ':1\r\n',
  'a null': '$-1\r\n',
  'a null array': '*-1\r\n',
  'an empty array': '*0\r\n',
  'a text': '$5\r\nhello\r\n',
  'half a text': '$100\r\npartial',
  'half a line': ':12',
  'an absurd text': '$99999999999999\r\nx',
  'an absurd array': '*2000000000\r\n:1\r\n',
  'an array beyond arrays': '*4294967297\r\n:1\r\n',
  'a negative length': '*-7\r\n$-9\r\n',
  'arrays in arrays': '*1\r\n'.repeat(200_000),
  'an error': '-OOM command not allowed\r\n',
  'a huge error': `-ERR ${'x'.repeat(1_000_000)}\r\n`,
  'an error that is a script gone': '-NOSCRIPT No matching script\r\n',
  'a cluster redirect': '-MOVED 1 203.0.113.1:6379\r\n',
  'an array of wrong things': '*3\r\n$5\r\nabc:1\r\n*1\r\n:1\r\n$3\r\nNaN\r\n',
  'a head with too many counts': `*9\r\n$4\r\nab:9\r\n${':5\r\n'.repeat(8)}`,
  'a head with too few counts': '*2\r\n$4\r\nab:9\r\n:5\r\n',
  'counts that are no integers': '*3\r\n$4\r\nab:9\r\n,1.5\r\n$1\r\n5\r\n',
  'a scan without end': '*2\r\n$1\r\n7\r\n*0\r\n',
  'more replies than questions': '+a\r\n'.repeat(50),
  'another head in a good shape': '*3\r\n$9\r\nintruder:\r\n:5\r\n:5\r\n',
};

interface Relay extends AsyncDisposable {
  readonly url: string;
  /** What is sent for whatever Redis answers; undefined passes its answer on. */
  answer: string | Buffer | undefined;
  /** Cuts every connection after this many bytes of an answer. */
  cutAfter: number | undefined;
  /** Refuses whoever connects. */
  away: boolean;
}

/** Stands between the sidecar and a real Redis. */
async function relayTo(port: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  };
  const server = createServer((client) => {
    keep(client);
    if (relay.away) return void client.destroy();
    const redis = connect(port, '127.0.0.1');
    keep(redis);
    client.on('data', (chunk) => redis.write(chunk)).on('close', () => redis.destroy());
    redis.on('close', () => client.destroy());
    redis.on('data', (chunk: Buffer) => {
      if (relay.cutAfter !== undefined) client.end(chunk.subarray(0, relay.cutAfter));
      else client.write(relay.answer ?? chunk);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const relay: Relay = {
    url: `redis://127.0.0.1:${(server.address() as { port: number }).port}/0`,
    answer: undefined,
    cutAfter: undefined,
    away: false,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return relay;
}

const config = (relay: Relay) => ({
  limits: { per_client: { key: 'client', rate: `${LIMIT}/1h` } },
  defaults: { limits: ['per_client'] },
  redis: { url: { value: relay.url }, timeout: '100ms' },
});

async function ask(sidecar: TestSidecar, token: string) {
  const startedMs = performance.now();
  const response = await fetch(sidecar.proxyUrl, { headers: { authorization: `Bearer ${token}` } });
  await response.body?.cancel();
  return { status: response.status, tookMs: performance.now() - startedMs };
}

const storeStatus = async (sidecar: TestSidecar) => {
  const answer = (await (await fetch(`${sidecar.observeUrl}/readyz`)).json()) as {
    components: Record<string, { status: string }>;
  };
  return [answer.components.store?.status, answer.components.revocations?.status];
};
/** The store is judged by the last exchange, so there has to be one. */
const isWell = async (sidecar: TestSidecar) => {
  await ask(sidecar, tokenFor());
  const [store, revocations] = await storeStatus(sidecar);
  // Degraded is what it says of a server that gave no sensible answer to INFO a moment ago.
  return store !== 'down' && revocations === 'up';
};

test('malformed Redis replies: known revocations refuse, good tokens are served in bounded time, and it recovers', async () => {
  await using redis = await startRedis();
  await using relay = await relayTo(redis.port);
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, config(relay));
  const revoked = tokenFor({ sub: 'mallory' });
  assert.equal((await admin(sidecar, 'POST', '/v1/revocations', { token: revoked })).body.applied, 'all');
  // Operators' calls wait for the slow connection, so not every case makes them.
  const tryOut = async (what: string, withOperator: boolean) => {
    const operator = withOperator
      ? [
          admin(sidecar, 'POST', '/v1/revocations', { kind: 'subject', id: `gone-${what}` }),
          admin(sidecar, 'GET', '/v1/decisions'),
          admin(sidecar, 'GET', '/v1/limits/per_client/test%2Fweb'),
        ]
      : [];
    for (let round = 0; round < 3; round += 1) {
      const [good, bad] = await Promise.all([ask(sidecar, tokenFor()), ask(sidecar, revoked)]);
      assert.deepEqual([good.status, bad.status], [200, 401], what);
      assert.ok(Math.max(good.tookMs, bad.tookMs) < 5000, `${what}: ${good.tookMs} and ${bad.tookMs} ms`);
    }
    const [revoke = 201, ...reads] = (await Promise.all(operator)).map(({ status }) => status);
    assert.equal(revoke, 201, what);
    assert.ok(
      reads.every((status) => status === 200 || status === 503),
      `${what}: ${reads}`,
    );
  };
  for (const [at, [what, bytes]] of Object.entries(nonsense).entries()) {
    relay.answer = bytes;
    await tryOut(what, at % 4 === 0);
    relay.answer = undefined;
    await eventually(() => isWell(sidecar), 15_000);
  }
  for (const cutAfter of [0, 1, 7]) {
    relay.cutAfter = cutAfter;
    await tryOut(`cut after ${cutAfter}`, cutAfter === 1);
    relay.cutAfter = undefined;
    await eventually(() => isWell(sidecar), 15_000);
  }
  assert.deepEqual(
    sidecar.logged().filter(({ event, reason }) => event === 'uncaught_exception' || reason === 'internal'),
    [],
  );
  const pending = async () => {
    const { body } = await admin(sidecar, 'GET', '/v1/status');
    return (body.counts as Record<string, number>).revocations_pending;
  };
  await eventually(async () => (await pending()) === 0, 10_000);
  const { body } = await admin(sidecar, 'GET', '/v1/revocations?limit=1000');
  const gone = (body.items as { revoked_id?: string }[]).filter(({ revoked_id }) => revoked_id?.startsWith('gone-'));
  assert.equal(gone.length, Math.ceil(Object.keys(nonsense).length / 4) + 1, 'a revocation was lost');
});

test('a Redis that answers nonsense from the start: nothing is known to be unrevoked, so nothing passes', async () => {
  await using redis = await startRedis();
  await using upstream = await recordingUpstream();
  for (const [what, bytes] of Object.entries(nonsense).filter((_, at) => at % 13 === 0)) {
    await using relay = await relayTo(redis.port);
    relay.answer = bytes;
    await using sidecar = await startSidecar(upstream.url, config(relay));
    const { status } = await ask(sidecar, tokenFor());
    assert.equal(status, 503, what);
    assert.equal((await fetch(`${sidecar.observeUrl}/readyz`)).status, 503, what);
    assert.equal((await fetch(`${sidecar.observeUrl}/healthz`)).status, 200, what);
  }
  assert.equal(upstream.bytes(), '');
});

test('malformed entries among the kept decisions are passed over, and the others are found', async () => {
  await using redis = await startRedis();
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, { redis: { url: { value: redis.url }, timeout: '1s' } });
  const client = new Redis(redis.url);
  const { decisions } = keyspace('doorward');
  for (const entry of ['null', '7', '[]', '{}', '{"request_id":7}', '{"a":1,"a":2}', 'x', '']) {
    await client.xadd(decisions, '*', 'd', entry);
  }
  await client.xadd(decisions, '*', 'd', JSON.stringify({ request_id: 'theirs', reason: 'rate_limited' }));
  client.disconnect();
  assert.equal((await ask(sidecar, 'bad')).status, 401);
  const { status, body } = await admin(sidecar, 'GET', '/v1/decisions');
  const reasons = (body.items as { reason: string }[]).map(({ reason }) => reason);
  assert.deepEqual([status, reasons.sort()], [200, ['rate_limited', 'token_malformed']]);
});
