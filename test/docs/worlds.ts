// What a page says its reader has already (`<!-- needs: … -->`): a database, a clone of the repository as the folder, or a
// running system that worlds/NAME.sh makes.
import { readFileSync } from 'node:fs';
import { openTestDatabase } from '../support/postgres-server.ts';

/** What a page is given. */
export interface World extends AsyncDisposable {
  readonly env: Readonly<Record<string, string>>;
  /** Run before the first block, in the same shell. */
  readonly script: string;
}

/** Makes it; `postgres` is an empty database of PostgreSQL 15, whose client programs the system has. */
export async function worldOf(needs: readonly string[]): Promise<World> {
  const database = needs.includes('postgres') ? await openTestDatabase({ migrated: false, version: 15 }) : undefined;
  const scripts = needs
    .filter((need) => need !== 'postgres' && need !== 'clone')
    .map((need) => readFileSync(new URL(`worlds/${need}.sh`, import.meta.url), 'utf8'));
  return {
    env: database === undefined ? {} : { DATABASE_URL: database.settings.url },
    script: scripts.join('\n'),
    [Symbol.asyncDispose]: async () => database?.[Symbol.asyncDispose](),
  };
}
