// The audit log of PostgreSQL against the conformance suite.
import { PostgresAudit } from '../../src/stores/postgres/audit.ts';
import { auditStoreTests } from '../conformance/audit.ts';
import { openTestDatabase } from '../support/postgres-server.ts';

for (const version of [15, 18] as const) {
  auditStoreTests(`postgres ${version}`, async () => {
    const database = await openTestDatabase({ version });
    const pool = database.open();
    return {
      store: new PostgresAudit(pool),
      cut: async () => pool[Symbol.asyncDispose](),
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    };
  });
}
