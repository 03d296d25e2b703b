import { PostgresOperators } from '../../src/stores/postgres/operators.ts';
import { operatorsConformance } from '../conformance/operators.ts';
import { openTestDatabase, type PostgresVersion } from '../support/postgres-server.ts';

for (const version of [15, 18] as const satisfies readonly PostgresVersion[]) {
  operatorsConformance(`postgres ${version}`, async () => {
    const database = await openTestDatabase({ version });
    return {
      store: new PostgresOperators(database.open()),
      other: new PostgresOperators(database.open()),
      cut: () => database.cut(),
      mend: () => database.mend(),
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    };
  });
}
