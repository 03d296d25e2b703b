// Nothing of the audit log is lost: PostgreSQL away, the process killed at any moment, a half-written file, a full disk. And
// retention, which removes only what a checkpoint signs for.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AuditChain } from '../../src/audit/chain.ts';
import { frameOf, readFrames, Spool } from '../../src/audit/spool.ts';
import { storeUnavailable } from '../../src/core/errors.ts';
import { eventually } from '../rows/eventually.ts';
import { event, openAuditWorld, recordAll } from './world.ts';

const away = () => Promise.reject(storeUnavailable('PostgreSQL is away'));

test('a spool file is read up to the first frame that is cut off or changed, wherever it was cut', () => {
  const chain = new AuditChain();
  const frames = [1, 2, 3].map((n) => frameOf(chain.next(event(n), 1000 + n, 0)));
  const whole = Buffer.concat(frames);
  const [first, second] = frames as [Buffer, Buffer];
  for (let end = 0; end <= whole.length; end += 1) {
    const expected = end < first.length ? 0 : end < first.length + second.length ? 1 : end < whole.length ? 2 : 3;
    assert.equal(readFrames(whole.subarray(0, end)).length, expected, `cut at ${end}`);
  }
  const flipped = Buffer.from(whole);
  flipped[first.length + 20] = (flipped[first.length + 20] as number) ^ 1;
  assert.equal(readFrames(flipped).length, 1);
  assert.deepEqual(readFrames(whole)[1]?.record.subject, 'subject-2');
});

test('spool files are mode 0600 in a folder of mode 0700, and empty ones go with the process', () => {
  const parent = mkdtempSync(join(tmpdir(), 'doorward-spool-'));
  const folder = join(parent, 'audit');
  const spool = new Spool(folder);
  const [name] = readdirSync(folder);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  assert.equal(statSync(join(folder, name as string)).mode & 0o777, 0o600);
  spool[Symbol.dispose]();
  assert.deepEqual(readdirSync(folder), []);
  rmSync(parent, { recursive: true });
});

test('a next file that cannot be made costs nothing but that append: the spool goes on once it can', async () => {
  const parent = mkdtempSync(join(tmpdir(), 'doorward-spool-'));
  const [folder, elsewhere] = [join(parent, 'audit'), join(parent, 'gone')];
  const spool = new Spool(folder);
  await spool.append([Buffer.alloc(1024 * 1024)]);
  renameSync(folder, elsewhere);
  for (let n = 0; n < 2; n += 1) await assert.rejects(spool.append([Buffer.from('x')]), { code: 'ENOENT' });
  renameSync(elsewhere, folder);
  await spool.append([Buffer.from('x')]);
  assert.equal(spool.segment, 1);
  spool[Symbol.dispose]();
  rmSync(parent, { recursive: true });
});

test('events recorded while PostgreSQL is away are confirmed, kept, and stored in order once it is back', async () => {
  await using it = await openAuditWorld();
  let isAway = true;
  const append: typeof it.store.append = (records) => (isAway ? away() : it.store.append(records));
  const store = new Proxy(it.store, {
    get: (target, name) => (name === 'append' ? append : Reflect.get(target, name).bind(target)),
  });
  const trail = it.open({}, { store });
  for (let n = 1; n <= 50; n += 1) await trail.record(event(n));
  // Recorded is what the disk has; the attempt on PostgreSQL lingers, so that it is away is found out a little later.
  await eventually(() => trail.state().trouble === 'store_away', 10_000);
  assert.equal(trail.state().waiting, 50);
  isAway = false;
  assert.equal(await trail.flushed(5000), true);
  const rows = await it.store.walk(undefined, 100);
  assert.deepEqual(
    rows.map(({ number, subject }) => [number, subject]),
    Array.from({ length: 50 }, (_, n) => [n + 1, `subject-${n + 1}`]),
  );
  assert.equal(trail.state().trouble, undefined);
  assert.equal((await it.verify()).ok, true);
});

