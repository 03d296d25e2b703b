import { PostgresSigningKeys } from '../../src/stores/postgres/signing-keys.ts';
import { signingKeyStoreConformance } from '../conformance/signing-keys.ts';
import { openTestDatabase } from '../support/postgres-server.ts';

for (const version of [15, 18] as const) {
  signingKeyStoreConformance(`postgres ${version}`, async () => {
    const database = await openTestDatabase({ version });
    const pool = database.open();
    return {
      store: new PostgresSigningKeys(pool),
      other: new PostgresSigningKeys(database.open()),
      cut: () => pool[Symbol.asyncDispose](),
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    };
  });
}
