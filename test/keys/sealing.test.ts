// Sealing over a real PostgreSQL: counting, rotation, re-sealing, another KEK, a wrong KEK.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { sealedColumns } from '../../src/app/sealing.ts';
import { localKek } from '../../src/keys/kek.ts';
import { Resealing } from '../../src/keys/resealing.ts';
import { DataKeySealer, type SealerOptions } from '../../src/keys/sealer.ts';
import type { SealedColumn } from '../../src/stores/contracts/sealer.ts';
import { PostgresDataKeys } from '../../src/stores/postgres/data-keys.ts';
import { PostgresSealedRows } from '../../src/stores/postgres/sealed-rows.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { openTestDatabase, type TestDatabase } from '../support/postgres-server.ts';

const DAY = 86_400_000;
const kek = localKek(randomBytes(32));
const place = { table: 'note', row: '1', column: 'body' };
const field = Buffer.from('a very private note');

function sealingOf(database: TestDatabase, more: Partial<SealerOptions> = {}) {
  const clock = new ManualClock();
  const store = new PostgresDataKeys(database.open());
  const options = { kek, store, clock, rotateAfterMs: 90 * DAY, rotateSeals: 1_000_000, ...more };
  return { clock, store, options, open: () => DataKeySealer.open(options) };
}

test('L14, C15: what one replica sealed, another opens, also after a rotation', async () => {
  await using database = await openTestDatabase();
  const [a, b] = await Promise.all([sealingOf(database).open(), sealingOf(database).open()]);
  const sealed = await a.seal(place, field);
  assert.deepEqual(await b.unseal(place, sealed), field);
  const old = a.activeKeyId;
  assert.notEqual(await b.rotate(), old);
  assert.deepEqual(await a.unseal(place, await b.seal(place, field)), field);
  assert.deepEqual(await b.unseal(place, sealed), field);
});

test('two replicas that open an empty database at once share one data key', async () => {
  await using database = await openTestDatabase();
  const sealers = await Promise.all(Array.from({ length: 8 }, () => sealingOf(database).open()));
  assert.equal(new Set(sealers.map((sealer) => sealer.activeKeyId)).size, 1);
});

test('C16: a data key gives way after the configured number of seals, counted over all replicas', async () => {
  await using database = await openTestDatabase();
  const [a, b] = [sealingOf(database, { rotateSeals: 2500 }), sealingOf(database, { rotateSeals: 2500 })];
  const [one, two] = await Promise.all([a.open(), b.open()]);
  const first = one.activeKeyId;
  const made = await Promise.all(Array.from({ length: 4000 }, (_, n) => (n % 2 ? one : two).seal(place, field)));
  const byKey = Map.groupBy(made, (sealed) => sealed.subarray(1, 17).toString('hex'));
  for (const under of byKey.values()) assert.ok(under.length <= 2500, `${under.length} seals under one key`);
  assert.notEqual(one.activeKeyId, first);
  const { keys } = await a.store.read();
  assert.equal(keys.filter(({ state }) => state === 'active').length, 1);
  const counted = keys.reduce((sum, { seals }) => sum + seals, 0);
  assert.ok(counted >= made.length && keys.every(({ seals }) => seals <= 2500));
});

test('C16: the count is checked before each seal: at three, the fourth is under a new key', async () => {
  await using database = await openTestDatabase();
  const sealer = await sealingOf(database, { rotateSeals: 3 }).open();
  const keys = [];
  for (let n = 0; n < 7; n += 1) keys.push((await sealer.seal(place, field)).subarray(1, 17).toString('hex'));
  assert.deepEqual([new Set(keys.slice(0, 3)).size, new Set(keys.slice(3, 6)).size, new Set(keys).size], [1, 1, 3]);
});

test('C16: a data key gives way after 90 days, and what it sealed still opens', async () => {
  await using database = await openTestDatabase();
  const sealing = sealingOf(database);
  const sealer = await sealing.open();
  const first = sealer.activeKeyId;
  const sealed = await sealer.seal(place, field);
  sealing.clock.advance(90 * DAY - 1);
  assert.equal(await sealer.rotateWhenDue(), false);
  sealing.clock.advance(1);
  const later = await sealer.seal(place, field);
  assert.notEqual(sealer.activeKeyId, first);
  assert.notDeepEqual(later.subarray(0, 17), sealed.subarray(0, 17));
  assert.deepEqual(await sealer.unseal(place, sealed), field);
});