test('an answer of PostgreSQL that got lost leads to no second row', async () => {
  await using it = await openAuditWorld();
  let lost = 0;
  const append: typeof it.store.append = async (records) => {
    await it.store.append(records);
    if (lost++ < 2) throw storeUnavailable('the connection broke during COMMIT');
  };
  const store = new Proxy(it.store, {
    get: (target, name) => (name === 'append' ? append : Reflect.get(target, name).bind(target)),
  });
  await recordAll(it.open({}, { store }), 1, 5);
  assert.equal((await it.store.walk(undefined, 100)).length, 5);
  assert.ok(lost > 2);
});

test('a full spool refuses changes with audit_unavailable, and takes them again once PostgreSQL is back', async () => {
  await using it = await openAuditWorld();
  let isAway = true;
  const append: typeof it.store.append = (records) => (isAway ? away() : it.store.append(records));
  const store = new Proxy(it.store, {
    get: (target, name) => (name === 'append' ? append : Reflect.get(target, name).bind(target)),
  });
  const trail = it.open({ spoolBytes: 5000 }, { store });
  await trail.requireRoom();
  for (let n = 1; n <= 20; n += 1) await trail.record(event(n));
  // Events are confirmed by the disk; that PostgreSQL is away may be found out later.
  await eventually(() => it.troubles.includes('store_away'), 10_000);
  await assert.rejects(trail.requireRoom(), { kind: 'store_unavailable', reason: 'audit_unavailable' });
  assert.deepEqual(it.troubles, ['store_away', 'spool_full']);
  isAway = false;
  await trail.flushed(10_000);
  await trail.requireRoom();
});

test('a disk that takes nothing is no loss while PostgreSQL takes the event, and a refusal when it does not', async () => {
  await using it = await openAuditWorld();
  let isAway = false;
  const append: typeof it.store.append = (records) => (isAway ? away() : it.store.append(records));
  const store = new Proxy(it.store, {
    get: (target, name) => (name === 'append' ? append : Reflect.get(target, name).bind(target)),
  });
  const trail = it.open({}, { store });
  const whole = Spool.prototype.append;
  Spool.prototype.append = () => Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' }));
  try {
    await trail.record(event(1));
    assert.equal((await it.store.walk(undefined, 10)).length, 1);
    isAway = true;
    await assert.rejects(trail.record(event(2)), { reason: 'audit_unavailable' });
    await assert.rejects(trail.requireRoom(), { reason: 'audit_unavailable' });
  } finally {
    Spool.prototype.append = whole;
    isAway = false;
  }
  assert.equal(await trail.flushed(10_000), true);
  assert.equal((await it.verify()).ok, true);
});

test('kill -9 in the middle of recording loses no event that was confirmed and stores none twice', async () => {
  await using it = await openAuditWorld();
  for (let round = 0; round < 5; round += 1) {
    const child = fork(join(import.meta.dirname, 'recorder.ts'), [it.folder], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    let confirmed = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      confirmed += chunk;
    });
    await once(child, 'message');
    await eventually(() => confirmed.includes('\n'), 20_000);
    await sleep(round * 20);
    child.kill('SIGKILL');
    await once(child, 'close');
    const trail = it.open();
    trail.start();
    const subjects = confirmed.split('\n').slice(0, -1);
    for (
      let tries = 0;
      readdirSync(it.folder).some((name) => readFrames(readFileSync(join(it.folder, name))).length > 0);
      tries += 1
    ) {
      assert.ok(tries < 500, 'the orphaned spool is not taken up');
      await sleep(10);
    }
    const stored = await it.database.sql<{ subject: string; n: number }[]>`
      select subject, count(*) as n from audit_event group by subject`;
    const counts = new Map(stored.map(({ subject, n }) => [subject, n]));
    for (const subject of subjects) assert.equal(counts.get(subject), 1, subject);
    await trail[Symbol.asyncDispose]();
  }
  assert.equal((await it.verify()).ok, true);
});

