// The verdict endpoints byte by byte: what each flavour believes, from whom, and what it answers. Real fronts are in test/fronts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Agent, request } from 'undici';
import { ask, attackRoutes, bearer, head, type World, world } from '../attacks/world.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const verdicts = { trusted_proxies: ['127.0.0.1/32'], endpoints: { verdict: true } };

/** Asks for a verdict on `GET path` of the host `app` in the way of each flavour. */
const asking = {
  nginx: (path: string, fields: readonly string[] = []) =>
    head('GET /.doorward/verdict/nginx', [`X-Original-URI: ${path}`, 'X-Original-Method: GET', ...fields]),
  forward: (path: string, fields: readonly string[] = []) =>
    head('GET /.doorward/verdict/forward', [
      'Host: doorward:8080',
      `X-Forwarded-Uri: ${path}`,
      'X-Forwarded-Method: GET',
      'X-Forwarded-Host: app',
      ...fields,
    ]),
  envoy: (path: string, fields: readonly string[] = []) => head(`GET /.doorward/verdict/envoy${path}`, fields),
} as const;

const flavours = Object.keys(asking) as (keyof typeof asking)[];

async function verdictOf(at: World, flavour: keyof typeof asking, path: string, fields: readonly string[] = []) {
  const { status, headers } = await ask(at.port, asking[flavour](path, fields));
  return flavour === 'nginx' ? Number(headers['x-doorward-status']) : status;
}

