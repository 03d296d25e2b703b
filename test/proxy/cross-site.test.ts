// A token in a cookie and a page of another origin: what the browser sends in somebody's name changes nothing (CSRF).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, assertForwarded, bearer, head, warmWorld } from '../attacks/world.ts';
import { tokenFor } from '../support/sidecar.ts';

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
  const verdict = async (method: string, site: string) => {
    const described = ['X-Original-URI: /app', `X-Original-Method: ${method}`, cookie(), ...from(site)];
    return (await ask(at.port, head('GET /.doorward/verdict/nginx', described))).headers['x-doorward-status'];
  };
  assert.deepEqual([await verdict('POST', 'cross-site'), await verdict('GET', 'cross-site')], ['403', '200']);
});
