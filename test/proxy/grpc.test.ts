// gRPC through the sidecar, with a real client and a real server: the four kinds of call, trailers, deadlines, cancelling, and
// refusals that a gRPC client understands.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { admin, eventually } from '../attacks/world.ts';
import { testAuthority } from '../support/certificates.ts';
import { EchoClient, type GrpcService, grpcService } from '../support/grpc-world.ts';
import { startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';

const SOON = 20_000;

async function world(config: Readonly<Record<string, unknown>> = {}) {
  const service = await grpcService();
  const { proxy = {}, ...rest } = config as { proxy?: object };
  const sidecar = await startSidecar(`http://127.0.0.1:${service.port}`, {
    proxy: { http2: true, ...proxy },
    upstreams: { app: { url: `http://127.0.0.1:${service.port}`, protocol: 'http2' } },
    routes: { all: { match: { prefix: '/test.Echo' }, stream: true } },
    ...rest,
  });
  const client = new EchoClient(`127.0.0.1:${sidecar.port}`);
  return {
    service,
    sidecar,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await sidecar[Symbol.asyncDispose]();
      await service[Symbol.asyncDispose]();
    },
  };
}

const reasons = (sidecar: TestSidecar) => sidecar.logged().map(({ reason }) => reason);
const cancelled = (service: GrpcService) => eventually(() => service.seen[0]?.cancelled === true, SOON);

test('a unary call: metadata both ways, trailers, and the identity of the caller', async () => {
  await using w = await world();
  const metadata = EchoClient.with(tokenFor(), { 'x-auth-subject': 'root', 'x-mine': 'yes' });
  const answer = await w.client.unary('hello', metadata);
  assert.deepEqual(
    [answer.code, answer.text, answer.head['x-head'], answer.trailers['x-cost']],
    [status.OK, 'echo hello', 'h', '7'],
  );
  const seen = w.service.seen[0]?.metadata ?? {};
  assert.deepEqual(
    [seen['x-auth-subject'], seen['x-mine'], seen.authorization, seen['x-forwarded-for']],
    ['alice', 'yes', undefined, '127.0.0.1'],
  );
});

test('an error of the service arrives with its code, its words and its trailers', async () => {
  await using w = await world();
  const answer = await w.client.unary('fail', EchoClient.with(tokenFor()));
  assert.deepEqual(
    [answer.code, answer.details, answer.trailers['x-cost']],
    [status.FAILED_PRECONDITION, 'not today', '7'],
  );
  const unknown = await new Promise((resolve) => {
    w.client.makeUnaryRequest(
      '/test.Echo/Nothing',
      (bytes: Buffer) => bytes,
      (bytes) => bytes,
      Buffer.alloc(0),
      EchoClient.with(tokenFor()),
      (error) => resolve(error?.code),
    );
  });
  assert.equal(unknown, status.UNIMPLEMENTED);
});

test('streams down, up and both ways', async () => {
  await using w = await world();
  const got: string[] = [];
  const down = w.client.down(50, EchoClient.with(tokenFor()));
  down.on('data', (message: Buffer) => got.push(message.toString()));
  const [ended] = await once(down, 'status');
  assert.deepEqual([got.length, got[49], ended.code], [50, 'message 49', status.OK]);

  const total = await new Promise((resolve, reject) => {
    const up = w.client.up(EchoClient.with(tokenFor()), (error, answer) =>
      error ? reject(error) : resolve(answer?.toString()),
    );
    for (let at = 0; at < 20; at += 1) up.write(Buffer.alloc(50_000));
    up.end();
  });
  assert.equal(total, '1000000');

  const both = w.client.both(EchoClient.with(tokenFor()));
  for (const word of ['one', 'two', 'three']) {
    both.write(Buffer.from(word));
    // Each answer comes before the next question: nothing is held back on the way.
    const [answer] = await once(both, 'data');
    assert.equal(answer.toString(), `echo ${word}`);
  }
  both.end();
  both.resume();
  const [closed] = await once(both, 'status');
  assert.equal(closed.code, status.OK);
});

