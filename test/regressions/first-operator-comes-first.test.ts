// An operator who was added right after a start got into the table before the operator of the state folder, whose token was
// then never taken over: `operator add` over the socket shut out the token that `doorward init` had made.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';

test('the operator of the state folder is registered before the first that is added', async () => {
  await using database = await openTestDatabase();
  const held = Promise.withResolvers<void>();
  const locked = Promise.withResolvers<void>();
  const holding = database.sql.begin(async (sql) => {
    await sql`lock table operator in access exclusive mode`;
    locked.resolve();
    await held.promise;
  });
  await locked.promise;
  await using sidecar = await startAdminSidecar((config) => ({
    ...config,
    ...postgresConfig(database, { timeout: '250ms' }),
  }));
  const away = await sidecar.socket('GET', '/v1/operators');
  assert.equal(away.status, 503, 'the comparison of the start fails like this call');
  held.resolve();
  await holding;
  const added = await sidecar.socket('POST', '/v1/operators', { body: { name: 'ci', role: 'viewer' } });
  assert.equal(added.status, 201, added.text);
  assert.equal((await sidecar.admin('GET', '/v1/status')).status, 200);
});
