// Followers in several processes of one replica: what one of them could not tell the shared log holds in all of them, and
// what is taken back in one does not come back from another.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { amongSiblings } from '../../src/app/siblings.ts';
import { systemClock } from '../../src/core/clock.ts';
import { storeUnavailable } from '../../src/core/errors.ts';
import { RevocationFollower } from '../../src/revocation/follower.ts';
import { RevocationIndex } from '../../src/revocation/index.ts';
import type { RevocationLog } from '../../src/stores/contracts/revocations.ts';
import { MemoryRevocations } from '../../src/stores/memory/revocations.ts';
import { draft } from '../conformance/revocations.ts';

/** Two processes, one log that both lose and regain together. */
async function pair() {
  const shared = new MemoryRevocations(systemClock);
  const away = [false, false];
  let appends = 0;
  const logOf = (at: number) =>
    new Proxy<RevocationLog>(shared, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function' || name === 'watch') return value;
        return async (...args: unknown[]) => {
          if (away[at]) throw storeUnavailable('cut');
          if (name === 'append') appends += 1;
          return value.apply(target, args);
        };
      },
    });
  const indexes = [new RevocationIndex(), new RevocationIndex()] as const;
  const followers = indexes.map(
    (index, at) =>
      new RevocationFollower({
        ...{ log: logOf(at), index, clock: systemClock, onStoreDown: 'known', knownForMs: 60_000, waitMs: 500 },
      }),
  );
  const [a, b] = followers as [RevocationFollower, RevocationFollower];
  const among = (own: RevocationFollower, other: RevocationFollower) =>
    amongSiblings(own, {
      hold: async (entries) => {
        for (const entry of entries) other.hold(entry);
      },
      withdraw: async (entryId) => other.release(entryId),
      notice: async () => undefined,
    });
  await a.start();
  await b.start();
  return {
    ...{ a, b, shared },
    revokers: { a: among(a, b), b: among(b, a) },
    ids: () => indexes.map((index) => [...index.entries()].map(({ id }) => id).sort()),
    appends: () => appends,
    /** For each process: whether it reaches the log. What waits is sent by its own timer. */
    cut: (first: boolean, second: boolean) => {
      away[0] = first;
      away[1] = second;
    },
    async settled() {
      const deadline = Date.now() + 20_000;
      while (a.pending().length + b.pending().length > 0 && Date.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 20));
      await Promise.all([a.observe(shared.current()), b.observe(shared.current())]);
    },
    async [Symbol.asyncDispose]() {
      await a[Symbol.asyncDispose]();
      await b[Symbol.asyncDispose]();
    },
  };
}

test('what one process could not tell the log is in force in its siblings, and is sent once', async () => {
  await using it = await pair();
  it.cut(true, true);
  assert.equal((await it.revokers.a.revoke(draft('stolen'))).applied, 'pending');
  assert.deepEqual(it.ids(), [['stolen'], ['stolen']]);
  assert.deepEqual([it.a.pending().length, it.b.pending().length], [1, 0]);
  it.cut(false, false);
  await it.settled();
  assert.deepEqual([it.ids(), it.appends()], [[['stolen'], ['stolen']], 1]);
  assert.deepEqual([it.a.unlogged(), it.b.unlogged()], [[], []]);
});

test('a sibling holds on through a reload of a log that lacks the entry', async () => {
  await using it = await pair();
  it.cut(true, true);
  await it.revokers.a.revoke(draft('stolen'));
  it.cut(true, false);
  it.b.refresh();
  await it.b.observe(undefined);
  assert.deepEqual(it.ids()[1], ['stolen']);
});

test('an older entry of the same thing in the log settles nothing', async () => {
  await using it = await pair();
  await it.revokers.a.revoke({ ...draft('alice'), notBeforeMs: 1000 });
  await it.b.observe(it.shared.current());
  it.cut(true, true);
  await it.revokers.a.revoke({ ...draft('alice'), notBeforeMs: 2000 });
  it.cut(true, false);
  it.b.refresh();
  await it.b.observe(undefined);
  assert.deepEqual(
    it.b.unlogged().map(({ notBeforeMs }) => notBeforeMs),
    [2000],
  );
});

test('what is taken back in one process is taken back in its siblings, and nobody sends it afterwards', async () => {
  await using it = await pair();
  it.cut(true, true);
  const { entry } = await it.revokers.a.revoke(draft('innocent'));
  it.cut(true, false);
  assert.equal(await it.revokers.b.undo(entry.entryId), true);
  assert.deepEqual(it.ids(), [[], []]);
  it.cut(false, false);
  await it.settled();
  assert.deepEqual([it.ids(), it.appends()], [[[], []], 0]);
});
