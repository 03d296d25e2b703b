// Behind PgBouncer in transaction mode: every transaction may meet another connection of the server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { migrate } from '../../src/stores/postgres/migrate.ts';
import { readMigrations } from '../../src/stores/postgres/migrations.ts';
import { PostgresPool } from '../../src/stores/postgres/pool.ts';
import { PostgresRevocations } from '../../src/stores/postgres/revocations.ts';
import { draft } from '../conformance/revocations.ts';
import { startPgBouncer } from '../support/pgbouncer.ts';
import { openTestDatabase } from '../support/postgres-server.ts';

test('migrations, calls and conflicts work with 20 connections of ours on 2 of the server', async () => {
  await using database = await openTestDatabase({ migrated: false });
  await using bouncer = await startPgBouncer(database.server, 2);
  const settings = { ...database.settings, url: bouncer.url(new URL(database.settings.url).pathname.slice(1)) };
  const options = { settings, clock: systemClock, release: '0.1.0' };
  const applied = await Promise.all([migrate(options), migrate(options)]);
  assert.equal(applied.flat().length, readMigrations().length);

  let told = 0;
  await using pool = new PostgresPool({ ...settings, connections: 20 }, { onUnprepared: () => (told += 1) });
  const store = new PostgresRevocations(pool);
  const now = Date.UTC(2030, 0, 1);
  await Promise.all(Array.from({ length: 100 }, (_, n) => store.put(draft(`n${n}`), now)));
  assert.equal((await store.page('', 1000, now)).length, 100);
  // The PgBouncer of Debian 12 does not follow prepared statements; which connection it lends to whom is chance.
  for (let round = 1; told === 0 && round < 100; round += 1) {
    await Promise.all(Array.from({ length: round }, (_, n) => store.undo(`none-${n}`, now)));
  }
  assert.equal(told, 1, 'prepared statements were given up, once, and no call noticed');

  const paths = await Promise.all(
    Array.from({ length: 40 }, () => pool.run('test', (sql) => sql`select current_setting('search_path') as path`)),
  );
  assert.deepEqual([...new Set(paths.map(([row]) => row?.path))], ['doorward']);

  // Nothing of a transaction of ours is left on a connection that somebody else gets next.
  const other = database.open({ url: settings.url, schema: 'elsewhere', connections: 20 });
  await Promise.all(
    Array.from({ length: 20 }, () =>
      assert.rejects(
        other.run('test', (sql) => sql`select * from revocation`),
        /42P01/,
      ),
    ),
  );
  assert.equal((await store.page('', 1000, now)).length, 100);
});