test('replicas that find the key old at once end with one new active key', async () => {
  await using database = await openTestDatabase();
  const replicas = Array.from({ length: 5 }, () => sealingOf(database));
  const sealers = await Promise.all(replicas.map((replica) => replica.open()));
  for (const { clock } of replicas) clock.advance(91 * DAY);
  await Promise.all(sealers.map((sealer) => sealer.rotateWhenDue()));
  const { keys } = await (replicas[0] as (typeof replicas)[number]).store.read();
  assert.deepEqual(
    keys.map(({ state }) => state),
    ['active', 'retired'],
  );
});

test('C15: a field whose data key is gone is an error that names place and key, not an empty value', async () => {
  await using database = await openTestDatabase();
  const sealer = await sealingOf(database).open();
  const old = sealer.activeKeyId;
  const sealed = await sealer.seal(place, field);
  await sealer.rotate();
  await database.sql`delete from data_key where data_key_id = ${old}`;
  const fresh = await sealingOf(database).open();
  await assert.rejects(fresh.unseal(place, sealed), {
    reason: 'sealed_unreadable',
    message: `note/1/body was sealed under data key ${old}, which is gone`,
  });
});

/** Every row of every table, as PostgreSQL prints it. */
async function dump({ sql }: TestDatabase): Promise<string> {
  const tables = await sql<{ name: string }[]>`
    select table_name as name from information_schema.tables
    where table_schema = 'doorward' and table_type = 'BASE TABLE' order by 1`;
  const rows = await Promise.all(
    tables.map(({ name }) => sql`select ${name} as name, t::text, xmin from ${sql(name)} t order by 2`),
  );
  return JSON.stringify(rows);
}

test('2.3.9: a wrong KEK refuses the start with a clear error, and no row changes', async () => {
  await using database = await openTestDatabase();
  await (await sealingOf(database).open()).seal(place, field);
  const before = await dump(database);
  const wrong = localKek(randomBytes(32));
  const expected = {
    kind: 'misconfigured',
    message: `sealing.kek is not the key that sealed this database (it was ${kek.id}, sealing.kek is ${wrong.id}); nothing was changed`,
  };
  await assert.rejects(sealingOf(database, { kek: wrong }).open(), expected);
  await assert.rejects(sealingOf(database, { kek: wrong, previousKek: localKek(randomBytes(32)) }).open(), {
    kind: 'misconfigured',
  });
  assert.equal(await dump(database), before);
});

test('a new KEK takes over with the previous one at hand, and alone afterwards', async () => {
  await using database = await openTestDatabase();
  const before = await sealingOf(database).open();
  const sealed = await before.seal(place, field);
  await before.rotate();
  const next = localKek(randomBytes(32));
  const moved = await sealingOf(database, { kek: next, previousKek: kek }).open();
  assert.deepEqual(await moved.unseal(place, sealed), field);
  const alone = await sealingOf(database, { kek: next }).open();
  assert.deepEqual(await alone.unseal(place, sealed), field);
  await assert.rejects(sealingOf(database).open(), { kind: 'misconfigured' });
});

test('replicas that move to the new KEK at once all open', async () => {
  await using database = await openTestDatabase();
  const sealed = await (await sealingOf(database).open()).seal(place, field);
  const next = localKek(randomBytes(32));
  const moved = await Promise.all(
    Array.from({ length: 5 }, () => sealingOf(database, { kek: next, previousKek: kek }).open()),
  );
  for (const sealer of moved) assert.deepEqual(await sealer.unseal(place, sealed), field);
});

const column: SealedColumn = { table: 'note', idColumns: ['tenant', 'number'], column: 'body', tenantColumn: 'tenant' };

async function notes(database: TestDatabase, sealer: DataKeySealer, count: number): Promise<void> {
  await database.sql`create table note (tenant text, number bigint, body bytea, primary key (tenant, number))`;
  for (let number = 0; number < count; number += 1) {
    const tenant = number % 2 ? 'acme' : 'be"ta';
    const at = { table: 'note', row: [tenant, String(number)], column: 'body', tenant };
    const body = number === 7 ? null : await sealer.seal(at, Buffer.from(`note ${number}`));
    await database.sql`insert into note values (${tenant}, ${number}, ${body})`;
  }
}

function resealingOf(database: TestDatabase, sealer: DataKeySealer, nowMs: () => number) {
  const pool = database.open();
  const [store, rows] = [new PostgresDataKeys(pool), new PostgresSealedRows(pool)];
  return new Resealing({ sealer, rows, store, nowMs, columns: [column] });
}

