// What somebody with full power over the tables can do to the audit log, and what verify says about each. Everything is done
// by SQL on the real tables.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AuditWorld, event, openAuditWorld, recordAll } from './world.ts';

/** Two chains of six and four events, two checkpoints, one event after the last. */
async function soundLog(it: AuditWorld): Promise<{ readonly long: string; readonly short: string }> {
  const [one, two] = [it.open(), it.open()];
  await recordAll(one, 1, 3);
  await recordAll(two, 101, 102);
  await one.checkpoint();
  await recordAll(one, 4, 6);
  await recordAll(two, 103, 104);
  await two.checkpoint();
  const rows = await it.database.sql<{ writer: string; n: number }[]>`
    select writer, count(*) as n from audit_event group by writer order by n desc`;
  const report = await it.verify();
  assert.deepEqual([report.ok, report.chains, report.events, report.checkpoints], [true, 2, 10, 2]);
  return { long: rows[0]?.writer as string, short: rows[1]?.writer as string };
}

const kinds = async (it: AuditWorld) => (await it.verify()).problems.map(({ problem }) => problem);

test('attack 127: an edited column of an event shows as row_edited, whichever column it was', async () => {
  await using it = await openAuditWorld();
  const { long } = await soundLog(it);
  const { sql } = it.database;
  const edits: Record<string, unknown> = {
    ...{ id: 'ev_x', type: 'token.revoked', at: new Date(0), actor_kind: 'client', actor: 'op_2', address: '::1' },
    ...{
      request_id: 'other',
      subject: null,
      client: '',
      tenant: 'acme',
      outcome: 'failure',
      reason: 'ok',
      checkpoint: 0,
    },
  };
  for (const [column, value] of Object.entries(edits)) {
    const [before] = await sql`select ${sql(column)} as old from audit_event where writer = ${long} and number = 5`;
    await sql`update audit_event set ${sql({ [column]: value })} where writer = ${long} and number = 5`;
    const { problems } = await it.verify();
    assert.deepEqual(
      problems,
      [{ problem: 'row_edited', message: 'event 5 is not what was written', writer: long, number: 5 }],
      column,
    );
    await sql`update audit_event set ${sql({ [column]: before?.old })} where writer = ${long} and number = 5`;
  }
  assert.equal((await it.verify()).ok, true);
});

test('attack 127: an event whose hash was made anew after the edit breaks the chain behind it', async () => {
  await using it = await openAuditWorld();
  const { long } = await soundLog(it);
  const { hashOf } = await import('../../src/audit/chain.ts');
  const [row] = (await it.store.walk({ writer: long, number: 1 }, 1)) as unknown as [Parameters<typeof hashOf>[0]];
  const hash = hashOf({ ...row, subject: 'mallory' });
  await it.database
    .sql`update audit_event set subject = 'mallory', hash = ${hash} where writer = ${long} and number = 2`;
  assert.deepEqual(await kinds(it), ['chain_broken']);
});

test('attack 127: a chain that was hashed anew from the edit to its end contradicts the checkpoints', async () => {
  await using it = await openAuditWorld();
  const { long } = await soundLog(it);
  const { hashOf } = await import('../../src/audit/chain.ts');
  let previous: string | undefined;
  for (const row of await it.store.walk({ writer: long, number: 1 }, 5)) {
    if (row.writer !== long) break;
    const edited = { ...row, subject: 'mallory', previous: previous ?? row.previous };
    previous = hashOf(edited);
    await it.database.sql`
      update audit_event set subject = 'mallory', previous = ${edited.previous}, hash = ${previous}
      where writer = ${long} and number = ${row.number}`;
  }
  assert.deepEqual(await kinds(it), ['head_differs', 'head_differs']);
});

test('attack 127: an event deleted in the middle shows as the gap it leaves', async () => {
  await using it = await openAuditWorld();
  const { long } = await soundLog(it);
  await it.database.sql`delete from audit_event where writer = ${long} and number = 4`;
  const { problems } = await it.verify();
  assert.deepEqual(problems, [{ problem: 'row_missing', message: 'event 4 is missing', writer: long, number: 4 }]);
});

