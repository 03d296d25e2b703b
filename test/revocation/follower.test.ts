import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../../src/core/clock.ts';
import { storeUnavailable } from '../../src/core/errors.ts';
import { RevocationFollower } from '../../src/revocation/follower.ts';
import { RevocationIndex } from '../../src/revocation/index.ts';
import { localEntry } from '../../src/revocation/pending.ts';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';
import type { RevocationEntry, RevocationLog } from '../../src/stores/contracts/revocations.ts';
import { MemoryRevocations } from '../../src/stores/memory/revocations.ts';
import { draft, wholeLog } from '../conformance/revocations.ts';
import { until } from './until.ts';

/** A clock whose monotonic time the test moves; wall time is real, since entries are compared with it. */
function manualClock() {
  let ms = 0;
  return {
    nowMs: systemClock.nowMs,
    monotonicMs: () => ms,
    advance(by: number) {
      ms += by;
    },
  };
}

/** A log that a test can cut off, like a store that went away. */
function cuttable(log: MemoryRevocations): { log: RevocationLog; cut(away: boolean): void } {
  let away = false;
  const names = new Set(['append', 'undo', 'head', 'snapshot', 'since', 'rebuild']);
  const proxy = new Proxy(log, {
    get(target, name) {
      if (away && names.has(String(name))) return async () => Promise.reject(storeUnavailable('cut'));
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return {
    log: proxy,
    cut(now) {
      away = now;
    },
  };
}

type Settings = { onStoreDown?: 'known' | 'deny' | 'allow'; knownForMs?: number };

function replica(shared: MemoryRevocations, { onStoreDown = 'known', knownForMs = 60_000 }: Settings = {}) {
  const clock = manualClock();
  const index = new RevocationIndex();
  const { log, cut } = cuttable(shared);
  const follower = new RevocationFollower({ log, index, clock, onStoreDown, knownForMs, waitMs: 500 });
  const ids = () => [...index.entries()].map(({ id }) => id).sort();
  return { follower, index, clock, cut, ids, [Symbol.asyncDispose]: () => follower[Symbol.asyncDispose]() };
}

test('an empty store gets a log, and the replica is ready', async () => {
  const shared = new MemoryRevocations(systemClock);
  await using a = replica(shared);
  assert.deepEqual([a.follower.state(), a.follower.policy(), a.follower.loadedOnce], ['unknown', 'deny', false]);
  await a.follower.start();
  assert.deepEqual([a.follower.state(), a.follower.policy(), a.follower.loadedOnce], ['ready', 'index', true]);
  assert.deepEqual(a.follower.head, shared.current());
  assert.equal(a.follower.observe(shared.current()), 'current');
});

test('a replica that is reading what another revoked is in step, and not degraded', async () => {
  const shared = new MemoryRevocations(systemClock);
  await using a = replica(shared);
  await a.follower.start();
  await shared.append(localEntry(draft('stolen'), systemClock.nowMs()));
  const reading = a.follower.observe(shared.current());
  assert.notEqual(reading, 'current');
  assert.equal(a.follower.state(), 'ready');
  assert.equal(await reading, 'current');
});

test('a replica that reads everything anew is not in step until it has', async () => {
  const shared = new MemoryRevocations(systemClock);
  await using a = replica(shared);
  await a.follower.start();
  a.follower.refresh();
  assert.equal(a.follower.state(), 'known');
  await until(async () => a.follower.state() === 'ready');
});

test('L6: a revocation through one replica is known to another by its next batch', async () => {
  const shared = new MemoryRevocations(systemClock);
  await using a = replica(shared);
  await using b = replica(shared);
  await a.follower.start();
  await b.follower.start();
  const answer = await a.follower.revoke(draft('stolen'));
  assert.equal(answer.applied, 'all');
  assert.deepEqual(a.ids(), ['stolen']);
  assert.equal(await b.follower.observe(shared.current()), 'current');
  assert.deepEqual(b.ids(), ['stolen']);
  assert.equal(await b.follower.undo(answer.entry.entryId), true);
  assert.equal(await a.follower.observe(shared.current()), 'current');
  assert.deepEqual([a.ids(), b.ids()], [[], []]);
});

test('attack 90: a flushed store is not believed until the replicas put back what they hold together', async () => {
  const shared = new MemoryRevocations(systemClock);
  await using a = replica(shared);
  await using b = replica(shared);
  await a.follower.start();
  await b.follower.start();
  await a.follower.revoke(draft('one'));
  b.cut(true);
  await a.follower.revoke(draft('two'));
  b.cut(false);
  shared.lose();
  assert.equal(await b.follower.observe(undefined), 'current');
  assert.equal(await a.follower.observe(shared.current()), 'current');
  assert.equal(await b.follower.observe(shared.current()), 'current');
  assert.deepEqual(
    [a.ids(), b.ids()],
    [
      ['one', 'two'],
      ['one', 'two'],
    ],
  );
  assert.deepEqual((await wholeLog(shared))?.entries.map(({ id }) => id).sort(), ['one', 'two']);
});

test('attack 90: a store that lost the end of its log gets a new epoch, whatever its numbers say', async () => {
  const shared = new MemoryRevocations(systemClock);
  await using a = replica(shared);
  await a.follower.start();
  await a.follower.revoke(draft('one'));
  const old = shared.current();
  await a.follower.revoke(draft('two'));
  shared.rewind(1);
  assert.deepEqual(shared.current(), old);
  assert.equal(await a.follower.observe(old), 'current');
  assert.notEqual(a.follower.head?.epoch, old?.epoch);
  assert.deepEqual((await wholeLog(shared))?.entries.map(({ id }) => id).sort(), ['one', 'two']);
});

test('what was undone is not brought back by a replica that had not seen it undone', async () => {
  const shared = new MemoryRevocations(systemClock);
  await using a = replica(shared);
  await using b = replica(shared);
  await a.follower.start();
  await b.follower.start();
  const { entry } = await a.follower.revoke(draft('pardoned'));
  await b.follower.observe(shared.current());
  b.cut(true);
  await a.follower.undo(entry.entryId);
  shared.lose();
  await a.follower.observe(undefined);
  b.cut(false);
  await b.follower.observe(shared.current());
  await until(async () => {
    await a.follower.observe(shared.current());
    await b.follower.observe(shared.current());
    return a.ids().length === 0 && b.ids().length === 0;
  });
  assert.deepEqual((await wholeLog(shared))?.entries, []);
  assert.equal((await a.follower.revoke(draft('pardoned'))).applied, 'all');
  await b.follower.observe(shared.current());
  assert.deepEqual([a.ids(), b.ids()], [['pardoned'], ['pardoned']], 'revoking again works');
});

test('revoking with the store away holds here at once, says pending, and is sent when it is back', async () => {
  const shared = new MemoryRevocations(systemClock);
  await using a = replica(shared);
  await a.follower.start();
  a.cut(true);
  const { applied, entry } = await a.follower.revoke(draft('late'));
  assert.equal(applied, 'pending');
  assert.deepEqual(a.ids(), ['late']);
  assert.deepEqual(a.follower.pending(), [entry]);
  a.cut(false);
  a.clock.advance(2000);
  await until(async () => a.follower.pending().length === 0);
  assert.deepEqual(
    (await wholeLog(shared))?.entries.map(({ id }) => id),
    ['late'],
  );
});

test('a pending revocation survives a reload of everything', async () => {
  const shared = new MemoryRevocations(systemClock);
  await using a = replica(shared);
  await a.follower.start();
  a.cut(true);
  await a.follower.revoke(draft('late'));
  shared.lose();
  a.cut(false);
  assert.equal(await a.follower.observe(undefined), 'current');
  assert.deepEqual(a.ids(), ['late']);
});

test('known holds for known_for without contact, deny never, allow always', async () => {
  const shared = new MemoryRevocations(systemClock);
  for (const [onStoreDown, fresh, stale] of [
    ['known', 'index', 'deny'],
    ['deny', 'deny', 'deny'],
    ['allow', 'index', 'index'],
  ] as const) {
    await using a = replica(shared, { onStoreDown, knownForMs: 60_000 });
    await a.follower.start();
    a.cut(true);
    assert.equal(await a.follower.observe(undefined), 'lost');
    a.clock.advance(60_000);
    assert.deepEqual([a.follower.state(), a.follower.policy()], ['known', fresh], onStoreDown);
    a.clock.advance(1);
    assert.deepEqual([a.follower.state(), a.follower.policy()], ['unknown', stale], onStoreDown);
  }
});

test('an index that was never complete is not known: start with the store away denies', async () => {
  const shared = new MemoryRevocations(systemClock);
  await using a = replica(shared);
  a.cut(true);
  await a.follower.start();
  assert.deepEqual([a.follower.loadedOnce, a.follower.policy()], [false, 'deny']);
  a.cut(false);
  await until(async () => a.follower.loadedOnce);
  assert.equal(a.follower.policy(), 'index');
});

test('a hundred requests that find the index behind cause one catching up', async () => {
  const shared = new MemoryRevocations(systemClock);
  let reads = 0;
  const counting = new Proxy(shared, {
    get(target, name) {
      if (name === 'since') reads += 1;
      // A replica that hears no notices only follows its batches.
      if (name === 'watch') return async () => ({ [Symbol.asyncDispose]: async () => undefined });
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  await using a = replica(counting);
  await a.follower.start();
  reads = 0;
  await shared.append(draft('x'));
  const answers = await Promise.all(Array.from({ length: 100 }, () => a.follower.observe(shared.current())));
  assert.ok(answers.every((answer) => answer === 'current'));
  assert.equal(reads, 1);
});

/** A log that is read slowly once it is told so: after a first batch it waits at one gate, after a second at another. */
function slowlyRead(shared: MemoryRevocations) {
  let gates: readonly PromiseWithResolvers<void>[] = [];
  const begun = Promise.withResolvers<void>();
  async function* batches(rest: AsyncIterable<readonly RevocationEntry[]>) {
    for (const gate of gates) {
      yield [];
      begun.resolve();
      await gate.promise;
    }
    yield [];
    yield* rest;
  }
  const log = new Proxy(shared, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (name !== 'snapshot') return value.bind(target);
      return async () => {
        const snapshot = await target.snapshot();
        return snapshot && { from: snapshot.from, batches: batches(snapshot.batches) };
      };
    },
  });
  const close = () => {
    gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    return gates.map(({ resolve }) => resolve);
  };
  return { log, close, begun: begun.promise };
}

test('while everything is read anew the old entries refuse, and only the first request waits for it', async () => {
  const shared = new MemoryRevocations(systemClock);
  const { log, close } = slowlyRead(shared);
  const index = new RevocationIndex();
  let waitMs = 20;
  const options = { log, index, clock: systemClock, onStoreDown: 'known', knownForMs: 60_000 } as const;
  await using follower = new RevocationFollower({
    ...options,
    get waitMs() {
      return waitMs;
    },
  });
  await follower.start();
  await follower.revoke(draft('old'));
  const gates = close();
  shared.lose();
  assert.equal(await follower.observe(undefined), 'lost');
  // Whoever waited now would wait until the gate opens, which is after.
  waitMs = 600_000;
  for (let n = 0; n < 3; n += 1) assert.equal(await follower.observe(undefined), 'lost');
  assert.deepEqual([follower.policy(), index.madeMs(draft('old')) > 0], ['index', true]);
  for (const open of gates) open();
  await until(async () => follower.head?.epoch === shared.current()?.epoch);
  assert.equal(await follower.observe(shared.current()), 'current');
  assert.ok(index.madeMs(draft('old')) > 0);
});

test('what is revoked elsewhere while everything is read anew is refused before reading ends', async () => {
  const shared = new MemoryRevocations(systemClock);
  const { log, close, begun } = slowlyRead(shared);
  const index = new RevocationIndex();
  const options = { index, clock: systemClock, onStoreDown: 'known', knownForMs: 60_000, waitMs: 20 } as const;
  await using follower = new RevocationFollower({ ...options, log });
  await follower.start();
  await follower.revoke(draft('old'));
  const [first, second] = close();
  follower.refresh();
  await begun;
  await shared.append(draft('meanwhile'));
  first?.();
  await until(async () => index.madeMs(draft('meanwhile')) > 0);
  second?.();
  await until(async () => (await follower.observe(shared.current())) === 'current');
  assert.deepEqual([...index.entries()].map(({ id }) => id).sort(), ['meanwhile', 'old']);
});

test('attack 90: who finds the log lost and knows nothing itself is not ready before the others have put back theirs', async () => {
  const shared = new MemoryRevocations(systemClock);
  const index = new RevocationIndex();
  const options = {
    log: shared,
    index,
    clock: systemClock,
    onStoreDown: 'known',
    knownForMs: 60_000,
    waitMs: 20,
  } as const;
  await using follower = new RevocationFollower(options);
  // Another replica hears that there is a new log, and takes its time.
  await using _ = await shared.watch(() => undefined);
  const started = follower.start();
  await until(async () => shared.current() !== undefined);
  await delay(300);
  assert.deepEqual([follower.loadedOnce, follower.policy()], [false, 'deny']);
  const late = { ...draft('known elsewhere'), entryId: '', seq: 0, revokedAtMs: systemClock.nowMs() };
  await shared.rebuild([[{ ...late, entryId: revocationEntryId(late.kind, late.issuer, late.id) }]], undefined);
  await started;
  assert.deepEqual([follower.loadedOnce, index.madeMs(late) > 0], [true, true]);
});

test('a late reply with an older head of the same log is no loss', async () => {
  const shared = new MemoryRevocations(systemClock);
  await using a = replica(shared);
  await a.follower.start();
  const old = shared.current();
  await a.follower.revoke(draft('x'));
  assert.equal(await a.follower.observe(old), 'current');
  assert.equal(a.follower.head?.epoch, old?.epoch);
});

test('attack 90: a log that is lost between its head and its events, and made anew by who knows less, is not taken as it is', async () => {
  const shared = new MemoryRevocations(systemClock);
  let lost = false;
  const log = new Proxy(shared, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name !== 'since' || !lost) return typeof value === 'function' ? value.bind(target) : value;
      return async () => {
        lost = false;
        target.lose();
        await target.rebuild([], undefined);
        return undefined;
      };
    },
  });
  const index = new RevocationIndex();
  const settings = { onStoreDown: 'known', knownForMs: 60_000, waitMs: 5000, clock: manualClock() } as const;
  await using follower = new RevocationFollower({ log, index, ...settings });
  await follower.start();
  await follower.revoke(draft('stolen'));
  lost = true;
  await shared.append(localEntry(draft('other'), systemClock.nowMs()));
  await until(async () => !lost && follower.head?.epoch === shared.current()?.epoch);
  assert.ok([...index.entries()].some(({ id }) => id === 'stolen'));
  assert.ok((await wholeLog(shared))?.entries.some(({ id }) => id === 'stolen'));
});

test('a durable store that is back and slow, or gone again, has nobody refused; what only it holds is put into the log', async () => {
  const shared = new MemoryRevocations(systemClock);
  const only = localEntry(draft('only-there'), systemClock.nowMs());
  let answer = Promise.withResolvers<void>();
  async function* remembered() {
    await answer.promise;
    yield { entries: [only], undone: [] };
  }
  const [index, clock] = [new RevocationIndex(), manualClock()];
  const settings = { onStoreDown: 'deny' as const, knownForMs: 60_000, waitMs: 500 };
  await using follower = new RevocationFollower({ log: shared, index, clock, ...settings, remembered });
  const starting = follower.start();
  answer.reject(storeUnavailable('away'));
  await starting;
  assert.equal(follower.state(), 'ready');
  for (const outcome of ['gone', 'back']) {
    answer = Promise.withResolvers<void>();
    follower.complete();
    await delay(20);
    assert.equal(follower.observe(shared.current()), 'current', 'asked while the durable store says nothing');
    if (outcome === 'gone') answer.reject(storeUnavailable('away'));
    else answer.resolve();
  }
  await until(async () => (await follower.observe(shared.current())) === 'current' && index.size === 1, 5000);
  assert.equal(index.get(only.kind, only.issuer, only.id)?.entryId, only.entryId);
});
