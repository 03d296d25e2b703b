// Attacks 47 to 51: an upgrade passes the same pipeline as every other request. What becomes of open streams stands in
// streams.test.ts.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { sendRaw } from '../support/raw-client.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';
import { handshake, open, streamUpstream } from './streams.ts';
import {
  admin,
  ask,
  assertForwarded,
  assertProblem,
  assertRefused,
  bearer,
  eventually,
  head,
  valuesOf,
  world,
} from './world.ts';

test('attack 47: an h2c upgrade stays an ordinary request', async () => {
  await using at = await world();
  const h2c = ['Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA'];
  for (const connection of ['Upgrade, HTTP2-Settings', 'Upgrade', 'HTTP2-Settings']) {
    await assertRefused(at, head('GET /admin', [`Connection: ${connection}`, ...h2c]), 401);
    const seen = await assertForwarded(at, head('GET /public', [`Connection: ${connection}`, ...h2c]));
    assert.deepEqual([...valuesOf(seen, 'upgrade'), ...valuesOf(seen, 'http2-settings')], []);
    assert.ok(!valuesOf(seen, 'connection').join().toLowerCase().includes('upgrade'));
  }
  const several = await ask(at.port, head('GET /admin', ['Connection: Upgrade', 'Upgrade: websocket, h2c']));
  assert.notEqual(several.status, 101);
});

test('attack 48: a handshake that is not RFC 6455 opens no tunnel', async () => {
  await using at = await world();
  const change = (from: string, to: string) =>
    handshake.map((field) => (field.startsWith(from) ? to : field)).filter((field) => field !== '');
  const bad = [
    change('Sec-WebSocket-Version', 'Sec-WebSocket-Version: 1337'),
    change('Sec-WebSocket-Version', ''),
    change('Sec-WebSocket-Key', ''),
    change('Sec-WebSocket-Key', 'Sec-WebSocket-Key: short'),
    [...handshake, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='],
    [...handshake, 'Content-Length: 5'],
  ];
  for (const fields of bad) {
    const answer = await assertRefused(at, head('GET /public', fields), [400, 426], {
      closed: true,
      what: String(fields),
    });
    if (answer.status === 400) assert.equal(answer.headers['sec-websocket-version'] ?? '13', '13');
  }
  await assertRefused(at, head('POST /public', handshake), [400, 426], { closed: true, what: 'POST' });
});

test('attack 48: an upstream that does not answer 101 leaves no tunnel open', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, { routes: { all: { match: { prefix: '/' }, auth: 'none' } } });
  using client = open(at.port, head('GET /refuse', handshake));
  await eventually(() => client.closed);
  assert.match(client.text(), /^HTTP\/1\.1 403 /);
  const smuggled = await sendRaw(at.port, head('GET /refuse', handshake) + head('GET /smuggled'), { responses: 2 });
  assert.ok(smuggled.closed);
  assert.ok(
    upstream.requests.every(({ url }) => url === '/refuse'),
    'bytes behind it reach nobody',
  );
});

test('attack 49: a WebSocket to a protected path needs a good token before the upgrade', async () => {
  await using at = await world();
  const revoked = tokenFor({ jti: 'gone' });
  await admin(at.sidecar, 'POST', '/v1/revocations', { kind: 'token', id: 'gone', reason: 'test' });
  for (const fields of [[], [bearer(revoked)], [bearer('nonsense')], ['Sec-WebSocket-Protocol: doorward.bearer.x']]) {
    await assertRefused(at, head('GET /admin', [...handshake, ...fields]), 401, { closed: true, what: String(fields) });
  }
  await assertRefused(at, head(`GET /admin?access_token=${tokenFor()}`, handshake), 401, { closed: true });
});

test('attack 49: a token in the subprotocol opens a tunnel where listed, and goes no further', async () => {
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, {
    routes: { all: { match: { prefix: '/' }, credentials: ['websocket'] } },
  });
  const token = tokenFor();
  using client = open(
    at.port,
    head('GET /ws', [...handshake, `Sec-WebSocket-Protocol: chat, doorward.bearer.${token}`, 'x-auth-subject: m']),
  );
  await eventually(() => client.text().includes('101'));
  const [request] = upstream.requests;
  assert.equal(request?.headers['sec-websocket-protocol'], 'chat');
  assert.equal(request?.headers['x-auth-subject'], 'alice');
  assert.ok(!request?.rawHeaders.join().includes(token));
});

test('attack 50: CONNECT and bytes behind a refused upgrade end the connection', async () => {
  await using at = await world();
  const next = head('GET /public/smuggled');
  await assertRefused(at, `CONNECT app:80 HTTP/1.1\r\nHost: app:80\r\n\r\n${next}`, 501, { closed: true });
  const { responses, closed } = await sendRaw(at.port, head('GET /admin', handshake) + next, { responses: 2 });
  assert.deepEqual(
    responses.map(({ status }) => status),
    [401],
  );
  assert.ok(closed);
  assert.equal(at.upstream.bytes(), '');
});

test('attack 51: an upgrade from an Origin that is not listed is refused', async () => {
  const routes = { all: { match: { prefix: '/' }, cors: { origins: ['https://app.example'] } } };
  await using upstream = await streamUpstream();
  await using at = await startSidecar(upstream.url, { routes });
  const fields = [...handshake, bearer(tokenFor())];
  for (const origin of ['https://evil.example', 'null', 'https://app.example.evil', 'http://app.example']) {
    const answer = await ask(at.port, head('GET /ws', [...fields, `Origin: ${origin}`]));
    assertProblem(answer, 403, origin);
    assert.ok(answer.closed);
  }
  assert.equal(upstream.requests.length, 0);
  using client = open(at.port, head('GET /ws', [...fields, 'Origin: https://app.example']));
  await eventually(() => client.text().startsWith('HTTP/1.1 101'));
});

test('attack 48: an upstream that never answers the handshake is 504, and the slot is free again', async () => {
  const server = createServer().on('upgrade', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await using mute = await startSidecar(url, {
    upstreams: { app: { url, streams: 1 } },
    defaults: { response_timeout: '300ms' },
    routes: { all: { match: { prefix: '/' }, auth: 'none' } },
  });
  for (let round = 0; round < 2; round += 1) {
    const answer = await ask(mute.port, head('GET /ws', handshake));
    assertProblem(answer, 504, `round ${round}`);
    assert.ok(answer.closed);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  server.close();
  server.closeAllConnections();
});
