import { PostgresDataKeys } from '../../src/stores/postgres/data-keys.ts';
import { dataKeyStoreConformance } from '../conformance/data-keys.ts';
import { openTestDatabase } from '../support/postgres-server.ts';

for (const version of [15, 18] as const) {
  dataKeyStoreConformance(`postgres ${version}`, async () => {
    const database = await openTestDatabase({ version });
    const pool = database.open();
    return {
      store: new PostgresDataKeys(pool),
      other: new PostgresDataKeys(database.open()),
      cut: () => pool[Symbol.asyncDispose](),
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    };
  });
}