test('a half-written event at the end of an orphaned spool is dropped, and the chain before it holds', async () => {
  await using it = await openAuditWorld();
  const chain = new AuditChain();
  const file = join(it.folder, 'earlier.00000000.spool');
  for (let n = 1; n <= 3; n += 1) appendFileSync(file, frameOf(chain.next(event(n), it.clock.nowMs(), 0)));
  truncateSync(file, statSync(file).size - 5);
  const trail = it.open();
  trail.start();
  for (let tries = 0; readdirSync(it.folder).includes('earlier.00000000.spool'); tries += 1) {
    assert.ok(tries < 500);
    await sleep(10);
  }
  const report = await it.verify();
  assert.deepEqual([report.ok, report.events], [true, 2]);
});

test('retention removes what is old and signed for, and verify still proves the rest', async () => {
  await using it = await openAuditWorld();
  const day = 86_400_000;
  const trail = it.open({ retentionMs: 30 * day });
  await recordAll(trail, 1, 5);
  await trail.checkpoint();
  it.clock.advance(20 * day);
  // After a day of silence the trail goes on with a new chain.
  await recordAll(trail, 6, 8);
  it.clock.advance(day / 2);
  await recordAll(trail, 9, 10);
  await trail.checkpoint();
  it.clock.advance(10 * day + 1000);
  await trail.checkpoint();
  const rest = await it.store.walk(undefined, 100);
  assert.deepEqual(
    rest.map(({ subject }) => subject),
    [6, 7, 8, 9, 10].map((n) => `subject-${n}`),
  );
  assert.equal((await it.verify()).ok, true);
  it.clock.advance(19.6 * day);
  await trail.checkpoint();
  assert.deepEqual(
    (await it.store.walk(undefined, 100)).map(({ number }) => number),
    [4, 5],
  );
  const report = await it.verify();
  assert.deepEqual([report.ok, report.events, report.problems], [true, 2, []]);
  await recordAll(trail, 11, 12);
  await trail.checkpoint();
  assert.equal((await it.verify()).ok, true);
  await it.database.sql`delete from audit_event where number = 4`;
  assert.equal((await it.verify()).ok, false);
});

test('two replicas that sign checkpoints at once make one row of them, each naming the one before', async () => {
  await using it = await openAuditWorld();
  const trails = [it.open(), it.open(), it.open()];
  for (let round = 0; round < 5; round += 1) {
    await Promise.all(trails.map((trail) => recordAll(trail, round, round)));
    await Promise.all(trails.map((trail) => trail.checkpoint()));
  }
  const report = await it.verify();
  assert.deepEqual([report.ok, report.chains, report.events], [true, 3, 15]);
  assert.equal((await it.store.keys()).length, 1);
  assert.deepEqual(it.troubles, []);
});

test('the checkpoint of a trail that closes covers all its events, also when another one is being signed', async () => {
  await using it = await openAuditWorld();
  const { sql } = it.database;
  const trail = it.open();
  await recordAll(trail, 1, 1);
  const [locked, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const lock = sql.begin(async (held) => {
    await held`lock table audit_checkpoint in share mode`;
    locked.resolve();
    await release.promise;
  });
  await locked.promise;
  void trail.checkpoint();
  // It has looked which events there are, and waits to write that down.
  const waits = () => sql`select 1 from pg_locks where not granted and relation = 'audit_checkpoint'::regclass`;
  await eventually(async () => (await waits()).length === 1, 10_000);
  await recordAll(trail, 2, 2);
  const closed = trail[Symbol.asyncDispose]();
  release.resolve();
  await Promise.all([lock, closed]);
  const checkpoints = await it.store.checkpoints(0, 10);
  const heads = checkpoints.map(({ statement }) => JSON.parse(statement).heads[0][1]);
  assert.deepEqual(heads, [1, 2]);
});
