// A token in a cookie and a page of another origin: what the browser sends in somebody's name changes nothing (CSRF).
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { ask, assertForwarded, bearer, head, warmWorld } from '../attacks/world.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';
import { echoOn } from './outbound/echo.ts';

const credentials = ['bearer', { cookie: 'session' }];
const routes = {
  public: { match: { prefix: '/public' }, auth: 'none' },
  app: { match: { prefix: '/app' }, credentials },
  maybe: { match: { prefix: '/maybe' }, credentials, auth: 'optional' },
  listed: { match: { prefix: '/listed' }, credentials, cors: { origins: ['https://shop.example'] } },
  pass: { match: { prefix: '/pass' }, credentials, cors: 'pass' },
};
const cookie = () => `Cookie: session=${tokenFor()}`;
const from = (site: string, origin = 'https://evil.example') => [`Sec-Fetch-Site: ${site}`, `Origin: ${origin}`];
const empty = 'Content-Length: 0';
/** Not ours, though some begin or end as ours does; no page of ours has an Origin that cannot be read. */
const foreign = [
  'https://evil.example',
  'https://app.evil.example',
  'https://evil-app',
  'null',
  'app',
  'https://app@evil',
  '',
];

/** Opens a WebSocket with the cookie, as Chromium does: with an Origin and no word of Fetch Metadata. */
function handshakeStatus(port: number, path: string, origin?: string): Promise<number | undefined> {
  const fields = {
    ...{ Host: 'app:8080', Cookie: `session=${tokenFor()}`, Connection: 'Upgrade', Upgrade: 'websocket' },
    ...{ 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' },
    ...(origin === undefined ? {} : { Origin: origin }),
  };
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, headers: fields });
    asked.on('upgrade', ({ statusCode }, socket) => {
      socket.destroy();
      resolve(statusCode);
    });
    asked.on('response', (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on('error', reject).end();
  });
}

test('what would change something is refused when a page of another site or origin had the browser send the cookie', async () => {
  await using at = await warmWorld({ routes });
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
    for (const site of ['cross-site', 'same-site', 'Cross-Site']) {
      const answer = await ask(at.port, head(`${method} /app`, [cookie(), empty, ...from(site)]));
      assert.deepEqual([answer.status, JSON.parse(answer.body).code], [403, 'origin_refused'], `${method} ${site}`);
    }
  assert.equal((await ask(at.port, head('POST /maybe', [cookie(), empty, ...from('cross-site')]))).status, 403);
  assert.equal((await ask(at.port, head('POST /app', [cookie(), empty, 'Sec-Fetch-Site: cross-site']))).status, 403);
  assert.equal(at.upstream.bytes(), '');
});

test('so is a WebSocket of such a page, which could read everything', async () => {
  await using at = await warmWorld({ routes });
  const handshake = [
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ];
  const { status } = await ask(at.port, head('GET /app', [cookie(), ...handshake, ...from('cross-site')]));
  assert.equal(status, 403);
  assert.equal(at.upstream.bytes(), '');
});

test('a WebSocket of which the browser says only the Origin opens for pages of its own host and for listed origins', async () => {
  await using upstream = await echoOn({ port: 0, host: '127.0.0.1' });
  await using sidecar = await startSidecar(`http://127.0.0.1:${upstream.port}`, { routes });
  const status = (path: string, origin?: string) => handshakeStatus(sidecar.port, path, origin);
  for (const origin of foreign) assert.equal(await status('/app', origin), 403, origin);
  assert.equal(await status('/listed', 'https://evil.example'), 403);
  assert.deepEqual(upstream.targets, []);
  for (const origin of ['https://app', 'http://app:8080', 'http://APP.', undefined])
    assert.equal(await status('/app', origin), 101, `${origin}`);
  assert.equal(await status('/listed', 'https://shop.example'), 101);
  assert.equal(await status('/pass', 'https://evil.example'), 101);
});

test('over plain HTTP, where browsers say only the Origin, what would change something is judged by it', async () => {
  await using at = await warmWorld({ routes });
  const post = (path: string, origin: string) => head(`POST ${path}`, [cookie(), empty, `Origin: ${origin}`]);
  for (const origin of foreign) assert.equal((await ask(at.port, post('/app', origin))).status, 403, origin);
  assert.equal((await ask(at.port, post('/listed', 'https://evil.example'))).status, 403);
  assert.equal(at.upstream.bytes(), '');
  await assertForwarded(at, post('/app', 'http://app'));
  await assertForwarded(at, head('POST /app', [cookie(), empty, 'Host: [::1]:8080', 'Origin: http://[::1]:8080']));
  await assertForwarded(at, post('/listed', 'https://shop.example'));
  await assertForwarded(at, post('/pass', 'https://evil.example'));
  await assertForwarded(at, head('GET /app', [cookie(), 'Origin: https://evil.example']));
});

test('pages of the same origin, people who come by a link, programs, and tokens that no browser sends by itself go through', async () => {
  await using at = await warmWorld({ routes });
  const table = [
    head('POST /app', [cookie(), empty, ...from('same-origin', 'https://app')]),
    head('POST /app', [cookie(), empty, 'Sec-Fetch-Site: none']),
    head('POST /app', [cookie(), empty]),
    head('GET /app', [cookie(), ...from('cross-site')]),
    head('POST /app', [bearer(tokenFor()), empty, ...from('cross-site')]),
    head('POST /maybe', [empty, ...from('cross-site')]),
    head('POST /public', [cookie(), empty, ...from('cross-site')]),
  ];
  for (const request of table) await assertForwarded(at, request);
});

test('origins that a route lists may, and with `cors: pass` the application judges', async () => {
  await using at = await warmWorld({ routes });
  await assertForwarded(at, head('POST /listed', [cookie(), empty, ...from('cross-site', 'https://shop.example')]));
  await assertForwarded(at, head('POST /pass', [cookie(), empty, ...from('cross-site')]));
  at.upstream.clear();
  assert.equal((await ask(at.port, head('POST /listed', [cookie(), empty, ...from('cross-site')]))).status, 403);
  assert.equal(at.upstream.bytes(), '');
});

test('a front that only asks is told the same of the request that it describes', async () => {
  const proxy = { trusted_proxies: ['127.0.0.1/32'], endpoints: { verdict: true } };
  await using at = await warmWorld({ routes, proxy });
  const verdict = async (method: string, fields: readonly string[]) => {
    const described = ['X-Original-URI: /app', `X-Original-Method: ${method}`, cookie(), ...fields];
    return (await ask(at.port, head('GET /.doorward/verdict/nginx', described))).headers['x-doorward-status'];
  };
  assert.deepEqual(
    [await verdict('POST', from('cross-site')), await verdict('GET', from('cross-site'))],
    ['403', '200'],
  );
  const webSocket = (origin: string) =>
    verdict('GET', ['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', `Origin: ${origin}`]);
  assert.deepEqual([await webSocket('https://evil.example'), await webSocket('https://app')], ['403', '200']);
});
