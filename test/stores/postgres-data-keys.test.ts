import { PostgresDataKeys } from '../../src/stores/postgres/data-keys.ts';
import { dataKeyStoreConformance } from '../conformance/data-keys.ts';
import { openTestDatabase } from '../support/postgres-server.ts';

dataKeyStoreConformance('postgres', async () => {
  const database = await openTestDatabase();
  const pool = database.open();
  return {
    store: new PostgresDataKeys(pool),
    other: new PostgresDataKeys(database.open()),
    cut: () => pool[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
});