for (const flavour of flavours) {
  test(`attack 43: the ${flavour} verdict believes a trusted peer only, and judges strangers by what they really sent`, async () => {
    await using stranger = await world({ proxy: { endpoints: { verdict: true } } });
    assert.equal(await verdictOf(stranger, flavour, '/public'), 404);
    assert.equal(await verdictOf(stranger, flavour, '/public', [bearer(tokenFor())]), 404);
    await using at = await world({ proxy: verdicts });
    assert.equal(await verdictOf(at, flavour, '/public'), 200);
    assert.equal(await verdictOf(at, flavour, '/admin?x=/public'), 401);
    assert.equal(await verdictOf(at, flavour, '/admin', [bearer(tokenFor())]), 200);
    assert.equal(await verdictOf(at, flavour, '/admin', [bearer('no.such.token')]), 401);
    assert.equal(await verdictOf(at, flavour, '/public/../admin'), 400);
    assert.equal(await verdictOf(at, flavour, '/public/..%2fadmin'), 400);
    assert.equal(await verdictOf(at, flavour, '/.doorward/verdict/envoy/public'), 404, 'a verdict on a verdict');
    assert.equal(stranger.upstream.bytes() + at.upstream.bytes(), '', 'a verdict never reaches the application');
  });

  test(`the ${flavour} verdict is off unless the operator asks for it`, async () => {
    await using at = await world({ proxy: { trusted_proxies: ['127.0.0.1/32'] } });
    assert.equal((await ask(at.port, asking[flavour]('/public'))).status, 404);
  });

  test(`attack 19: an allow of the ${flavour} verdict names every identity header, empty when absent`, async () => {
    await using at = await world({
      proxy: verdicts,
      identity_assertion: { enabled: true, issuer: 'https://doorward.test/' },
    });
    const spoofed = ['X-Auth-Subject: root', 'X_Auth_Roles: admin', 'X-Auth-Assertion: forged'];
    const anonymous = await ask(at.port, asking[flavour]('/public', spoofed));
    assert.equal(anonymous.status, 200);
    const names = ['subject', 'issuer', 'client', 'scopes', 'roles', 'tenant', 'token-id', 'assertion'];
    const valuesOf = ({ headers }: typeof anonymous) => names.map((name) => headers[`x-auth-${name}`]);
    assert.deepEqual(valuesOf(anonymous), Array(8).fill(''));
    const known = await ask(at.port, asking[flavour]('/admin', [...spoofed, bearer(tokenFor({ jti: 'one' }))]));
    const [subject, , client, scopes, roles, tenant, tokenId, assertion] = valuesOf(known);
    assert.deepEqual([subject, client, scopes, roles, tenant, tokenId], ['alice', 'web', 'read write', '', '', 'one']);
    assert.match(assertion ?? '', /^[\w-]+\.[\w-]+\.[\w-]+$/);
    assert.match(known.headers['x-request-id'] ?? '', /^[\w.-]{20}$/);
  });

  test(`a subject that is called like a header blanks no header of the ${flavour} verdict`, async () => {
    await using at = await world({ proxy: verdicts });
    const { headers } = await ask(at.port, asking[flavour]('/admin', [bearer(tokenFor({ sub: 'X-Auth-Client' }))]));
    assert.deepEqual([headers['x-auth-subject'], headers['x-auth-client']], ['X-Auth-Client', 'web']);
  });

  test(`attack 51: a described WebSocket from an Origin that is not listed is refused by the ${flavour} verdict`, async () => {
    const routes = {
      ...attackRoutes,
      chat: {
        match: { prefix: '/chat' },
        credentials: ['websocket'],
        cors: { origins: ['https://app.test'] },
      },
    };
    await using at = await world({ proxy: verdicts, routes });
    const handshake = (origin: string) => [
      `Origin: ${origin}`,
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Protocol: chat, doorward.bearer.${tokenFor()}`,
    ];
    assert.equal(await verdictOf(at, flavour, '/chat', handshake('https://app.test')), 200);
    assert.equal(await verdictOf(at, flavour, '/chat', handshake('https://evil.test')), 403);
    const [origin, , , protocol] = handshake('https://app.test') as [string, string, string, string];
    assert.equal(await verdictOf(at, flavour, '/chat', [origin, protocol]), 401, 'no WebSocket, no such credential');
  });
}

test('attack 41: a trusted peer that describes a request twice is refused', async () => {
  await using at = await world({ proxy: verdicts });
  const token = bearer(tokenFor());
  const twice = [
    'X-Forwarded-Uri: /public',
    'X-Forwarded-Method: GET',
    'X-Forwarded-Host: app',
    'X-Forwarded-Uri: /admin',
    'X-Forwarded-Host: b',
  ];
  for (const field of twice) {
    assert.equal(await verdictOf(at, 'forward', '/public', [field, token]), 400, field);
  }
  const proto = ['X-Forwarded-Proto: http', 'X-Forwarded-Proto: https', token];
  for (const flavour of flavours) assert.equal(await verdictOf(at, flavour, '/public', proto), 400, flavour);
  assert.equal(await verdictOf(at, 'nginx', '/public', ['X-Original-URI: /public', token]), 400);
});

test('attack 36: an X-Original-URL beside X-Original-URI chooses no other site than Host', async () => {
  const routes = {
    shop: { match: { prefix: '/', hosts: ['shop.test'] } },
    open: { match: { prefix: '/', hosts: ['open.test'] }, auth: 'none' },
  };
  await using at = await world({ routes, proxy: verdicts });
  // A front that describes by X-Original-URI alone hands on what its client says in X-Original-URL.
  const statusOf = async (host: string, ...fields: readonly string[]) => {
    const described = [`Host: ${host}`, 'X-Original-URI: /orders', 'X-Original-Method: GET', ...fields];
    return (await ask(at.port, head('GET /.doorward/verdict/nginx', described))).status;
  };
  assert.equal(await statusOf('shop.test'), 401);
  assert.equal(await statusOf('shop.test', 'X-Original-URL: http://open.test/orders'), 403);
  assert.equal(await statusOf('shop.test', 'X-Original-URL: http://SHOP.test/orders'), 401);
  assert.equal(await statusOf('open.test', 'X-Original-URL: http://open.test/orders'), 200);
});

test('attack 43: the forward verdict needs method, target and host; two methods in one field are none', async () => {
  await using at = await world({ proxy: verdicts });
  const all = ['X-Forwarded-Uri: /public', 'X-Forwarded-Method: GET', 'X-Forwarded-Host: app'];
  const statusOf = async (fields: readonly string[]) =>
    (await ask(at.port, head('GET /.doorward/verdict/forward', fields))).status;
  assert.equal(await statusOf(all), 200);
  for (const left of all) assert.equal(await statusOf(all.filter((field) => field !== left)), 400, `without ${left}`);
  for (const method of ['GET, POST', 'get', '', 'GET POST']) {
    assert.equal(await statusOf([all[0] as string, `X-Forwarded-Method: ${method}`, all[2] as string]), 400, method);
  }
});

test('asked as Traefik asks: under the address of the sidecar, with fields that say nothing to us', async () => {
  await using at = await world({ proxy: verdicts });
  const fields = [
    'Host: 127.0.0.1:8080',
    'User-Agent: curl/8',
    bearer(tokenFor()),
    'X-Forwarded-For: 203.0.113.7',
    'X-Forwarded-Host: app',
    'X-Forwarded-Method: DELETE',
    'X-Forwarded-Port: 80',
    'X-Forwarded-Proto: https',
    'X-Forwarded-Server: traefik-0',
    'X-Forwarded-Uri: /admin/1?x=1',
    'X-Real-Ip: 203.0.113.7',
    'Accept-Encoding: gzip',
  ];
  assert.equal((await ask(at.port, head('GET /.doorward/verdict/forward', fields))).status, 200);
  const decision = at.sidecar.logged().find(({ event }) => event === 'decision');
  assert.deepEqual([decision?.method, decision?.path, decision?.address], ['DELETE', '/admin/1', '203.0.113.7']);
});

test('asked as Envoy asks: its own method and path behind the prefix, no body, its own address at the end of the chain', async () => {
  await using at = await world({ proxy: verdicts, routes: { all: { match: { prefix: '/', methods: ['POST'] } } } });
  const fields = [
    'Host: app',
    'Content-Length: 0',
    bearer(tokenFor()),
    'X-Forwarded-For: 203.0.113.7, 127.0.0.1',
    'X-Forwarded-Proto: https',
    'X-Envoy-Internal: true',
    'X-Envoy-Expected-Rq-Timeout-Ms: 2000',
    'X-Envoy-Original-Path: /elsewhere',
  ];
  const prefix = '/.doorward/verdict/envoy';
  assert.equal((await ask(at.port, head(`POST ${prefix}/orders?x=1`, fields))).status, 200);
  const decision = at.sidecar.logged().find(({ event }) => event === 'decision');
  assert.deepEqual([decision?.method, decision?.path, decision?.address], ['POST', '/orders', '203.0.113.7']);
  assert.equal((await ask(at.port, head(`GET ${prefix}/orders`, fields))).status, 405);
  assert.equal((await ask(at.port, head(`OPTIONS ${prefix}*`, fields))).status, 404);
  assert.equal((await ask(at.port, head(`POST ${prefix}`, fields))).status, 404);
});

test('Caddy asks with the query of the request behind it: what counts stands in X-Forwarded-Uri', async () => {
  await using at = await world({ proxy: verdicts });
  const statusOf = async (asked: string, uri: string) => {
    const fields = [`X-Forwarded-Uri: ${uri}`, 'X-Forwarded-Method: GET', 'X-Forwarded-Host: app'];
    return (await ask(at.port, head(`GET ${asked}`, fields))).status;
  };
  assert.equal(await statusOf('/.doorward/verdict/forward?x=/admin', '/public?x=/admin'), 200);
  assert.equal(await statusOf('/.doorward/verdict/forward?x=/public', '/admin?x=/public'), 401);
  assert.equal(await statusOf('/.doorward/verdict/forwards', '/public'), 404);
});

test('Caddy asks about a WebSocket by a handshake: it gets a verdict and no tunnel, and the connection ends', async () => {
  await using at = await world({ proxy: verdicts });
  const handshake = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
  const key = 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==';
  const allowed = await ask(at.port, asking.forward('/admin', [...handshake, key, bearer(tokenFor())]));
  assert.deepEqual(
    [allowed.status, allowed.headers['x-auth-subject'], allowed.headers.connection],
    [200, 'alice', 'close'],
  );
  assert.equal((await ask(at.port, asking.forward('/admin', [...handshake, key]))).status, 401);
  assert.equal(at.upstream.bytes(), '');
  const strange = await ask(at.port, head('GET /admin', [...handshake, key]));
  assert.equal(strange.status, 401, 'everywhere else it is a WebSocket');
});

test('attack 34: in the forward verdict X-Original-URI and X-Rewrite-URL say nothing, and the described host is the route’s', async () => {
  await using at = await world({
    proxy: verdicts,
    routes: {
      inside: { match: { prefix: '/', hosts: ['inside.test'] }, auth: 'none' },
      outside: { match: { prefix: '/', hosts: ['outside.test'] } },
    },
  });
  const statusOf = async (host: string, ...more: string[]) => {
    const fields = ['Host: inside.test', 'X-Forwarded-Uri: /', 'X-Forwarded-Method: GET', `X-Forwarded-Host: ${host}`];
    return (await ask(at.port, head('GET /.doorward/verdict/forward', [...fields, ...more]))).status;
  };
  assert.equal(await statusOf('outside.test'), 401);
  assert.equal(await statusOf('inside.test'), 200);
  assert.equal(await statusOf('outside.test', 'X-Original-URL: http://inside.test/', 'X-Original-URI: /'), 401);
  assert.equal(await statusOf('outside.test', 'X-HTTP-Method-Override: OPTIONS', 'X-Rewrite-URL: /'), 401);
});

test('the forward and envoy verdicts answer true statuses with challenge, limits and CORS; nginx gets 401 and 403', async () => {
  await using at = await world({
    proxy: verdicts,
    limits: { few: { key: 'subject', rate: '1/1h' } },
    routes: {
      few: { match: { prefix: '/few' }, limits: ['few'], cors: { origins: ['https://app.test'] } },
      staff: { match: { prefix: '/staff' }, require: { scopes: ['staff'] } },
      post: { match: { prefix: '/post', methods: ['POST'] } },
    },
  });
  for (const flavour of flavours) {
    const token = bearer(tokenFor({ sub: flavour }));
    const answer = (path: string, ...fields: string[]) => ask(at.port, asking[flavour](path, fields));
    const shown = (status: number) => (flavour === 'nginx' ? (status === 401 ? 401 : 403) : status);
    const missing = await answer('/few');
    assert.deepEqual([missing.status, missing.headers['www-authenticate']], [401, 'Bearer realm="test_app"'], flavour);
    assert.equal((await answer('/staff', token)).status, 403);
    const method = await answer('/post', token);
    assert.deepEqual([method.status, method.headers.allow], [shown(405), 'POST'], flavour);
    assert.equal((await answer('/nowhere', token)).status, shown(404));
    const allowed = await answer('/few', token);
    assert.deepEqual([allowed.status, allowed.headers['ratelimit-policy']], [200, '"few";q=1;w=3600'], flavour);
    const limited = await answer('/few', token, 'Origin: https://app.test');
    assert.equal(limited.status, shown(429), flavour);
    assert.ok(Number(limited.headers['retry-after']) >= 1);
    assert.match(limited.headers.ratelimit ?? '', /^"few";r=0;t=\d+$/);
    assert.equal(JSON.parse(limited.body).code, 'rate_limited');
    const origin = limited.headers['access-control-allow-origin'];
    assert.equal(origin, flavour === 'nginx' ? undefined : 'https://app.test');
  }
});

test('the envoy verdict has Envoy drop the token, unless the application is to have it', async () => {
  await using at = await world({
    proxy: verdicts,
    routes: {
      ours: { match: { prefix: '/ours' } },
      passed: { match: { prefix: '/passed' }, forward_token: true },
      open: { match: { prefix: '/open' }, auth: 'none' },
      cookies: { match: { prefix: '/cookies' }, credentials: ['bearer', { cookie: 'session' }], auth: 'optional' },
    },
  });
  const removed = async (path: string, ...fields: string[]) => {
    const { status, headers } = await ask(at.port, asking.envoy(path, fields));
    assert.equal(status, 200, path);
    return headers['x-envoy-auth-headers-to-remove'];
  };
  const token = bearer(tokenFor());
  assert.equal(await removed('/ours', token), 'authorization');
  assert.equal(await removed('/passed', token), undefined);
  assert.equal(await removed('/open', 'Authorization: Basic YTpi'), undefined, "the application's own");
  assert.equal(await removed('/cookies', `Cookie: session=${tokenFor()}`), undefined);
  assert.equal(await removed('/cookies', 'Authorization: Basic YTpi'), 'authorization', 'as the proxy drops it');
});

test('a front’s verdicts are limited by the address that it names, not by its own', async () => {
  await using at = await world({
    proxy: verdicts,
    limits: { per_ip: { key: 'ip', rate: '1/1h' } },
    defaults: { limits: ['per_ip'] },
  });
  for (const flavour of flavours) {
    const from = (address: string) => verdictOf(at, flavour, '/public', [`X-Forwarded-For: ${address}`]);
    const own = `203.0.113.${flavours.indexOf(flavour) + 1}`;
    assert.equal(await from(own), 200, flavour);
    assert.equal(await from(own), 429, flavour);
    assert.equal(await from(`198.51.100.1, ${own}`), 429, 'what the client wrote before it does not count');
  }
});

test('a refused verdict with a body closes after it; one that is described with a body is judged without it', async () => {
  await using at = await world({ proxy: verdicts });
  const described = ['X-Forwarded-Uri: /admin', 'X-Forwarded-Method: POST', 'X-Forwarded-Host: app'];
  const refused = await ask(at.port, [
    head('POST /.doorward/verdict/forward', [...described, 'Content-Length: 900000']),
  ]);
  assert.deepEqual([refused.status, refused.headers.connection], [401, 'close']);
  const sent = head('POST /.doorward/verdict/forward', [...described, bearer(tokenFor()), 'Content-Length: 5']);
  assert.equal((await ask(at.port, `${sent}hello`)).status, 200);
});

test('explain shows what a front would be answered, charges nothing, and says when verdicts are off', async () => {
  await using upstream = await recordingUpstream();
  const explain = async (proxy: object, question: object) => {
    await using sidecar = await startSidecar(upstream.url, {
      proxy: { listen: '127.0.0.1:0', ...proxy },
      limits: { few: { key: 'subject', rate: '1/1h' } },
      defaults: { limits: ['few'] },
    });
    const dispatcher = new Agent({ connect: { socketPath: sidecar.socketPath } });
    const shown = async () => {
      const body = JSON.stringify({ method: 'GET', url: 'http://app/orders', ...question });
      const headers = { 'content-type': 'application/json' };
      const answer = await request('http://localhost/v1/explain', { method: 'POST', dispatcher, headers, body });
      assert.equal(answer.statusCode, 200);
      return (await answer.body.json()) as {
        reason: string;
        rule?: string;
        upstream_headers: unknown[];
        answer: { status: number; headers: [string, string][] };
      };
    };
    await shown();
    const second = await shown();
    await dispatcher.close();
    return second;
  };
  const allowed = await explain(verdicts, { token: tokenFor(), verdict: 'envoy' });
  assert.deepEqual([allowed.answer.status, allowed.upstream_headers], [200, []]);
  const fields = new Map(allowed.answer.headers);
  assert.deepEqual(
    ['X-Auth-Subject', 'X-Auth-Roles', 'X-Envoy-Auth-Headers-To-Remove'].map((name) => fields.get(name)),
    ['alice', '', 'authorization'],
  );
  const refused = await explain(verdicts, { url: 'http://app/a%2fb', token: tokenFor(), verdict: 'nginx' });
  const shown = new Map(refused.answer.headers);
  assert.deepEqual([refused.answer.status, shown.get('X-Doorward-Status')], [403, '400']);
  const off = await explain({}, { token: tokenFor(), verdict: 'forward' });
  assert.deepEqual([off.reason, off.rule, off.answer.status], ['route_not_found', 'proxy.endpoints.verdict', 404]);
});
