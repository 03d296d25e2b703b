// Real fronts with the shipped configurations of deploy/fronts, real traffic through them: what every front must do alike,
// whether Doorward forwards or is only asked.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { request, WebSocket } from 'undici';
import { echoWebSocket } from '../support/echo-websocket.ts';
import { fronts } from '../support/fronts.ts';
import { sendRaw } from '../support/raw-client.ts';
import { startRelay } from '../support/relay.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';
import { type Answer, bearer, frontWorld } from './world.ts';

const IDENTITY = ['subject', 'issuer', 'client', 'scopes', 'roles', 'tenant', 'token-id'].map(
  (name) => `x-auth-${name}`,
);

/** What a client would send to be somebody, or to have asked for something else. */
const SPOOFED: Readonly<Record<string, string>> = {
  'X-Auth-Subject': 'root',
  'X-Auth-Roles': 'admin',
  X_Auth_Subject: 'root',
  X_Auth_Roles: 'admin',
  'X-Auth_Tenant': 'acme',
  'X-Auth-Token-Id': 'forged',
};

const DESCRIBING: Readonly<Record<string, string>> = {
  'X-Forwarded-For': '203.0.113.9',
  'X-Forwarded-Host': 'other.test',
  'X-Forwarded-Proto': 'https',
  'X-Forwarded-Uri': '/public',
  'X-Forwarded-Method': 'OPTIONS',
  'X-Original-Uri': '/public',
  'X-Original-Url': 'http://shop.test/public',
  'X-Original-Method': 'OPTIONS',
  'X-Rewrite-Url': '/public',
  'X-Http-Method-Override': 'DELETE',
  'X-Real-Ip': '203.0.113.9',
  Forwarded: 'for=203.0.113.9;host=other.test',
};

const routes = {
  all: { match: { prefix: '/' } },
  public: { match: { prefix: '/public' }, auth: 'none' },
  staff: { match: { prefix: '/staff' }, require: { scopes: ['staff'] } },
  post: { match: { prefix: '/post', methods: ['POST'] } },
  few: { match: { prefix: '/few' }, limits: ['few'] },
};
const limits = { few: { key: 'client', rate: '2/1h' } };

/** What comes first of a handshake. */
const outcome = (socket: WebSocket) =>
  new Promise<string>((resolve) => {
    for (const type of ['open', 'error']) socket.addEventListener(type, () => resolve(type), { once: true });
  });

const codeOf = (answer: Answer) => (JSON.parse(answer.text) as { code: string }).code;

