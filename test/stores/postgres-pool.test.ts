// The pool on real PostgreSQL: transactions, bounded waiting, conflicts, and what a server that goes away means.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SidecarError } from '../../src/core/errors.ts';
import { ConstraintViolation } from '../../src/stores/postgres/errors.ts';
import { PostgresPool } from '../../src/stores/postgres/pool.ts';
import { openTestDatabase, startPostgres, type TestDatabase } from '../support/postgres-server.ts';

const unavailable = { name: 'SidecarError', kind: 'store_unavailable', reason: 'store_unavailable' };

async function withTable(database: TestDatabase): Promise<PostgresPool> {
  await database.sql`create table counter (id text primary key, value bigint not null, at timestamptz, words text[])`;
  await database.sql`insert into counter values ('a', 0, '2100-01-01T00:00:00.123Z', '{x,y}')`;
  return database.open();
}

test('values keep their types: bigint is a number, timestamptz a Date to the millisecond, text[] a list', async () => {
  await using database = await openTestDatabase();
  const pool = await withTable(database);
  const [row] = await pool.run('test', (sql) => sql`select * from counter`);
  assert.deepEqual({ ...row }, { id: 'a', value: 0, at: new Date('2100-01-01T00:00:00.123Z'), words: ['x', 'y'] });
  await pool.run('test', (sql) => sql`update counter set value = ${Number.MAX_SAFE_INTEGER}`);
  assert.equal((await pool.run('test', (sql) => sql`select value from counter`))[0]?.value, Number.MAX_SAFE_INTEGER);
});

test('what reads changes nothing, and does not wait for its COMMIT', async () => {
  await using database = await openTestDatabase();
  const pool = await withTable(database);
  const [row] = await pool.read('test', (sql) => sql`select value from counter`);
  assert.equal(row?.value, 0);
  await assert.rejects(
    pool.read('test', (sql) => sql`update counter set value = 9`),
    unavailable,
  );
  assert.equal((await pool.read('test', (sql) => sql`select value from counter`))[0]?.value, 0);
  // Its connection comes back all the same.
  await Promise.all(Array.from({ length: 50 }, () => pool.read('test', (sql) => sql`select 1`)));
  assert.ok(pool.size().open <= database.settings.connections);
});

test('a table that gets a column under way: every connection that knew it otherwise is replaced, no call fails', async () => {
  await using database = await openTestDatabase();
  const pool = await withTable(database);
  const all = () =>
    Promise.all(
      Array.from({ length: 20 }, () =>
        pool.run('test', async (sql) => {
          const rows = await sql`select * from counter where id = ${'a'}`;
          await sql`update counter set value = value + 1 where id = ${'a'}`;
          return rows[0];
        }),
      ),
    );
  await all();
  await all();
  await database.sql`alter table counter add column more integer not null default 7`;
  for (const row of await all()) assert.equal(row?.more, 7);
  assert.equal((await pool.run('test', (sql) => sql`select value from counter`))[0]?.value, 60, 'each counted once');
});

test('50 read-modify-write transactions at once lose none', async () => {
  await using database = await openTestDatabase();
  const pool = await withTable(database);
  const increment = () =>
    pool.transact('test', async (sql) => {
      const [row] = await sql`select value from counter where id = 'a'`;
      await sql`update counter set value = ${(row?.value as number) + 1} where id = 'a'`;
    });
  const settled = await Promise.allSettled(Array.from({ length: 50 }, increment));
  const done = settled.filter(({ status }) => status === 'fulfilled').length;
  const [row] = await database.sql`select value from counter`;
  assert.equal(row?.value, done, 'exactly what was acknowledged');
  for (const outcome of settled)
    if (outcome.status === 'rejected') assert.equal(outcome.reason.kind, 'store_unavailable');
  assert.ok(done >= 25, `${done} of 50 got through`);
});

test('work that rejects leaves nothing; so does a failed statement whose error work dropped', async () => {
  await using database = await openTestDatabase();
  const pool = await withTable(database);
  const thrown = new SidecarError('conflict', 'fields_invalid', 'mine');
  await assert.rejects(
    pool.run('test', async (sql) => {
      await sql`update counter set value = 7`;
      throw thrown;
    }),
    thrown,
  );
  await assert.rejects(
    pool.run('test', async (sql) => {
      await sql`update counter set value = 8`;
      await sql`select 1 / 0`.catch(() => undefined);
    }),
    TypeError,
  );
  assert.equal((await database.sql`select value from counter`)[0]?.value, 0);
});

test('a broken constraint comes out with its name and without the value', async () => {
  await using database = await openTestDatabase();
  const pool = await withTable(database);
  const insert = pool.run('test', (sql) => sql`insert into counter values ('a', 1)`);
  await assert.rejects(insert, (error: unknown) => {
    assert.ok(error instanceof ConstraintViolation);
    assert.equal(error.constraint, 'counter_pkey');
    assert.equal(error.cause, undefined);
    return true;
  });
});

test('a call waits for a connection no longer than the timeout, and the next one succeeds', async () => {
  await using database = await openTestDatabase();
  const pool = database.open({ connections: 1, timeoutMs: 300 });
  const held = Promise.withResolvers<void>();
  const first = pool.run('test', async (sql) => {
    await sql`select 1`;
    await held.promise;
  });
  await assert.rejects(
    pool.run('test', (sql) => sql`select 1`),
    unavailable,
  );
  assert.deepEqual(pool.size(), { open: 1, idle: 0, waiting: 0 });
  held.resolve();
  await first;
  await pool.run('test', (sql) => sql`select 1`);
});

