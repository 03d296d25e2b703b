// Lists of the admin API that come in cursor pages, over whole sidecars: each entry once, newest first, at every page size.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { type AdminSidecar, type Loose, startAdminSidecar } from './admin-sidecar.ts';

async function makeOperators(it: AdminSidecar) {
  for (const name of ['ann', 'bob', 'cat', 'dan']) {
    await it.admin('POST', '/v1/operators', { body: { name, role: 'viewer' } });
  }
}

async function makeInitialTokens(it: AdminSidecar) {
  for (let at = 0; at < 5; at += 1) await it.admin('POST', '/v1/clients/initial-access-tokens', { body: {} });
}

async function makeKeys(it: AdminSidecar) {
  for (let at = 0; at < 2; at += 1) {
    const { json } = await it.admin('POST', '/v1/keys', { body: {} });
    const pending = [...(json.keys as Loose)].find(({ state }) => String(state) === 'pending');
    await it.admin('POST', `/v1/keys/${pending?.kid}/activate`);
  }
}

const lists = [
  { path: '/v1/operators', id: 'id', least: 5, make: makeOperators },
  { path: '/v1/clients/initial-access-tokens', id: 'id', least: 5, make: makeInitialTokens },
  { path: '/v1/keys', id: 'kid', least: 3, make: makeKeys },
] as const;

for (const { path, id, least, make } of lists) {
  test(`GET ${path} comes in pages of any size, each entry once, newest first`, async () => {
    await using database = await openTestDatabase();
    await using it = await startAdminSidecar((config) => ({ ...config, ...postgresConfig(database) }));
    await make(it);
    const whole = [...(await it.admin('GET', path)).json.items];
    assert.ok(whole.length >= least);
    const times = whole.map(({ created_at }) => String(created_at));
    assert.deepEqual(times, times.toSorted().toReversed());
    for (const limit of [1, 2, whole.length, whole.length + 1]) {
      const seen: unknown[] = [];
      for (let next: string | undefined = ''; next !== undefined; ) {
        const { json } = await it.admin('GET', `${path}?limit=${limit}${next && `&cursor=${next}`}`);
        seen.push(...json.items);
        next = json.next === undefined ? undefined : String(json.next);
      }
      assert.deepEqual(seen, whole, `pages of ${limit}`);
    }
    assert.equal(new Set(whole.map((item) => String(item[id]))).size, whole.length);
    const beyond = ['9999999999999999 x', '8640000000000000 x', '253402300800000 x'];
    for (const cursor of ['x', ...beyond.map((text) => Buffer.from(text).toString('base64url')), 'MCAA']) {
      assert.equal((await it.admin('GET', `${path}?cursor=${cursor}`)).status, 422, cursor);
    }
  });
}
