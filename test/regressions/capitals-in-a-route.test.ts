// Other cases of a path were compared with the routes as they are written: a route with capitals was never found by them. An
// application that ignores case served `/admin` of `/Admin` by the route around it, and `/Admin` itself was refused as ambiguous.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertForwarded, assertRefused, bearer, head, world } from '../attacks/world.ts';
import { tokenFor } from '../support/sidecar.ts';

const OPEN = { match: { prefix: '/' }, auth: 'none' };

test('a route with capitals protects every case of its path, and serves its own', async () => {
  const routes = {
    site: OPEN,
    admin: { match: { prefix: '/Admin' } },
    user: { match: { path: '/Users/{id}/Edit' } },
    rpc: { match: { path: '/shop.Orders/Get' } },
  };
  await using at = await world({ routes });
  const token = [bearer(tokenFor())];
  for (const path of ['/Admin/x', '/Users/7/Edit', '/shop.Orders/Get']) {
    assert.equal((await assertForwarded(at, head(`GET ${path}`, token))).url, path);
    await assertRefused(at, head(`GET ${path}`), 401, { what: path });
  }
  for (const path of [
    ...[
      '/admin',
      '/admin/x',
      '/ADMIN/x',
      '/aDmin',
      '/%41dmin/x',
      '/%61dmin/x',
      '/Admin./x',
      '/admin;a/x',
      '/x%2f../admin',
    ],
    ...['/users/7/edit', '/USERS/7/EDIT', '/shop.orders/get', '/Shop.Orders/Get'],
  ])
    await assertRefused(at, head(`GET ${path}`), 400, { what: path });
  for (const path of ['/', '/administrators', '/users/7', '/Else', '/shop.orders/list'])
    assert.equal((await assertForwarded(at, head(`GET ${path}`))).url, path);
});

test('two cases of a path with routes of their own: the one in lower case is served, the other only with the same policy', async () => {
  const routes = { site: OPEN, lower: { match: { prefix: '/s' }, auth: 'none' }, upper: { match: { prefix: '/S' } } };
  await using at = await world({ routes });
  assert.equal((await assertForwarded(at, head('GET /s/x'))).url, '/s/x');
  await assertRefused(at, head('GET /S/x', [bearer(tokenFor())]), 400);
});

test('routes with capitals of one host leave the lower case of another alone, and protect their own', async () => {
  const routes = {
    site: OPEN,
    admin: { match: { prefix: '/Admin', hosts: ['one.test'] } },
    other: { match: { prefix: '/admin', hosts: ['two.test'] }, auth: 'none' },
  };
  await using at = await world({ routes });
  const from = (host: string) => head('GET /admin/x', [`Host: ${host}`]);
  await assertRefused(at, from('one.test'), 400);
  assert.equal((await assertForwarded(at, from('two.test'))).url, '/admin/x');
});

test('a preflight is judged by the method it asks about, whatever the spelling of its path', async () => {
  const routes = {
    site: OPEN,
    admin: { match: { prefix: '/Admin' } },
    api: { match: { prefix: '/api', methods: ['PUT'] }, cors: 'pass' },
  };
  await using at = await world({ routes });
  const asks = ['Origin: https://app.test', 'Access-Control-Request-Method: PUT'];
  for (const path of ['/api/x', '/api/a+b', '/api/Orders', '/api/%41'])
    assert.equal((await assertForwarded(at, head(`OPTIONS ${path}`, asks))).url, path);
});
