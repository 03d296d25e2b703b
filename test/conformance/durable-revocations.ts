// What every DurableRevocations must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DurableRevocation, DurableRevocations } from '../../src/stores/contracts/durable-revocations.ts';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';
import { KEPT_AFTER_MS, type RevocationGuard } from '../../src/stores/contracts/revocations.ts';
import { draft } from './revocations.ts';

/** An opened backend. */
export interface OpenedDurable extends AsyncDisposable {
  readonly store: DurableRevocations;
  /** Makes the backend unreachable. */
  cut(): Promise<void>;
}

const NOW = Date.UTC(2030, 0, 1, 0, 0, 0, 123);
const HOUR = 3_600_000;

/** Contract, concurrency and failure tiers. */
export function durableRevocationsConformance(backend: string, open: () => Promise<OpenedDurable>): void {
  const it = (name: string, body: (opened: OpenedDurable) => Promise<void>) =>
    test(`${backend} durable revocations: ${name}`, async () => {
      await using opened = await open();
      await body(opened);
    });
  const all = (store: DurableRevocations, nowMs = NOW) => store.page('', 100, nowMs);

  it('L7: an entry comes back whole, with when, why and what', async ({ store }) => {
    const forever = draft('Ω:"\n{}', { kind: 'tenant', untilMs: 'forever', notBeforeMs: NOW - 1 });
    const entryId = revocationEntryId('tenant', forever.issuer, forever.id);
    const expected: DurableRevocation = {
      entry: { ...forever, entryId, seq: 0, revokedAtMs: NOW },
      madeAtMs: NOW,
      undoneAtMs: undefined,
    };
    assert.deepEqual(await store.put(forever, NOW), expected);
    assert.deepEqual(await all(store), [expected]);
  });

  it('L7: revoking again replaces reason and time, and is always later than before', async ({ store }) => {
    const first = await store.put(draft('a'), NOW);
    await store.settle(first, NOW + 5000);
    const second = await store.put(draft('a', { reason: 'again' }), NOW - 1000);
    assert.equal(second.entry.reason, 'again');
    assert.equal(second.madeAtMs, NOW + 5001, 'the log had it at NOW + 5000');
    assert.deepEqual(await all(store), [second]);
    assert.deepEqual(await store.unsent(NOW + HOUR, 10), [second]);
  });

  it('what the shared log took elsewhere is adopted, and changes made here since are not lost by it', async ({
    store,
  }) => {
    const elsewhere = (id: string, revokedAtMs: number, reason = 'elsewhere') => {
      const given = draft(id, { reason });
      const entryId = revocationEntryId(given.kind, given.issuer, given.id);
      return { ...given, entryId, seq: 7, revokedAtMs };
    };
    const fresh = elsewhere('new', NOW);
    assert.deepEqual(await store.adopt([elsewhere('new', NOW - 1), fresh]), [fresh.entryId], 'the last of two counts');
    assert.deepEqual(await store.adopt([fresh]), []);
    assert.deepEqual(await store.adopt([]), []);
    assert.deepEqual(await store.unsent(NOW + HOUR, 10), [], 'the log knows it already');
    const waiting = await store.put(draft('mine', { reason: 'mine' }), NOW);
    await store.adopt([elsewhere('mine', NOW + 1)]);
    assert.deepEqual(await store.unsent(NOW + HOUR, 10), [waiting], 'what still waits to be told wins');
    const reasons = async () =>
      new Map((await all(store)).map(({ entry, undoneAtMs }) => [entry.id, undoneAtMs ?? entry.reason]));
    assert.deepEqual(
      await reasons(),
      new Map<string, unknown>([
        ['new', 'elsewhere'],
        ['mine', 'mine'],
      ]),
    );
    await store.adopt([elsewhere('new', NOW + 10, 'again')]);
    await store.adoptUndo(elsewhere('new', NOW));
    assert.equal((await reasons()).get('new'), 'again', 'an undo of the older entry does not reach the newer one');
    await store.adoptUndo(elsewhere('new', NOW + 10));
    assert.equal((await reasons()).get('new'), NOW + 10);
    await store.adopt([elsewhere('new', NOW + 10)]);
    assert.equal((await reasons()).get('new'), NOW + 10, 'an entry that was taken back does not come back');
    await store.adopt([elsewhere('new', NOW + 12, 'later')]);
    assert.equal((await reasons()).get('new'), 'later');
  });

  it('what the log has of the durable store is told from what is later, however late it came', async ({ store }) => {
    const made = await store.put(draft('a', { reason: 'first' }), NOW);
    const logged = { ...made.entry, seq: 1, madeAtMs: made.madeAtMs, revokedAtMs: NOW + 50 };
    const again = await store.put(draft('a', { reason: 'again' }), NOW);
    await store.settle(again, NOW + 40);
    assert.deepEqual(await store.adopt([logged]), [], 'it was made before, and came later');
    await store.adoptUndo(logged);
    assert.equal((await all(store))[0]?.undoneAtMs, undefined);
    await store.undo(made.entry.entryId, NOW - 1000);
    const [undone] = await all(store);
    assert.equal(undone?.undoneAtMs, NOW + 40, 'after what it takes back');
    await store.settle(undone as DurableRevocation, NOW + 40);
    assert.deepEqual(await store.adopt([{ ...logged, madeAtMs: again.madeAtMs, revokedAtMs: NOW + 60 }]), []);
    assert.deepEqual(await store.unsent(NOW + HOUR, 10), [undone], 'the log is told of the undo once more');
    await store.settle(undone as DurableRevocation, NOW + 60);
    const elsewhere = { ...logged, reason: 'over it', madeAtMs: NOW + 41, revokedAtMs: NOW + 70 };
    assert.deepEqual(await store.adopt([elsewhere]), [logged.entryId]);
    const third = await store.put(draft('a', { reason: 'third' }), NOW);
    assert.ok(third.madeAtMs > NOW + 41, 'later than what was adopted');
    await store.adoptUndo({ ...logged, reason: 'third', madeAtMs: third.madeAtMs, revokedAtMs: NOW + 80 });
    assert.equal((await all(store))[0]?.undoneAtMs, third.madeAtMs, 'taken back before it was settled');
    assert.deepEqual(await store.unsent(NOW + HOUR, 10), []);
    const last = await store.put(draft('a'), NOW);
    assert.ok(last.madeAtMs > third.madeAtMs, 'later than the undo');
  });

  it('what cannot be remembered keeps nothing else from it', async ({ store }) => {
    const logged = (id: string, more: object = {}) => {
      const given = draft(id, more);
      return { ...given, entryId: revocationEntryId(given.kind, given.issuer, id), seq: 1, revokedAtMs: NOW };
    };
    const good = logged('good');
    const odd = [
      logged('a\0b'),
      logged('\ud800'),
      logged('ever', { untilMs: 'forever' }),
      logged('x', { reason: '\0' }),
    ];
    assert.deepEqual(await store.adopt([...odd, good]), [good.entryId]);
    assert.deepEqual(await store.adopt(odd), []);
  });

  it('attack 92: a time far beyond 2038 is kept to the millisecond, one beyond 9999 as its end', async ({ store }) => {
    const untilMs = 253_402_300_799_999;
    await store.put(draft('far', { untilMs, notBeforeMs: untilMs - 1 }), NOW);
    await store.put(draft('farther', { untilMs: Number.MAX_SAFE_INTEGER }), NOW);
    const entries = (await all(store)).map(({ entry }) => [entry.id, entry.untilMs, entry.notBeforeMs]);
    assert.deepEqual(
      new Set(entries),
      new Set([
        ['far', untilMs, untilMs - 1],
        ['farther', untilMs, undefined],
      ]),
    );
  });

  it('L8 H10: an entry lives as long as what it refuses, to the millisecond, and leaves a while later', async ({
    store,
  }) => {
    await store.put(draft('short', { untilMs: NOW + 1000 }), NOW);
    await store.put(draft('long', { untilMs: NOW + HOUR }), NOW);
    assert.equal((await all(store, NOW + 999)).length, 2);
    assert.deepEqual(
      (await all(store, NOW + 1000)).map(({ entry }) => entry.id),
      ['long'],
    );
    assert.equal(await store.undo(revocationEntryId('token', 'https://id.example', 'short'), NOW + 1000), undefined);
    assert.equal(await store.expire(NOW + KEPT_AFTER_MS + 999), 0);
    assert.equal(await store.expire(NOW + KEPT_AFTER_MS + 1000), 1);
    assert.equal(await store.expire(NOW + KEPT_AFTER_MS + HOUR), 1);
    assert.deepEqual(await all(store, NOW), []);
  });

  it('what was not told is listed until it is settled, oldest first, young ones left out', async ({ store }) => {
    const a = await store.put(draft('a'), NOW);
    const b = await store.put(draft('b'), NOW + 10);
    assert.deepEqual(await store.unsent(NOW + 10, 10), [a, b]);
    assert.deepEqual(await store.unsent(NOW + 9, 10), [a]);
    assert.deepEqual(await store.unsent(NOW + 10, 1), [a]);
    await store.settle(a, NOW + 77);
    assert.deepEqual(await store.unsent(NOW + 10, 10), [b]);
    const [settled] = (await all(store)).filter(({ entry }) => entry.id === 'a');
    assert.deepEqual([settled?.entry.revokedAtMs, settled?.madeAtMs], [NOW + 77, NOW], "the log's time counts then");
  });

  it('settling what has changed meanwhile settles nothing', async ({ store }) => {
    const first = await store.put(draft('a'), NOW);
    const second = await store.put(draft('a', { reason: 'again' }), NOW + 1);
    await store.settle(first, NOW + 2);
    assert.deepEqual(await store.unsent(NOW + HOUR, 10), [second]);
    await store.undo(second.entry.entryId, NOW + 3);
    await store.settle(second, NOW + 4);
    assert.equal((await store.unsent(NOW + HOUR, 10)).length, 1, 'the undo is still to be told');
  });

  it('an undo is remembered for 30 days, happens once, and ends with the next revocation', async ({ store }) => {
    const made = await store.put(draft('a', { kind: 'subject', untilMs: 'forever' }), NOW);
    const undone = await store.undo(made.entry.entryId, NOW + 1);
    assert.equal(undone?.undoneAtMs, NOW + 1);
    assert.equal(await store.undo(made.entry.entryId, NOW + 2), undefined);
    assert.equal(await store.undo('nothing', NOW), undefined);
    assert.deepEqual(await all(store), [undone]);
    const month = NOW + 1 + 30 * 24 * HOUR;
    assert.equal(await store.expire(month), 0, 'not before the log was told');
    await store.settle(undone as DurableRevocation, NOW);
    assert.equal(await store.expire(month - 1), 0);
    assert.equal(await store.expire(month), 1);
    await store.put(draft('a', { kind: 'subject', untilMs: 'forever' }), NOW);
    await store.undo(made.entry.entryId, NOW + 1);
    const again = await store.put(draft('a', { kind: 'subject', untilMs: 'forever' }), NOW + 2);
    assert.equal(again.undoneAtMs, undefined);
  });

  it('pages of every size hold every entry once', async ({ store }) => {
    for (let n = 0; n < 7; n += 1) await store.put(draft(`n${n}`), NOW);
    for (let size = 1; size <= 8; size += 1) {
      const seen: string[] = [];
      for (let after = ''; ; ) {
        const page = await store.page(after, size, NOW);
        seen.push(...page.map(({ entry }) => entry.id));
        after = page.at(-1)?.entry.entryId ?? '';
        if (page.length < size) break;
      }
      assert.deepEqual([...seen].sort(), ['n0', 'n1', 'n2', 'n3', 'n4', 'n5', 'n6']);
    }
  });

  it('parallel revocations of one thing end as one entry, and lose none of others', async ({ store }) => {
    const puts = Array.from({ length: 40 }, (_, n) =>
      store.put(draft(n % 2 ? 'same' : `other${n}`, { reason: `${n}` }), NOW),
    );
    const made = await Promise.all(puts);
    const entries = await all(store);
    assert.equal(entries.length, 21);
    const same = entries.find(({ entry }) => entry.id === 'same');
    const last = made.filter(({ entry }) => entry.id === 'same').sort((a, b) => b.madeAtMs - a.madeAtMs)[0];
    assert.deepEqual(same, last, 'the latest one stands');
  });

  it('a guard is shown the active entry alone, and what it makes of the draft is remembered', async ({ store }) => {
    const shown: string[] = [];
    const guard: RevocationGuard = (given, held) => {
      shown.push(held.reason);
      return { ...given, untilMs: 'forever', reason: `${given.reason} beside ${held.reason}` };
    };
    const put = (reason: string, nowMs = NOW) =>
      store.put(draft('a', { kind: 'client', reason, untilMs: NOW + HOUR }), nowMs, guard);
    const first = await put('one');
    assert.equal((await put('two')).entry.reason, 'two beside one');
    await store.undo(first.entry.entryId, NOW);
    assert.equal((await put('three')).entry.untilMs, NOW + HOUR, 'what was taken back counts no more');
    assert.equal((await put('four', NOW + HOUR)).entry.reason, 'four', 'nor what has expired');
    assert.deepEqual(shown, ['one']);
    const refusing = () => {
      throw new TypeError('refused');
    };
    await assert.rejects(store.put(draft('a', { kind: 'client', untilMs: NOW + 3 * HOUR }), NOW, refusing), TypeError);
    assert.deepEqual(
      (await all(store)).map(({ entry }) => entry.reason),
      ['four'],
    );
  });

  it('of parallel revocations that may not shorten one another the longest stands', async ({ store }) => {
    const longest: RevocationGuard = (given, held) => ({
      ...given,
      untilMs: Math.max(Number(given.untilMs), Number(held.untilMs)),
    });
    const hours = Array.from({ length: 50 }, (_, n) => ((n * 7) % 50) + 1);
    const put = (each: number) => store.put(draft('a', { untilMs: NOW + each * HOUR }), NOW, longest);
    await Promise.all(hours.map(put));
    assert.deepEqual(
      (await all(store)).map(({ entry }) => entry.untilMs),
      [NOW + 50 * HOUR],
    );
  });

  it('one winner of parallel undos', async ({ store }) => {
    const { entry } = await store.put(draft('a'), NOW);
    const undone = await Promise.all(Array.from({ length: 10 }, (_, n) => store.undo(entry.entryId, NOW + n)));
    assert.equal(undone.filter((result) => result !== undefined).length, 1);
  });

  it('with the store away every call is store_unavailable', async ({ store, cut }) => {
    const made = await store.put(draft('a'), NOW);
    await cut();
    const calls = [
      () => store.put(draft('b'), NOW),
      () => store.undo(made.entry.entryId, NOW),
      () => store.settle(made, NOW),
      () => store.unsent(NOW, 1),
      () => store.page('', 1, NOW),
      () => store.expire(NOW),
    ];
    for (const call of calls) await assert.rejects(call(), { kind: 'store_unavailable' });
  });
}
