import { PostgresSigningKeys } from '../../src/stores/postgres/signing-keys.ts';
import { signingKeyStoreConformance } from '../conformance/signing-keys.ts';
import { openTestDatabase } from '../support/postgres-server.ts';

signingKeyStoreConformance('postgres', async () => {
  const database = await openTestDatabase();
  const pool = database.open();
  return {
    store: new PostgresSigningKeys(pool),
    other: new PostgresSigningKeys(database.open()),
    cut: () => pool[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
});
