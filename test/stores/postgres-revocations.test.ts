import { PostgresRevocations } from '../../src/stores/postgres/revocations.ts';
import { durableRevocationsConformance } from '../conformance/durable-revocations.ts';
import { openTestDatabase, type PostgresVersion } from '../support/postgres-server.ts';

for (const version of [15, 18] as const satisfies readonly PostgresVersion[]) {
  durableRevocationsConformance(`postgres ${version}`, async () => {
    const database = await openTestDatabase({ version });
    const pool = database.open();
    return {
      store: new PostgresRevocations(pool),
      cut: () => database.cut(),
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    };
  });
}
