import { PostgresClients } from '../../src/stores/postgres/clients.ts';
import { PostgresInitialAccessTokens } from '../../src/stores/postgres/initial-access-tokens.ts';
import { clientsConformance } from '../conformance/clients.ts';
import { initialTokensConformance } from '../conformance/initial-access-tokens.ts';
import { openTestDatabase, type PostgresVersion } from '../support/postgres-server.ts';

for (const version of [15, 18] as const satisfies readonly PostgresVersion[]) {
  const open = async <Store>(
    make: (pool: ReturnType<Awaited<ReturnType<typeof openTestDatabase>>['open']>) => Store,
  ) => {
    const database = await openTestDatabase({ version });
    return {
      store: make(database.open()),
      cut: () => database.cut(),
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    };
  };
  clientsConformance(`postgres ${version}`, () => open((pool) => new PostgresClients(pool)));
  initialTokensConformance(`postgres ${version}`, () => open((pool) => new PostgresInitialAccessTokens(pool)));
}