test('a deadline that passes, and a client that cancels, end the call at the service', async () => {
  await using w = await world();
  const late = await w.client.unary('hang', EchoClient.with(tokenFor()), { deadline: Date.now() + 500 });
  assert.equal(late.code, status.DEADLINE_EXCEEDED);
  await cancelled(w.service);
  await using v = await world();
  const both = v.client.both(EchoClient.with(tokenFor()));
  both.on('error', () => {});
  both.write(Buffer.from('one'));
  await once(both, 'data');
  both.cancel();
  await cancelled(v.service);
});

test('refusals are trailers-only answers with the code that a gRPC client expects', async () => {
  await using w = await world({
    limits: { few: { key: 'client', rate: '1/1h' } },
    routes: {
      all: { match: { prefix: '/test.Echo' }, limits: ['few'] },
      other: { match: { prefix: '/other' }, require: { scopes: ['root'] } },
    },
  });
  const call = (path: string) =>
    new Promise<{ code?: number; details?: string }>((resolve) => {
      const metadata = EchoClient.with(tokenFor());
      w.client.makeUnaryRequest(
        path,
        (bytes: Buffer) => bytes,
        (bytes) => bytes,
        Buffer.alloc(0),
        metadata,
        (error) => resolve(error ?? {}),
      );
    });
  const missing = await w.client.unary('x', EchoClient.with(undefined));
  const bad = await w.client.unary('x', EchoClient.with('nonsense'));
  assert.deepEqual(
    [missing.code, missing.details, bad.code, bad.details],
    [status.UNAUTHENTICATED, 'unauthorized', status.UNAUTHENTICATED, 'invalid_token'],
  );
  const [first, second] = [
    await w.client.unary('x', EchoClient.with(tokenFor())),
    await w.client.unary('x', EchoClient.with(tokenFor())),
  ];
  assert.deepEqual([first.code, second.code, second.details], [status.OK, status.RESOURCE_EXHAUSTED, 'rate_limited']);
  assert.ok(Number(second.trailers['retry-after'] ?? second.head['retry-after']) >= 1);
  const forbidden = await call('/other.Service/Call');
  const nowhere = await call('/nowhere.Service/Call');
  assert.deepEqual([forbidden.code, nowhere.code], [status.UNIMPLEMENTED, status.UNIMPLEMENTED]);
  assert.equal(w.service.seen.length, 1);
  for (const reason of ['credential_missing', 'token_malformed', 'rate_limited'])
    assert.ok(reasons(w.sidecar).includes(reason), reason);
});

test('a scope that is missing is PERMISSION_DENIED, an upstream that is away is UNAVAILABLE', async () => {
  await using w = await world({ routes: { all: { match: { prefix: '/test.Echo' }, require: { scopes: ['root'] } } } });
  assert.equal((await w.client.unary('x', EchoClient.with(tokenFor()))).code, status.PERMISSION_DENIED);
  await using v = await world();
  await v.service[Symbol.asyncDispose]();
  assert.equal((await v.client.unary('x', EchoClient.with(tokenFor()))).code, status.UNAVAILABLE);
});

test('a call whose token is revoked ends at once, on both sides', async () => {
  await using w = await world();
  const both = w.client.both(EchoClient.with(tokenFor({ jti: 'doomed' })));
  both.on('error', () => {});
  both.write(Buffer.from('one'));
  await once(both, 'data');
  const ended = new Promise<{ code: number }>((resolve) => both.once('status', resolve));
  await admin(w.sidecar, 'POST', '/v1/revocations', { kind: 'token', id: 'doomed' });
  assert.equal((await ended).code, status.INTERNAL);
  await cancelled(w.service);
});

test('TLS on both sides, with ALPN', async () => {
  using authority = testAuthority();
  const pair = authority.issue('localhost', 'DNS:localhost,IP:127.0.0.1', 'serverAuth');
  await using service = await grpcService(pair);
  const url = `https://127.0.0.1:${service.port}`;
  const tls = { certificates: [{ certificate: { value: pair.certificate }, key: { value: pair.key } }] };
  await using sidecar = await startSidecar(url, {
    proxy: { http2: true, tls },
    upstreams: { app: { url, protocol: 'http2', tls: { ca: { value: authority.certificate } } } },
  });
  using client = new EchoClient(`localhost:${sidecar.port}`, authority.certificate);
  const answer = await client.unary('hello', EchoClient.with(tokenFor()));
  assert.deepEqual([answer.code, answer.text], [status.OK, 'echo hello']);
  assert.equal(service.seen[0]?.metadata['x-forwarded-proto'], 'https');
});
