// `path: /admin` and templates protected exactly what they say, and routers that serve `/admin/` as `/admin` served it by the route
// around: attack 11 was tried against prefixes only.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertForwarded, assertRefused, bearer, head, world } from '../attacks/world.ts';
import { tokenFor } from '../support/sidecar.ts';

const OPEN = { match: { prefix: '/' }, auth: 'none' };

test('attack 11: a slash more or less at the end of one path never falls to a looser route', async () => {
  const routes = {
    site: OPEN,
    admin: { match: { path: '/admin' } },
    user: { match: { path: '/users/{id}' } },
    slashed: { match: { path: '/reports/' } },
    capital: { match: { path: '/Keys' } },
  };
  await using at = await world({ routes });
  const token = [bearer(tokenFor())];
  for (const path of ['/admin', '/users/7', '/reports/', '/Keys']) {
    assert.equal((await assertForwarded(at, head(`GET ${path}`, token))).url, path);
    await assertRefused(at, head(`GET ${path}`), 401, { what: path });
  }
  for (const path of ['/admin/', '/users/7/', '/reports', '/keys/', '/KEYS/', '/%61dmin/', '/ADMIN/', '/users/7;a/'])
    await assertRefused(at, head(`GET ${path}`), 400, { what: path });
  for (const path of ['/', '/users', '/users/', '/x/', '/admin/x', '/reports/x', '/a+b/'])
    assert.equal((await assertForwarded(at, head(`GET ${path}`))).url, path);
});

test('a path beside the prefix of the same name says what the slash means', async () => {
  const routes = {
    docs: { match: { prefix: '/docs' }, auth: 'none' },
    itself: { match: { path: '/docs' } },
    site: OPEN,
  };
  await using at = await world({ routes });
  assert.equal((await assertForwarded(at, head('GET /docs/'))).url, '/docs/');
  await assertRefused(at, head('GET /docs'), 401);
});