test('re-sealing moves every field to the active key, tells how far it is, and then lets old keys go', async () => {
  await using database = await openTestDatabase();
  const sealing = sealingOf(database);
  const sealer = await sealing.open();
  const old = sealer.activeKeyId;
  await notes(database, sealer, 251);
  await using resealing = resealingOf(database, sealer, () => sealing.clock.nowMs());
  assert.deepEqual(await resealing.progress(), { done: 250, total: 250, running: false, unreadable: [] });
  await sealer.rotate();
  sealing.clock.advance(31 * DAY);
  assert.deepEqual(await resealing.progress(), { done: 0, total: 250, running: false, unreadable: [] });
  assert.deepEqual(await resealing.removeUnusedKeys(), [], 'a key that fields rest on stays');
  await Promise.all([resealing.run(), resealing.run()]);
  assert.deepEqual(await resealing.progress(), { done: 250, total: 250, running: false, unreadable: [] });
  const rows = await database.sql<{ tenant: string; number: number; body: Buffer }[]>`
    select * from note where body is not null order by number`;
  for (const { tenant, number, body } of rows) {
    const at = { table: 'note', row: [tenant, String(number)], column: 'body', tenant };
    assert.equal(String(await sealer.unseal(at, body)), `note ${number}`);
  }
  assert.deepEqual(await resealing.removeUnusedKeys(), [old]);
});

test('every sealed column has an index on the data key of its fields, by which others than the active one are found', async () => {
  await using database = await openTestDatabase();
  const id = randomBytes(16);
  for (const { table, column: name } of sealedColumns) {
    const plan = await database.sql.begin(async (sql) => {
      // Tables are empty here, and would be read as a whole.
      await sql`set local enable_seqscan = off`;
      return sql`
        explain select count(*) from ${sql(table)}
        where ${sql(name)} is not null and substring(${sql(name)} from 2 for 16) < ${id}`;
    });
    assert.match(plan.map((row) => row['QUERY PLAN']).join(' '), /Index Cond: \(\(?"?substring/i, `${table}.${name}`);
  }
});

test('what is outdated is counted exactly, and the whole at most once a minute', async () => {
  await using database = await openTestDatabase();
  const sealing = sealingOf(database);
  const sealer = await sealing.open();
  await notes(database, sealer, 5);
  await using resealing = resealingOf(database, sealer, () => sealing.clock.nowMs());
  assert.deepEqual(await resealing.progress(), { done: 5, total: 5, running: false, unreadable: [] });
  await database.sql`insert into note select tenant, number + 100, body from note where number < 3`;
  assert.equal((await resealing.progress()).total, 5);
  await sealer.rotate();
  assert.deepEqual(await resealing.progress(), { done: 0, total: 8, running: false, unreadable: [] });
  sealing.clock.advance(60_000);
  assert.deepEqual(await resealing.progress(), { done: 0, total: 8, running: false, unreadable: [] });
});

test('re-sealing leaves a field that does not open as it is, names it, and goes on', async () => {
  await using database = await openTestDatabase();
  const sealing = sealingOf(database);
  const sealer = await sealing.open();
  await notes(database, sealer, 5);
  await database.sql`update note set body = set_byte(body, 40, get_byte(body, 40) # 1) where number = 3`;
  const [before] = await database.sql`select body from note where number = 3`;
  await sealer.rotate();
  await using resealing = resealingOf(database, sealer, () => sealing.clock.nowMs());
  await resealing.run();
  assert.deepEqual(await resealing.progress(), { done: 4, total: 5, running: false, unreadable: ['note/acme/3/body'] });
  assert.deepEqual((await database.sql`select body from note where number = 3`)[0], before);
});

test('a field that changes while it is re-sealed keeps its newer value', async () => {
  await using database = await openTestDatabase();
  const sealing = sealingOf(database);
  const sealer = await sealing.open();
  await notes(database, sealer, 3);
  const rows = new PostgresSealedRows(database.open());
  const [row] = await rows.outdated(column, Buffer.alloc(17), undefined, 1);
  assert.ok(row);
  const newer = randomBytes(60);
  await database.sql`update note set body = ${newer}`;
  assert.equal(await rows.replace(column, row, randomBytes(60)), false);
  assert.deepEqual((await database.sql`select distinct body from note`)[0]?.body, newer);
});
