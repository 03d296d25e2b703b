// The snapshot of the schema: every change of a migration shows in review as a change of test/postgres-schema.sql.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { openTestDatabase, type PostgresVersion } from '../support/postgres-server.ts';
import { schemaText, snapshotFile } from '../support/schema-text.ts';

for (const version of [15, 18] as const satisfies readonly PostgresVersion[]) {
  test(`PostgreSQL ${version}: the migrations make test/postgres-schema.sql (npm run schema:sql)`, async () => {
    await using database = await openTestDatabase({ version });
    assert.equal(await schemaText(database), readFileSync(snapshotFile, 'utf8'));
  });
}

test('every table that holds a time holds it with its zone', async () => {
  await using database = await openTestDatabase();
  const columns = await database.sql`select table_name, column_name from information_schema.columns
    where table_schema = 'doorward' and data_type = 'timestamp without time zone'`;
  assert.deepEqual([...columns], []);
});