test('a statement that takes longer than the timeout is cancelled by the server', async () => {
  await using database = await openTestDatabase();
  const pool = database.open({ timeoutMs: 500 });
  await assert.rejects(
    pool.run('test', (sql) => sql`select pg_sleep(30)`),
    unavailable,
  );
  assert.equal(pool.health().up, true, 'the server itself answers');
  await pool.run('test', (sql) => sql`select pg_sleep(0.7)`, { timeoutMs: 5000 });
});

test('a connection that is lost inside a transaction ends it: nothing of it stays, nothing runs outside of it', async () => {
  await using database = await openTestDatabase();
  const pool = await withTable(database);
  const work = pool.run('test', async (sql) => {
    const [row] = await sql`update counter set value = 1 returning pg_backend_pid() as pid`;
    await database.sql`select pg_terminate_backend(${row?.pid as number})`;
    await sleep(100);
    await sql`update counter set value = 2`;
  });
  await assert.rejects(work, unavailable);
  assert.equal((await database.sql`select value from counter`)[0]?.value, 0);
  assert.deepEqual(pool.size(), { open: 0, idle: 0, waiting: 0 });
  await pool.run('test', (sql) => sql`select 1`);
});

test('no setting of one call is left for the next: search_path and timeouts end with the transaction', async () => {
  await using database = await openTestDatabase();
  const pool = database.open({ connections: 1 });
  const inside = await pool.run('test', (sql) => sql`select current_setting('search_path') as path`);
  assert.equal(inside[0]?.path, 'doorward');
  const outside = await database.sql`select query from pg_stat_activity where application_name = 'doorward'`;
  assert.deepEqual(
    outside.map(({ query }) => query),
    ['commit'],
  );
});

test('a server that stalls without closing is given up, and the connection with it', async () => {
  await using database = await openTestDatabase();
  const pool = database.open({ timeoutMs: 500 });
  const [row] = await pool.run('test', (sql) => sql`select pg_backend_pid() as pid`);
  const pid = row?.pid as number;
  process.kill(pid, 'SIGSTOP');
  try {
    await assert.rejects(
      pool.run('test', (sql) => sql`select 1`),
      unavailable,
    );
    assert.equal(pool.health().up, false);
    const [other] = await pool.run('test', (sql) => sql`select pg_backend_pid() as pid`);
    assert.notEqual(other?.pid, pid);
    assert.equal(pool.health().up, true);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
});

test('a server that says nothing at all is given up after the timeout, however long statements may run', {
  timeout: 60_000,
}, async () => {
  await using database = await openTestDatabase();
  const pool = database.open({ timeoutMs: 500 });
  const [row] = await pool.run('test', (sql) => sql`select pg_backend_pid() as pid`);
  process.kill(row?.pid as number, 'SIGSTOP');
  try {
    const slow = { timeoutMs: 10 * 60_000 };
    await assert.rejects(
      pool.run('test', (sql) => sql`select 1`, slow),
      unavailable,
    );
    const [slept] = await pool.run('test', (sql) => sql`select pg_sleep(1.2), 1 as one`, slow);
    assert.equal(slept?.one, 1, 'one that has begun is waited for');
  } finally {
    process.kill(row?.pid as number, 'SIGCONT');
  }
});

test('a server that takes connections and says nothing is given up after the timeout', async () => {
  // Unreferenced: a test that fails must not hold the run.
  const silent = createServer((socket) => socket.unref()).listen(0, '127.0.0.1');
  silent.unref();
  await once(silent, 'listening');
  const url = `postgres://a:b@127.0.0.1:${(silent.address() as AddressInfo).port}/c`;
  await using pool = new PostgresPool({ url, schema: 'doorward', connections: 2, timeoutMs: 300 });
  await assert.rejects(
    pool.run('test', (sql) => sql`select 1`),
    unavailable,
  );
  silent.close();
});

test('L25: every call is measured under its operation, failed ones too', async () => {
  await using database = await openTestDatabase();
  const seen: string[] = [];
  await using pool = new PostgresPool(database.settings, {
    onQuery: (operation, seconds) => seen.push(`${operation} ${seconds > 0 && seconds < 5}`),
  });
  await pool.run('one.read', (sql) => sql`select 1`);
  await assert.rejects(pool.transact('two.write', (sql) => sql`select 1 / 0`));
  assert.deepEqual(seen, ['one.read true', 'two.write true']);
});

test('with the server gone calls are refused at once; when it is back they work again, by themselves', async () => {
  await using server = await startPostgres();
  await using database = await openTestDatabase({ server });
  const pool = await withTable(database);
  await pool.run('test', (sql) => sql`select 1`);
  await server.stop('SIGKILL');
  // The process behind a connection outlives its killed parent by a moment.
  for (let served = true; served; ) {
    served = await pool
      .run('test', (sql) => sql`select 1`)
      .then(
        () => true,
        () => false,
      );
  }
  const began = performance.now();
  await assert.rejects(
    pool.run('test', (sql) => sql`select 1`),
    unavailable,
  );
  await assert.rejects(
    pool.run('test', (sql) => sql`select 1`),
    unavailable,
  );
  assert.ok(performance.now() - began < database.settings.timeoutMs);
  assert.equal(pool.health().up, false);
  await server.start();
  assert.equal((await pool.run('test', (sql) => sql`select value from counter`))[0]?.value, 0);
  assert.equal(pool.health().up, true);
});