test('attack 127: events deleted at the beginning show, though retention deletes there, too', async () => {
  await using it = await openAuditWorld();
  const { long } = await soundLog(it);
  await it.database.sql`delete from audit_event where writer = ${long} and number <= 2`;
  assert.deepEqual(
    (await it.verify()).problems.map(({ message }) => message),
    ['events 1 to 2 are missing'],
  );
});

test('attack 127: a tail that was cut off before a checkpoint shows as tail_cut', async () => {
  await using it = await openAuditWorld();
  const { long } = await soundLog(it);
  await it.database.sql`delete from audit_event where writer = ${long} and number >= 5`;
  const { problems } = await it.verify();
  assert.deepEqual(
    problems.map(({ problem, message }) => [problem, message]),
    [['tail_cut', 'events 5 to 6 are missing at the end']],
  );
});

test('attack 127: two events that changed places both show', async () => {
  await using it = await openAuditWorld();
  const { long } = await soundLog(it);
  const { sql } = it.database;
  const move = (from: number, to: number) =>
    sql`update audit_event set number = ${to} where writer = ${long} and number = ${from}`;
  await move(2, 99);
  await move(3, 2);
  await move(99, 3);
  const found = await it.verify();
  assert.deepEqual([...new Set(found.problems.map(({ number }) => number))], [2, 3, 4]);
  assert.ok(found.problems.some(({ problem }) => problem === 'row_edited'));
});

test('attack 127: a whole chain that was removed is missed', async () => {
  await using it = await openAuditWorld();
  const { short } = await soundLog(it);
  await it.database.sql`delete from audit_event where writer = ${short}`;
  const { problems } = await it.verify();
  assert.deepEqual(
    problems.map(({ problem, writer }) => [problem, writer]),
    [['chain_missing', short]],
  );
});

test('attack 127: a checkpoint deleted in the middle, at the beginning or at the end is missed', async () => {
  for (const number of [1, 2, 3]) {
    await using it = await openAuditWorld();
    await soundLog(it);
    const trail = it.open();
    await recordAll(trail, 7, 7);
    await trail.checkpoint();
    // Names checkpoint 3, whose removal would show in nothing else.
    await recordAll(trail, 8, 8);
    await it.database.sql`delete from audit_checkpoint where number = ${number}`;
    const { problems } = await it.verify();
    assert.deepEqual(
      problems.map(({ problem, checkpoint }) => [problem, checkpoint]),
      [['checkpoint_missing', number]],
    );
  }
});

test('attack 127: a changed statement, and one signed by a key that was put into the table, are not believed', async () => {
  await using it = await openAuditWorld();
  await soundLog(it);
  const { sql } = it.database;
  await sql`update audit_checkpoint set statement = replace(statement, '"number":2', '"number": 2') where number = 2`;
  assert.deepEqual(await kinds(it), ['checkpoint_forged']);
  const { makeCheckpointKey, openCheckpoint, signCheckpoint } = await import('../../src/audit/checkpoint.ts');
  await sql`update audit_checkpoint set statement = replace(statement, '"number": 2', '"number":2') where number = 2`;
  const key = makeCheckpointKey();
  const { trusted } = await it.open().keys();
  const stored = (await it.store.checkpoints(1, 1))[0] as Parameters<typeof openCheckpoint>[0];
  const said = openCheckpoint(stored, [...trusted.values()][0] as Parameters<typeof openCheckpoint>[1]);
  const forged = signCheckpoint(said as Parameters<typeof signCheckpoint>[0], key);
  await sql`update audit_checkpoint set signature = ${forged.signature}, key_id = ${key.keyId} where number = 2`;
  const publicKey = key.publicKey.export({ type: 'spki', format: 'der' }).toString('base64url');
  await sql`
    insert into audit_key (key_id, public_key, sealed, created_at)
    select ${key.keyId}, ${publicKey}, sealed, created_at from audit_key`;
  const fresh = it.open();
  const { storedEvidence } = await import('../../src/audit/stored-evidence.ts');
  const { verifyAudit } = await import('../../src/audit/verify.ts');
  const report = await verifyAudit(storedEvidence({ ...it, keys: await fresh.keys() }));
  assert.deepEqual(
    report.problems.map(({ problem }) => problem),
    ['checkpoint_key_unknown'],
  );
});

