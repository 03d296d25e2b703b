import { PostgresDataKeys } from '../../src/stores/postgres/data-keys.ts';
import { dataKeyStoreConformance } from '../conformance/data-keys.ts';
import { openTestDatabase } from '../support/postgres-server.ts';

dataKeyStoreConformance('postgres', async () => {
  const database = await openTestDatabase();
  const pool = database.open();
  return {
    store: new PostgresDataKeys(pool),
    other: new PostgresDataKeys(database.open()),
    // The database is locked for everybody and its connections are ended, as a failover does.
    cut: async () => {
      await database.sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()`;
      await database.sql.unsafe('alter schema doorward rename to gone');
      await pool[Symbol.asyncDispose]();
    },
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
});
