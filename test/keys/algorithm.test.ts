// Another `sign.algorithm` by reload, on whole sidecars over a real PostgreSQL: no good token is refused at any moment.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { type AdminSidecar, type Loose, startAdminSidecar } from '../admin/admin-sidecar.ts';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';

const headOf = (token: string) => JSON.parse(String(Buffer.from(token.split('.')[0] as string, 'base64url')));

async function issue({ socket }: AdminSidecar): Promise<string> {
  const { json, text } = await socket('POST', '/v1/tokens', { body: { subject: 'alice', client: 'web' } });
  assert.ok(json.token, text);
  return String(json.token);
}

/** Writes the file anew and has it loaded. */
async function reloadWith(it: AdminSidecar, sign: object): Promise<void> {
  const config = parse(readFileSync(it.file, 'utf8'));
  config.issuers.self.sign = sign;
  writeFileSync(it.file, stringify(config));
  const { status, json, text } = await it.socket('POST', '/v1/config/reload', { body: {} });
  assert.equal(status, 200, text);
  assert.deepEqual([...(json.restart_needed as Loose)], []);
}

for (const [from, to] of [
  ['ES256', 'EdDSA'],
  ['EdDSA', 'RS256'],
] as const) {
  test(`sign.algorithm from ${from} to ${to} by reload: zero 401 for good tokens, old and new, on both replicas`, async () => {
    await using database = await openTestDatabase();
    const start = () =>
      startAdminSidecar((config) => ({
        ...config,
        ...postgresConfig(database, { timeout: '5s' }),
        issuers: {
          ...config.issuers,
          self: {
            issuer: 'http://doorward.localhost',
            audience: ['api'],
            sign: { algorithm: from, publish_before: '0ms' },
          },
        },
      }));
    await using one = await start();
    await using two = await start();
    const old = await issue(one);
    const statuses = new Map<number, number>();
    const algorithms = new Set<string>();
    let over = false;
    const load = async (by: AdminSidecar, other: AdminSidecar) => {
      while (!over) {
        const token = await issue(by);
        algorithms.add(headOf(token).alg);
        for (const [sidecar, each] of [
          [other, token],
          [by, token],
          [other, old],
        ] as const) {
          const { status } = await sidecar.proxy('/x', each);
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
        }
      }
    };
    const loads = [load(one, two), load(two, one)];
    try {
      await reloadWith(one, { algorithm: to, publish_before: '0ms' });
      await one.socket('POST', '/v1/keys', { body: {} });
      await reloadWith(two, { algorithm: to, publish_before: '0ms' });
      await eventually(async () => algorithms.has(to) && (statuses.get(200) ?? 0) > 20, 30_000);
      assert.equal((await one.proxy('/x', old)).status, 200);
      assert.equal((await two.proxy('/x', old)).status, 200);
    } finally {
      over = true;
      await Promise.all(loads);
    }
    assert.ok((statuses.get(200) ?? 0) > 20);
    assert.deepEqual([...statuses.keys()], [200], JSON.stringify([...statuses]));
    assert.deepEqual(algorithms, new Set([from, to]));
  });
}