test('attack 127: sealed details that were exchanged, emptied or replaced show, and re-sealing does not', async () => {
  await using it = await openAuditWorld();
  const { long } = await soundLog(it);
  const { sql } = it.database;
  const [row] = await sql`select sealed from audit_event where writer = ${long} and number = 2`;
  await sql`update audit_event e set sealed = o.sealed from audit_event o
    where e.writer = ${long} and e.number = 2 and o.writer = ${long} and o.number = 3`;
  assert.deepEqual(await kinds(it), ['details_unreadable']);
  const place = { table: 'audit_event', row: [long, '2'], column: 'sealed' };
  const other = await it.sealer.seal(place, Buffer.concat([Buffer.alloc(16), Buffer.from('{"n":3}')]));
  await sql`update audit_event set sealed = ${other} where writer = ${long} and number = 2`;
  assert.deepEqual(await kinds(it), ['details_edited']);
  await it.sealer.rotate();
  const again = await it.sealer.seal(place, await it.sealer.unseal(place, row?.sealed));
  await sql`update audit_event set sealed = ${again} where writer = ${long} and number = 2`;
  assert.equal((await it.verify()).ok, true);
});

test('attack 127: what is cut off or changed after the last checkpoint is noticed by its writer at the next one', async () => {
  const { hashOf } = await import('../../src/audit/chain.ts');
  for (const meddle of ['cut', 'edit'] as const) {
    await using it = await openAuditWorld();
    const trail = it.open();
    await recordAll(trail, 1, 2);
    await trail.checkpoint();
    await recordAll(trail, 3, 5);
    const rows = (await it.store.walk(undefined, 10)).filter(({ number }) => number >= 4);
    if (meddle === 'cut') await it.database.sql`delete from audit_event where number >= 4`;
    let previous: string | undefined;
    for (const row of meddle === 'edit' ? rows : []) {
      const edited = { ...row, subject: 'mallory', previous: previous ?? row.previous };
      previous = hashOf(edited);
      await it.database.sql`
        update audit_event set subject = 'mallory', previous = ${edited.previous}, hash = ${previous}
        where number = ${row.number}`;
    }
    assert.equal((await it.verify()).ok, true, 'nobody else can see it');
    await trail.checkpoint();
    assert.deepEqual([await it.store.lastCheckpoint(), trail.state().trouble], [1, 'tampered'], meddle);
  }
});

test('the checkpoint of a shutdown leaves no event unsigned', async () => {
  await using it = await openAuditWorld();
  const trail = it.open();
  await recordAll(trail, 1, 3);
  await trail[Symbol.asyncDispose]();
  const reader = it.open();
  await reader.flushed(5000);
  const { ok, unsigned, events } = await it.verify();
  assert.deepEqual([ok, unsigned, events], [true, 0, 3]);
});

test('what retention removed of its own chain is no alarm to a writer that goes on', async () => {
  await using it = await openAuditWorld();
  const trail = it.open({ retentionMs: 7 * 86_400_000 });
  await recordAll(trail, 1, 3);
  await trail.checkpoint();
  it.clock.advance(8 * 86_400_000);
  await trail.checkpoint();
  assert.equal((await it.store.walk(undefined, 10)).length, 0);
  await trail.checkpoint();
  assert.equal(trail.state().trouble, undefined);
});

test('no checkpoint is signed over a log that was shortened, and the trail says so', async () => {
  await using it = await openAuditWorld();
  const { long } = await soundLog(it);
  await it.database.sql`delete from audit_event where writer = ${long} and number >= 5`;
  const trail = it.open();
  await trail.record(event(7));
  await trail.flushed(5000);
  await trail.checkpoint();
  assert.deepEqual([await it.store.lastCheckpoint(), trail.state().trouble], [2, 'tampered']);
  await it.database.sql`delete from audit_checkpoint`;
  await trail.checkpoint();
  assert.equal(await it.store.lastCheckpoint(), 0);
});
