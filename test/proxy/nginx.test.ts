// Real nginx before the sidecar, with the shipped recipes of deploy/fronts/nginx: as a proxy, with auth_request, and
// before two replicas that share one Redis.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Agent, request } from 'undici';
import { recipe } from '../support/fronts.ts';
import { type Nginx, startNginx } from '../support/nginx.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';

const trusting = { proxy: { listen: '127.0.0.1:0', trusted_proxies: ['127.0.0.1/32'] } };
const verdicts = { proxy: { ...trusting.proxy, endpoints: { verdict: true } } };

const proxyRecipe = (listen: string, replicas: readonly TestSidecar[]) =>
  recipe('nginx/proxy.conf', {
    'listen 80': listen,
    'server 127.0.0.1:8080;': replicas.map(({ port }) => `server 127.0.0.1:${port};`).join(' '),
  });

const authRecipe = (listen: string, sidecarPort: number, upstreamPort: number) =>
  recipe('nginx/auth_request.conf', {
    'listen 80': listen,
    '127.0.0.1:8080': `127.0.0.1:${sidecarPort}`,
    '127.0.0.1:3000': `127.0.0.1:${upstreamPort}`,
  });

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

async function ask(nginx: Nginx, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const answer = await request(`${nginx.url}${path}`, { headers: { host: 'shop.test', ...headers } });
  return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() };
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** Revokes a token over the socket, where the same user needs no operator token. */
async function revoke(sidecar: TestSidecar, token: string): Promise<void> {
  const dispatcher = new Agent({ connect: { socketPath: sidecar.socketPath } });
  const answer = await request('http://localhost/v1/revocations', {
    method: 'POST',
    dispatcher,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token, reason: 'leaked' }),
  });
  assert.equal(answer.statusCode, 201, await answer.body.text());
  await dispatcher.close();
}

test('nginx forwards to the sidecar: the client address is the one nginx saw, whatever the client claims', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, trusting);
  await using nginx = await startNginx((listen) => proxyRecipe(listen, [sidecar]));
  const answer = await ask(nginx, '/a%20b?x=%2e%2e', {
    ...bearer(tokenFor()),
    'x-forwarded-for': '203.0.113.9',
    forwarded: 'for=203.0.113.9',
    'x-forwarded-proto': 'https',
    'x-auth-subject': 'root',
  });
  assert.equal(answer.status, 200);
  const [seen] = upstream.seen;
  assert.equal(seen?.url, '/a%20b?x=%2e%2e');
  assert.deepEqual(
    ['host', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'forwarded', 'x-auth-subject'].map(
      (name) => seen?.headers[name],
    ),
    ['shop.test', '127.0.0.1, 127.0.0.1', 'http', 'shop.test', undefined, 'alice'],
  );
  assert.equal(seen?.headers.authorization, undefined);
  const decision = sidecar.logged().find(({ event }) => event === 'decision');
  assert.equal(decision?.address, '127.0.0.1');
  assert.equal((await ask(nginx, '/')).status, 401);
});

test('attack 38: behind nginx and a proxy before it, the right-most untrusted address is limited', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    ...trusting,
    limits: { per_ip: { key: 'ip', rate: '2/1h' } },
    defaults: { limits: ['per_ip'] },
  });
  await using nginx = await startNginx((listen) =>
    proxyRecipe(listen, [sidecar]).replace(
      'X-Forwarded-For $remote_addr',
      'X-Forwarded-For $proxy_add_x_forwarded_for',
    ),
  );
  const from = async (chain: string) =>
    (await ask(nginx, '/', { ...bearer(tokenFor()), 'x-forwarded-for': chain })).status;
  assert.deepEqual([await from('203.0.113.1, 198.51.100.7'), await from('203.0.113.2, 198.51.100.7')], [200, 200]);
  assert.equal(await from('203.0.113.3, 198.51.100.7'), 429);
  assert.equal(await from('203.0.113.3, 198.51.100.8'), 200);
});

test('auth_request: an allowed request gets its identity from the verdict, and none that the client made up', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar('http://127.0.0.1:1', verdicts);
  await using nginx = await startNginx((listen) => authRecipe(listen, sidecar.port, upstream.port));
  const spoofed = {
    'x-auth-subject': 'root',
    'x-auth-roles': 'admin',
    'x-auth-tenant': 'acme',
    'x-auth-token-id': 'forged',
    'x-original-url': 'http://shop.test/public',
    'x-http-method-override': 'DELETE',
  };
  const answer = await ask(nginx, '/orders?id=1', { ...bearer(tokenFor({ jti: 'one' })), ...spoofed });
  assert.equal(answer.status, 200, answer.text);
  const [seen] = upstream.seen;
  assert.ok(seen !== undefined);
  const { url, headers } = seen;
  assert.deepEqual(
    [url, headers['x-auth-subject'], headers['x-auth-client'], headers['x-auth-scopes'], headers['x-auth-token-id']],
    ['/orders?id=1', 'alice', 'web', 'read write', 'one'],
  );
  for (const name of ['x-auth-roles', 'x-auth-tenant', 'authorization', 'x-original-url', 'x-http-method-override']) {
    assert.equal(headers[name], undefined, name);
  }
  assert.match(String(headers['x-request-id']), /^[0-9a-f]{32}$/);
});

