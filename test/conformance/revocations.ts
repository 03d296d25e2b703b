// What every RevocationLog must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readLog } from '../../src/revocation/reading.ts';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';
import {
  KEPT_AFTER_MS,
  type RevocationDraft,
  type RevocationEntry,
  type RevocationHead,
  type RevocationLog,
  type StoreNotice,
} from '../../src/stores/contracts/revocations.ts';

/** An opened backend. */
export interface OpenedLog extends AsyncDisposable {
  readonly log: RevocationLog;
  /** Another replica's handle on the same data. */
  readonly other: RevocationLog;
  /** Moves the log's time. */
  advance(ms: number): void;
  nowMs(): number;
  /** Loses all data, as FLUSHALL would. */
  lose(): Promise<void>;
  /** Removes what has expired; a backend does so by itself, this makes it now. */
  sweep(): Promise<unknown>;
}

/** A draft for `id`, an hour long unless told. */
export const draft = (id: string, more: Partial<RevocationDraft> = {}): RevocationDraft => ({
  kind: 'token',
  issuer: 'https://id.example',
  id,
  untilMs: 4_000_000_000_000,
  reason: 'leaked',
  ...more,
});

/** Everything in the log, read as replicas read it. */
export async function wholeLog(log: RevocationLog) {
  const read = await readLog(log, () => undefined);
  return read && { head: read.head, entries: [...read.index.entries()] };
}