for (const front of fronts) {
  test(`behind ${front.name}: an accepted request arrives as it was sent, with the identity and without the token`, async () => {
    await using at = await frontWorld(front, { routes, limits });
    const answer = await at.ask('/orders/a%20b?x=%2e%2e&y', { headers: bearer(tokenFor({ jti: 'one' })) });
    assert.equal(answer.status, 200, answer.text);
    const [seen] = at.application.seen;
    assert.ok(seen !== undefined);
    const { url, headers } = seen;
    assert.equal(url, '/orders/a%20b?x=%2e%2e&y');
    assert.deepEqual(
      IDENTITY.map((name) => headers[name] || undefined),
      ['alice', 'https://id.test/', 'web', 'read write', undefined, undefined, 'one'],
    );
    assert.deepEqual([headers.host, headers.authorization], ['shop.test', undefined]);
    assert.match(String(headers['x-request-id']), /^[0-9a-f-]{32,36}$/);
    const decision = at.sidecar.logged().find(({ event }) => event === 'decision');
    assert.equal(decision?.request_id, headers['x-request-id'], 'one id in all logs');
  });

  test(`behind ${front.name}: refusals keep status, challenge, limits and code`, async () => {
    await using at = await frontWorld(front, { routes, limits });
    const token = bearer(tokenFor());
    const missing = await at.ask('/orders');
    assert.deepEqual([missing.status, missing.headers['www-authenticate']], [401, 'Bearer realm="test_app"']);
    assert.equal((await at.ask('/orders', { headers: bearer('no.such.token') })).status, 401);
    assert.equal((await at.ask('/staff', { headers: token })).status, 403);
    assert.equal((await at.ask('/post', { headers: token })).status, 405);
    assert.equal((await at.ask('/a%2fb', { headers: token })).status, 400);
    assert.equal(at.application.seen.length, 0, 'a refused request does not arrive');
    await at.ask('/few', { headers: token });
    await at.ask('/few', { headers: token });
    const limited = await at.ask('/few', { headers: token });
    assert.deepEqual([limited.status, codeOf(limited)], [429, 'rate_limited']);
    assert.ok(Number(limited.headers['retry-after']) >= 1);
    assert.match(String(limited.headers.ratelimit), /^"few";r=0;t=\d+$/);
    assert.equal(limited.headers['ratelimit-policy'], '"few";q=2;w=3600');
    assert.equal(at.application.seen.length, 2);
  });

  test(`attack 19: behind ${front.name}: nobody gets an identity by sending its headers`, async () => {
    await using at = await frontWorld(front, { routes, limits });
    assert.equal((await at.ask('/public', { headers: SPOOFED })).status, 200);
    assert.equal((await at.ask('/orders', { headers: { ...SPOOFED, ...bearer(tokenFor()) } })).status, 200);
    const [anonymous, alice] = at.application.seen;
    const identityOf = (headers: object = {}) =>
      Object.entries(headers).filter(([name, value]) => /^x[-_]auth[-_]/i.test(name) && value !== '');
    assert.deepEqual(identityOf(anonymous?.headers), []);
    assert.deepEqual(
      new Set(identityOf(alice?.headers).map(([name]) => name)),
      new Set(IDENTITY.filter((name) => !/roles|tenant/.test(name))),
    );
    assert.equal(alice?.headers['x-auth-subject'], 'alice');
  });

  test(`attack 34: behind ${front.name}: what a client says of another request is neither believed nor passed on`, async () => {
    await using at = await frontWorld(front, { routes, limits });
    for (const [name, value] of Object.entries(DESCRIBING)) {
      assert.equal((await at.ask('/orders', { headers: { [name]: value } })).status, 401, `${name} opened a route`);
    }
    assert.equal((await at.ask('/orders', { headers: DESCRIBING })).status, 401);
    assert.equal(at.application.seen.length, 0);
    assert.equal((await at.ask('/orders', { headers: { ...DESCRIBING, ...bearer(tokenFor()) } })).status, 200);
    const text = JSON.stringify(at.application.seen[0]?.headers);
    for (const spoofed of ['203.0.113.9', 'other.test', '/public', 'DELETE', 'https"']) {
      assert.ok(!text.includes(spoofed), `${spoofed} arrived: ${text}`);
    }
    assert.equal(at.application.seen[0]?.headers['x-forwarded-proto'], 'http');
  });

  test(`attack 38: behind ${front.name}: limits count the client's address, not the front's, whatever the client claims`, async () => {
    const perIp = { limits: { ...limits, per_ip: { key: 'ip', rate: '2/1h' } }, defaults: { limits: ['per_ip'] } };
    await using at = await frontWorld(front, { routes, ...perIp });
    const from = async (address: string, claimed: string) =>
      (await at.ask('/public', { from: address, headers: { 'x-forwarded-for': claimed } })).status;
    assert.deepEqual([await from('127.0.0.2', '203.0.113.1'), await from('127.0.0.2', '203.0.113.2')], [200, 200]);
    assert.equal(await from('127.0.0.2', '203.0.113.3'), 429);
    assert.equal(await from('127.0.0.3', '127.0.0.2'), 200);
    const addresses = at.sidecar.logged().flatMap(({ event, address }) => (event === 'decision' ? [address] : []));
    assert.deepEqual([...new Set(addresses)], ['127.0.0.2', '127.0.0.3']);
  });

  test(`behind ${front.name}: a WebSocket opens with a token and echoes, and does not open without`, async () => {
    await using echo = await echoWebSocket();
    await using sidecar = await startSidecar(echo.url, {
      proxy: { listen: '127.0.0.1:0', trusted_proxies: ['127.0.0.1/32'], endpoints: { verdict: front.asks } },
    });
    await using daemon = await front.start({ doorward: sidecar.port, application: echo.port });
    const open = (headers: Record<string, string>) =>
      new WebSocket(`${daemon.url.replace('http', 'ws')}/chat`, { headers });
    const socket = open(bearer(tokenFor()));
    assert.equal(await outcome(socket), 'open');
    socket.send('hello');
    const [{ data }] = (await once(socket, 'message')) as [{ data: unknown }];
    assert.equal(data, 'hello');
    socket.close();
    await once(socket, 'close');
    assert.equal(await outcome(open({})), 'error');
    assert.deepEqual(echo.seen, ['/chat'], 'the application saw the accepted handshake only');
  });

  test(`behind ${front.name}: an event stream arrives event by event`, async () => {
    await using at = await frontWorld(front, { routes, limits });
    const { statusCode, body } = await request(`${at.front.url}/events`, { headers: bearer(tokenFor()) });
    assert.equal(statusCode, 200);
    let text = '';
    for await (const chunk of body) {
      text += chunk.toString();
      if (text === 'data: first\n\n') at.application.endStreams();
    }
    assert.equal(text, 'data: first\n\ndata: last\n\n');
  });

  test(`behind ${front.name}: an upload of 9 MiB arrives whole`, async () => {
    await using at = await frontWorld(front, { routes, limits });
    const body = randomBytes(9 * 1024 * 1024);
    const answer = await at.ask('/upload', { method: 'POST', headers: bearer(tokenFor()), body });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.text, `${body.length} ${createHash('sha256').update(body).digest('hex')}`);
  });

  test(`behind ${front.name}: too large a body never arrives whole`, async () => {
    await using at = await frontWorld(front, { routes, limits });
    const length = 11 * 1024 * 1024;
    const fields = ['POST /upload HTTP/1.1', 'Host: shop.test', `Authorization: Bearer ${tokenFor()}`];
    const head = `${[...fields, `Content-Length: ${length}`].join('\r\n')}\r\n\r\n`;
    // Caddy counts what comes; the others are told by the length, so that no answer can be lost behind the body.
    const counts = front.name.startsWith('Caddy');
    const { responses } = await sendRaw(at.front.port, counts ? [head, 'x'.repeat(length)] : head, {
      timeoutMs: 15_000,
    });
    if (!counts) assert.equal(responses[0]?.status, 413);
    assert.notEqual(responses[0]?.status, 200);
    assert.equal(at.application.uploads.length, 0);
  });

  test(`behind ${front.name}: the front lets go of idle connections before Doorward does`, async () => {
    await using at = await frontWorld(front, { routes, limits });
    await using relay = await startRelay({ host: '127.0.0.1', port: at.sidecar.port });
    await using short = await front.start({ doorward: relay.port, application: at.application.port, idle: '1s' });
    const status = async () => {
      const answer = await request(short.url, { method: 'POST', headers: bearer(tokenFor()) });
      await answer.body.dump();
      return answer.statusCode;
    };
    assert.equal(await status(), 200);
    // Doorward keeps them for 75 s; nobody but the front can have closed them by then.
    const deadline = performance.now() + 60_000;
    while (relay.open > 0 && performance.now() < deadline) await sleep(50);
    assert.equal(relay.open, 0);
    assert.equal(await status(), 200, 'and asks on a new one');
  });
}