test('auth_request: refusals are 401 and 403, and the error_page recipe restores every other status', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar('http://127.0.0.1:1', {
    ...verdicts,
    limits: { per_client: { key: 'client', rate: '2/1h' } },
    routes: {
      all: { match: { prefix: '/' } },
      staff: { match: { prefix: '/staff' }, require: { scopes: ['staff'] } },
      read: { match: { prefix: '/read', methods: ['GET'] }, limits: ['per_client'] },
      post: { match: { prefix: '/post', methods: ['POST'] } },
    },
  });
  await using nginx = await startNginx((listen) => authRecipe(listen, sidecar.port, upstream.port));
  const missing = await ask(nginx, '/orders');
  assert.equal(missing.status, 401);
  assert.equal(missing.headers['www-authenticate'], 'Bearer realm="test_app"');
  assert.equal((await ask(nginx, '/orders', bearer('no.such.token'))).status, 401);
  const token = tokenFor();
  assert.equal((await ask(nginx, '/staff/a', bearer(token))).status, 403);
  assert.equal((await ask(nginx, '/post/a', bearer(token))).status, 405);
  assert.equal((await ask(nginx, '/a%2fb', bearer(token))).status, 400);
  assert.equal(upstream.seen.length, 0);

  assert.equal((await ask(nginx, '/read/1', bearer(token))).status, 200);
  assert.equal((await ask(nginx, '/read/2', bearer(token))).status, 200);
  const limited = await ask(nginx, '/read/3', bearer(token));
  assert.equal(limited.status, 429);
  assert.ok(Number(limited.headers['retry-after']) >= 1, String(limited.headers['retry-after']));
  assert.match(String(limited.headers.ratelimit), /^"per_client";r=0;t=\d+$/);
  assert.equal(JSON.parse(limited.text).code, 'rate_limited');
  assert.equal(upstream.seen.length, 2);
});

test('auth_request: a revoked token is refused from the next request on', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar('http://127.0.0.1:1', verdicts);
  await using nginx = await startNginx((listen) => authRecipe(listen, sidecar.port, upstream.port));
  const token = tokenFor();
  assert.equal((await ask(nginx, '/', bearer(token))).status, 200);
  await revoke(sidecar, token);
  assert.equal((await ask(nginx, '/', bearer(token))).status, 401);
  assert.equal(upstream.seen.length, 1);
});

test('attack 43: nobody but a trusted peer can describe another request, and two descriptions must agree', async () => {
  await using upstream = await recordingUpstream();
  const routes = { all: { match: { prefix: '/' } }, public: { match: { prefix: '/public' }, auth: 'none' } };
  const verdict = async (sidecar: TestSidecar, headers: Record<string, string>) => {
    const answer = await request(`${sidecar.proxyUrl}/.doorward/verdict/nginx`, { headers });
    await answer.body.dump();
    return [answer.statusCode, answer.headers['x-doorward-status']];
  };
  const method = { 'x-original-method': 'GET' };
  const asked = { ...method, 'x-original-uri': '/public' };
  {
    await using stranger = await startSidecar(upstream.url, { proxy: { endpoints: { verdict: true } }, routes });
    assert.deepEqual(await verdict(stranger, asked), [403, '404']);
    assert.deepEqual(await verdict(stranger, { ...asked, ...bearer(tokenFor()) }), [403, '404']);
  }
  await using sidecar = await startSidecar(upstream.url, { ...verdicts, routes });
  assert.deepEqual(await verdict(sidecar, asked), [200, '200']);
  assert.deepEqual(await verdict(sidecar, { ...method, 'x-original-url': 'http://shop.test/public' }), [200, '200']);
  const disagreeing = { ...asked, 'x-original-url': 'http://shop.test/admin' };
  assert.deepEqual(await verdict(sidecar, disagreeing), [403, '400']);
  assert.deepEqual(await verdict(sidecar, { 'x-original-uri': '/public' }), [403, '400']);
  assert.equal(upstream.bytes(), '');
});

test('two replicas on one Redis behind nginx: revoked through one is refused by both, and a limit is exact over both', async () => {
  await using redis = await startRedis();
  await using upstream = await recordingUpstream((_request, response) => void response.end('ok'));
  const shared = {
    ...trusting,
    redis: { url: { value: redis.url }, timeout: '2s' },
    limits: { burst: { key: 'subject', rate: '300/1h' } },
    routes: { all: { match: { prefix: '/' } }, burst: { match: { prefix: '/burst' }, limits: ['burst'] } },
  };
  await using one = await startSidecar(upstream.url, shared);
  await using two = await startSidecar(upstream.url, shared);
  await using nginx = await startNginx((listen) => proxyRecipe(listen, [one, two]));

  for (const receiving of [one, two]) {
    const token = tokenFor();
    const before = [await ask(nginx, '/', bearer(token)), await ask(nginx, '/', bearer(token))];
    assert.deepEqual(
      before.map(({ status }) => status),
      [200, 200],
    );
    await revoke(receiving, token);
    const after = await Promise.all(Array.from({ length: 10 }, () => ask(nginx, '/', bearer(token))));
    assert.deepEqual([...new Set(after.map(({ status }) => status))], [401]);
  }

  upstream.clear();
  const token = tokenFor({ sub: 'burst' });
  const answers = await Promise.all(Array.from({ length: 1000 }, () => ask(nginx, '/burst', bearer(token))));
  const counts = Map.groupBy(answers, ({ status }) => status);
  assert.deepEqual([...counts].map(([status, { length }]) => [status, length]).sort(), [
    [200, 300],
    [429, 700],
  ]);
  assert.equal(upstream.seen.length, 300);
  for (const replica of [one, two]) {
    const decided = replica.logged().filter(({ path }) => path === '/burst').length;
    assert.ok(decided > 250, `one replica decided only ${decided} of 1000`);
  }
});