/** Contract and concurrency tiers. */
export function revocationLogConformance(backend: string, open: () => Promise<OpenedLog>): void {
  const it = (name: string, body: (opened: OpenedLog, made: RevocationHead) => Promise<void>) =>
    test(`${backend} revocations: ${name}`, async () => {
      await using opened = await open();
      await body(opened, (await opened.log.rebuild([], undefined)).head);
    });

  test(`${backend} revocations: an empty store holds no log, and appending to it is store_unavailable`, async () => {
    await using opened = await open();
    assert.equal(await opened.log.head(), undefined);
    assert.equal(await opened.log.snapshot(), undefined);
    await assert.rejects(opened.log.append(draft('a')), { kind: 'store_unavailable' });
  });

  it('L6 L7: an entry comes back whole, and revoking again replaces it', async ({ log, other }, made) => {
    const forever = draft('Ω:"\n{}', { kind: 'tenant', untilMs: 'forever', notBeforeMs: 1_700_000_000_123 });
    const first = await log.append(forever);
    assert.deepEqual(first, {
      ...forever,
      entryId: revocationEntryId('tenant', forever.issuer, forever.id),
      seq: made.seq + 1,
      revokedAtMs: first.revokedAtMs,
    });
    const second = await other.append({ ...forever, reason: 'again' });
    assert.equal(second.entryId, first.entryId);
    const snapshot = await wholeLog(other);
    assert.deepEqual(snapshot, { head: { epoch: made.epoch, seq: made.seq + 2 }, entries: [second] });
  });

  it('what was made earlier and comes later takes no place from what refuses no less', async ({ log, other }, made) => {
    const subject = (more: Partial<RevocationDraft>) => draft('s', { kind: 'subject', untilMs: 'forever', ...more });
    const short = { untilMs: 3_000_000_000_000 };
    const stays: readonly (readonly [RevocationDraft, RevocationDraft])[] = [
      [draft('a', { madeAtMs: 2 }), draft('a', { ...short, madeAtMs: 1 })],
      [subject({ madeAtMs: 2 }), subject({ notBeforeMs: 5, madeAtMs: 1 })],
      [subject({ id: 't', notBeforeMs: 6, madeAtMs: 2 }), subject({ id: 't', notBeforeMs: 5, madeAtMs: 1 })],
      [draft('b', { reason: 'later', madeAtMs: 2 }), draft('b', { madeAtMs: 1 })],
      [draft('g', { reason: 'itself', madeAtMs: 2 }), draft('g', { madeAtMs: 2 })],
      [subject({ id: 'w', ...short, madeAtMs: 2 }), subject({ id: 'w', notBeforeMs: 5, madeAtMs: 1 })],
      [draft('f', { reason: 'by a replica that does not say when' }), draft('f', { ...short, madeAtMs: 1 })],
    ];
    for (const [later, earlier] of stays) {
      const { seq, reason } = await log.append(later);
      const answer = await other.append(earlier);
      assert.deepEqual([answer.seq, answer.reason], [seq, reason], 'answers what stands');
    }
    assert.deepEqual((await wholeLog(log))?.head, { epoch: made.epoch, seq: made.seq + stays.length });
    const goes: readonly (readonly [RevocationDraft, RevocationDraft])[] = [
      [draft('c', { ...short, madeAtMs: 2 }), draft('c', { madeAtMs: 1 })],
      [subject({ id: 'u', notBeforeMs: 5, madeAtMs: 2 }), subject({ id: 'u', madeAtMs: 1 })],
      [subject({ id: 'v', notBeforeMs: 5, madeAtMs: 2 }), subject({ id: 'v', notBeforeMs: 6, madeAtMs: 1 })],
      [draft('d', { madeAtMs: 1 }), draft('d', { ...short, madeAtMs: 2 })],
      [draft('e', { madeAtMs: 1 }), draft('e', short)],
      [draft('h'), draft('h', { ...short, madeAtMs: 4_000_000_000_000 })],
    ];
    for (const [first, second] of goes) {
      const { seq } = await log.append(first);
      const { untilMs, notBeforeMs, madeAtMs, ...answer } = await other.append(second);
      assert.deepEqual([answer.seq, untilMs, notBeforeMs], [seq + 1, second.untilMs, second.notBeforeMs]);
      const over = second.madeAtMs === undefined ? undefined : Math.max(second.madeAtMs, (first.madeAtMs ?? 0) + 1);
      assert.equal(madeAtMs, over, 'what came over a later one is the later one from now on');
      assert.equal((await log.get(answer.entryId))?.madeAtMs, over);
    }
  });

  it('an undo takes back what was made up to its time, and nothing that was revoked since', async ({ log }, made) => {
    const told = await log.append(draft('a', { madeAtMs: 20 }));
    assert.equal(await log.undo(told.entryId, 19), undefined);
    assert.deepEqual(await log.head(), { epoch: made.epoch, seq: made.seq + 1 });
    assert.deepEqual(await log.undo(told.entryId, 20), told);
    const untold = await log.append(draft('a'));
    assert.equal(await log.undo(untold.entryId, untold.revokedAtMs - 1), undefined);
    assert.deepEqual(await log.undo(untold.entryId, untold.revokedAtMs), untold);
  });

  it('a rebuild puts nothing in the place of what was made later, whatever the times of the log', async ({ log }) => {
    const entries = [await log.append(draft('a', { madeAtMs: 20 })), await log.append(draft('b'))] as const;
    const rebuilt = async (at: 0 | 1, more: Partial<RevocationEntry>) => {
      await log.rebuild([[{ ...entries[at], reason: 'put back', ...more }]], undefined);
      return (await log.get(entries[at].entryId))?.reason === 'put back';
    };
    const atMs = entries[1].revokedAtMs;
    assert.equal(await rebuilt(0, { madeAtMs: 19, revokedAtMs: atMs + 5000 }), false);
    assert.equal(await rebuilt(0, { madeAtMs: 21, revokedAtMs: 5 }), true);
    assert.equal(await rebuilt(1, { revokedAtMs: atMs }), false);
    assert.equal(await rebuilt(1, { madeAtMs: atMs - 1, revokedAtMs: atMs + 5000 }), false);
    assert.equal(await rebuilt(1, { revokedAtMs: atMs + 1 }), true);
  });

  it('attack 92: a time far beyond 2038 is kept to the millisecond', async ({ log }) => {
    const untilMs = 253_402_300_799_999;
    await log.append(draft('far', { untilMs, notBeforeMs: untilMs - 1 }));
    const [entry] = (await wholeLog(log))?.entries ?? [];
    assert.deepEqual([entry?.untilMs, entry?.notBeforeMs], [untilMs, untilMs - 1]);
  });

  it('events since a head are complete and in order; undo tells what it removed', async ({ log, other }, made) => {
    const a = await log.append(draft('a'));
    const b = await other.append(draft('b'));
    assert.deepEqual(await log.undo(a.entryId), a);
    assert.equal(await log.undo(a.entryId), undefined);
    assert.equal(await log.undo('nothing'), undefined);
    assert.deepEqual(await other.since(made), [
      { type: 'put', entry: a, restored: false },
      { type: 'put', entry: b, restored: false },
      { type: 'undo', entry: a, seq: made.seq + 3 },
    ]);
    const head = { epoch: made.epoch, seq: made.seq + 3 };
    assert.deepEqual(await log.head(), head);
    assert.deepEqual(await log.since(head), []);
    assert.equal(await log.since({ ...head, seq: head.seq + 1 }), undefined, 'behind');
    assert.equal(await log.since({ ...head, epoch: 'other' }), undefined, 'another epoch');
  });

  it('L8 L9 H10: entries leave a while after they have expired, not before', async (opened) => {
    const { log } = opened;
    await log.append(draft('short', { untilMs: opened.nowMs() + 1000 }));
    await log.append(draft('long', { untilMs: opened.nowMs() + 60_000 }));
    opened.advance(KEPT_AFTER_MS + 999);
    await opened.sweep();
    assert.equal((await wholeLog(log))?.entries.length, 2);
    opened.advance(1);
    await opened.sweep();
    assert.deepEqual(
      (await wholeLog(log))?.entries.map(({ id }) => id),
      ['long'],
    );
    opened.advance(60_000);
    await log.append(draft('new', { untilMs: 'forever', kind: 'client' }));
    assert.deepEqual(
      (await wholeLog(log))?.entries.map(({ id }) => id),
      ['new'],
      'append purges too',
    );
  });

  it('what was read and then lost is not completed: the rest would pass for the whole log', async ({
    log,
    lose,
  }, made) => {
    await log.append(draft('whole'));
    const read = { epoch: made.epoch, seq: made.seq + 1 };
    const missing = {
      ...draft('missing'),
      entryId: revocationEntryId('token', 'https://id.example', 'missing'),
      seq: 1,
      revokedAtMs: 1,
    };
    await log.rebuild([[missing]], read, read);
    assert.equal((await wholeLog(log))?.entries.length, 2);
    await lose();
    await assert.rejects(log.rebuild([[missing]], read, read), { kind: 'store_unavailable' });
    assert.equal(await log.head(), undefined);
  });

  it('replicas that rebuild at once make one log with what all of them knew', async ({ log, other, lose }, made) => {
    const entries = await Promise.all(['a', 'b', 'c'].map((id) => log.append(draft(id))));
    const last = { epoch: made.epoch, seq: made.seq + 3 };
    await lose();
    assert.equal(await log.head(), undefined);
    const rebuilt = await Promise.all([
      log.rebuild([entries.slice(0, 2)], last),
      other.rebuild([entries.slice(1)], made),
    ]);
    const heads = rebuilt.map(({ head }) => head);
    assert.equal(heads[0]?.epoch, heads[1]?.epoch);
    assert.notEqual(heads[0]?.epoch, made.epoch);
    const snapshot = await wholeLog(log);
    assert.deepEqual(snapshot?.entries.map(({ id }) => id).sort(), ['a', 'b', 'c']);
    assert.ok((snapshot?.head.seq ?? 0) >= last.seq);
    assert.deepEqual(
      snapshot?.entries.map(({ revokedAtMs }) => revokedAtMs).sort(),
      entries.map(({ revokedAtMs }) => revokedAtMs).sort(),
    );
    const events = await log.since({ epoch: heads[0]?.epoch as string, seq: (snapshot?.head.seq ?? 0) - 1 });
    assert.equal(events?.[0]?.type === 'put' && events[0].restored, true);
  });

  it('a log that fell behind what was seen gets a new epoch; an equal one stays', async ({ log }, made) => {
    const a = await log.append(draft('a'));
    const seen = { epoch: made.epoch, seq: made.seq + 1 };
    assert.deepEqual((await log.rebuild([[a]], seen)).head, seen);
    const { head } = await log.rebuild([], { epoch: made.epoch, seq: made.seq + 9 });
    assert.notEqual(head.epoch, made.epoch);
    assert.ok(head.seq >= made.seq + 9);
    assert.equal((await wholeLog(log))?.entries.length, 1, 'what it held stays');
  });

  it('1,200 entries are rebuilt whole', async ({ log, lose }) => {
    const entries = [];
    for (let n = 0; n < 1200; n += 1) entries.push(log.append(draft(`n${n}`)));
    const all = await Promise.all(entries);
    await lose();
    const { head } = await log.rebuild([all.slice(0, 500), all.slice(500, 1000), all.slice(1000)], undefined);
    const snapshot = await wholeLog(log);
    assert.deepEqual(snapshot?.head, head);
    assert.equal(snapshot?.entries.length, 1200);
  });

  it('parallel appends lose none and leave no gap', async ({ log, other }, made) => {
    const appended = await Promise.all(
      Array.from({ length: 100 }, (_, n) => (n % 2 ? log : other).append(draft(`p${n}`))),
    );
    const seqs = appended.map(({ seq }) => seq).sort((a, b) => a - b);
    assert.deepEqual(
      seqs,
      Array.from({ length: 100 }, (_, n) => made.seq + 1 + n),
    );
    assert.equal((await log.since(made))?.length, 100);
  });

  it('a change by one replica is noticed by another without traffic', async ({ log, other }, made) => {
    const { promise, resolve } = Promise.withResolvers<StoreNotice>();
    const isNew = (notice: StoreNotice) => notice.type === 'revocations' && notice.head.seq > made.seq;
    await using _ = await other.watch((notice) => isNew(notice) && resolve(notice));
    await log.append(draft('a'));
    assert.deepEqual(await promise, { type: 'revocations', head: { epoch: made.epoch, seq: made.seq + 1 } });
  });
}
