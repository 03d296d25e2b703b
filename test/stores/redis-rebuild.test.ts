// Rebuilding and reading a revocation log of several calls over real Redis: who makes it, what the others see meanwhile, and
// that what changes while it is read is neither lost nor brought back.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Redis } from 'ioredis';
import { randomId } from '../../src/core/ids.ts';
import { readLog } from '../../src/revocation/reading.ts';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';
import type { RevocationEntry } from '../../src/stores/contracts/revocations.ts';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { keyspace } from '../../src/stores/redis/keyspace.ts';
import { draft, wholeLog } from '../conformance/revocations.ts';
import { startRedis } from '../support/redis-server.ts';

const server = await startRedis();
const admin = new Redis(server.url);
after(async () => {
  admin.disconnect();
  await server[Symbol.asyncDispose]();
});

const unavailable = { kind: 'store_unavailable' };
const entry = (id: string): RevocationEntry => {
  const given = draft(id);
  return { ...given, entryId: revocationEntryId(given.kind, given.issuer, id), seq: 1, revokedAtMs: 1_800_000_000_000 };
};
const entries = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => entry(`n${from + n}`));

async function openThree() {
  let now = 1_800_000_000_000;
  const settings = { url: server.url, prefix: `t.${randomId()}`, timeoutMs: 2000 };
  const stores = [1, 2, 3].map(() => openRedis(settings, { testNowMs: () => now }));
  await Promise.all(stores.map((store) => store.ready(5000)));
  const [a, b, c] = stores.map((store) => store.revocations) as [
    (typeof stores)[0]['revocations'],
    (typeof stores)[0]['revocations'],
    (typeof stores)[0]['revocations'],
  ];
  return {
    ...{ a, b, c, names: keyspace(settings.prefix) },
    advance(ms: number) {
      now += ms;
    },
    [Symbol.asyncDispose]: async () => {
      for (const store of stores) await store[Symbol.asyncDispose]();
    },
  };
}

test('attack 90: while one replica rebuilds the others neither see, read, change nor rebuild the log', async () => {
  await using at = await openThree();
  const during: unknown[] = [];
  async function* slowly() {
    yield entries(0, 500);
    yield entries(500, 1000);
    // The first call has been made by now.
    during.push(await at.b.head(), await at.b.since({ epoch: 'x', seq: 0 }));
    await assert.rejects(at.b.snapshot(), unavailable);
    await assert.rejects(at.b.append(draft('meanwhile')), unavailable);
    await assert.rejects(at.b.undo(entry('n1').entryId), unavailable);
    await assert.rejects(at.b.rebuild([entries(5000, 5001)], undefined), unavailable);
    yield entries(1000, 1200);
  }
  const { head } = await at.a.rebuild(slowly(), undefined);
  assert.deepEqual(during, [undefined, undefined]);
  assert.deepEqual([head.seq, await at.b.head()], [1200, head]);
  assert.equal((await wholeLog(at.b))?.entries.length, 1200, 'the others added nothing');
});

for (const [when, then] of [
  ['and nothing is there', async () => undefined],
  [
    'and another replica made a log',
    async (at: Awaited<ReturnType<typeof openThree>>) => void (await at.b.rebuild([[]], undefined)),
  ],
] as const) {
  test(`attack 90: a log that is lost while it is rebuilt, ${when}, is not made of the rest`, async () => {
    await using at = await openThree();
    async function* lost() {
      yield entries(0, 500);
      yield entries(500, 1000);
      // The first call has been made by now, and the last one gets what follows.
      await admin.flushall();
      await then(at);
      yield entries(1000, 1200);
    }
    await assert.rejects(at.a.rebuild(lost(), undefined), unavailable);
    assert.equal((await wholeLog(at.c))?.entries.length ?? 0, 0);
    await at.a.rebuild([entries(0, 500), entries(500, 1000), entries(1000, 1200)], undefined);
    assert.equal((await wholeLog(at.c))?.entries.length, 1200);
  });
}

test('a replica that dies while it rebuilds is relieved after ten seconds, and the log is whole', async () => {
  await using at = await openThree();
  async function* dying() {
    yield entries(0, 500);
    yield entries(500, 600);
    throw new TypeError('killed');
  }
  await assert.rejects(at.a.rebuild(dying(), undefined), TypeError);
  at.advance(10_000);
  await assert.rejects(at.b.rebuild([entries(300, 900)], undefined), unavailable);
  at.advance(1);
  assert.equal(await at.b.snapshot(), undefined);
  const { head } = await at.b.rebuild([entries(300, 700), entries(700, 900)], undefined);
  const log = await wholeLog(at.c);
  assert.deepEqual([log?.entries.length, log?.head], [900, head]);
});

test('who broke off a rebuild begins anew at once, and the others wait for it', async () => {
  await using at = await openThree();
  async function* broken() {
    yield entries(0, 500);
    yield entries(500, 600);
    throw new TypeError('PostgreSQL went away');
  }
  await assert.rejects(at.a.rebuild(broken(), undefined), TypeError);
  await assert.rejects(at.b.snapshot(), unavailable);
  assert.equal(await at.a.snapshot(), undefined);
  const { head } = await at.a.rebuild([entries(0, 700), entries(700, 900)], undefined);
  const log = await wholeLog(at.b);
  assert.deepEqual([log?.entries.length, log?.head], [900, head]);
});

test('a rebuild that takes longer than ten seconds in all keeps its place', async () => {
  await using at = await openThree();
  async function* slow() {
    for (let n = 0; n < 4; n += 1) {
      yield entries(n * 10, n * 10 + 10);
      at.advance(9000);
      if (n > 1) await assert.rejects(at.b.rebuild([], undefined), unavailable);
    }
  }
  await at.a.rebuild(slow(), undefined);
  assert.equal((await wholeLog(at.b))?.entries.length, 40);
});

test('what is put, replaced and taken back while the log is read is right at the head that was reached', async () => {
  await using at = await openThree();
  await at.a.rebuild([entries(0, 3000)], undefined);
  const snapshot = await at.b.snapshot();
  assert.ok(snapshot);
  // Before the scan, between its batches and after it, once for entries already read and once for those to come.
  let steps = 0;
  const change = async () => {
    steps += 1;
    await at.a.undo(entry(`n${steps}`).entryId);
    await at.a.append(draft(`n${1000 + steps}`, { reason: 'again' }));
    await at.a.append(draft(`new${steps}`));
    const taken = await at.a.append(draft(`taken${steps}`));
    await at.a.undo(taken.entryId);
    await at.a.undo(entry(`n${2000 + steps}`).entryId);
    await at.a.append(draft(`n${2000 + steps}`, { reason: 'once more' }));
  };
  const log = new Proxy(at.b, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return name !== 'since'
        ? value.bind(target)
        : async (...args: unknown[]) => {
            await change();
            return value.apply(target, args);
          };
    },
  });
  const read = await readLog(log, () => undefined);
  const held = await admin.hgetall(at.names.entries);
  const wanted = Object.entries(held).filter(([field]) => field !== 'whole');
  assert.ok(steps > 3);
  const seqs = new Map([...(read?.index.entries() ?? [])].map(({ entryId, seq }) => [entryId, seq]));
  assert.deepEqual(seqs, new Map(wanted.map(([field, value]) => [field, Number(value.split(':')[0])])));
  assert.deepEqual(read?.head, await at.a.head());
});

test('another epoch while the log is read: it is read again, whole', async () => {
  await using at = await openThree();
  await at.a.rebuild([entries(0, 2000)], undefined);
  let batches = 0;
  const log = new Proxy(at.b, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return name !== 'since'
        ? value.bind(target)
        : async (...args: unknown[]) => {
            batches += 1;
            if (batches === 2) {
              await admin.del(at.names.head, at.names.entries, at.names.expiry, at.names.log);
              await at.a.rebuild([entries(5000, 5700)], undefined);
            }
            return value.apply(target, args);
          };
    },
  });
  const read = await readLog(log, () => undefined);
  assert.deepEqual([read?.index.size, read?.head], [700, await at.a.head()]);
});

test('attack 90: entries that are gone while the head stayed are no log, also in the middle of reading', async () => {
  await using at = await openThree();
  const { head } = await at.a.rebuild([entries(0, 600)], undefined);
  await admin.del(at.names.entries);
  assert.deepEqual(await at.b.head(), head);
  assert.equal(await at.b.snapshot(), undefined);
  assert.equal(await at.b.since(head), undefined);
  const { head: next } = await at.a.rebuild([entries(0, 600)], head);
  assert.notEqual(next.epoch, head.epoch);
  assert.equal((await wholeLog(at.b))?.entries.length, 600);
});

test('a log of the release before has no mark: it gets a new epoch with everything in it, which that release can read', async () => {
  await using at = await openThree();
  const { head } = await at.a.rebuild([entries(0, 10)], undefined);
  await admin.hdel(at.names.entries, 'whole');
  assert.equal(await at.b.snapshot(), undefined);
  const { head: next } = await at.b.rebuild([], head);
  assert.deepEqual([next.epoch === head.epoch, (await wholeLog(at.b))?.entries.length], [false, 10]);
  const mark = await admin.hget(at.names.entries, 'whole');
  assert.match(mark ?? '', /^\d{1,16}:\d{1,16}:\{.*\}$/);
  const { kind, issuer, id, untilMs, reason } = JSON.parse((mark ?? '').split(':').slice(2).join(':'));
  assert.deepEqual(
    [kind, issuer, id, untilMs, typeof reason],
    ['key', 'urn:doorward:log', next.epoch, 'forever', 'string'],
  );
});

test('numbers beyond all counting are no head, end no appending, and begin again at 0', async () => {
  await using at = await openThree();
  const { head } = await at.a.rebuild([entries(0, 3)], undefined);
  await admin.set(at.names.head, `${head.epoch}:99999999999999`);
  const last = await at.b.append(draft('last'));
  assert.equal(last.seq, 1e14);
  assert.equal(await at.b.head(), undefined);
  assert.equal(await at.b.snapshot(), undefined);
  await assert.rejects(at.b.append(draft('more')), unavailable);
  const { head: next } = await at.b.rebuild([], { epoch: head.epoch, seq: 99_999_999_999_999 });
  assert.deepEqual([next.epoch === head.epoch, next.seq], [false, 0]);
  assert.equal((await at.b.append(draft('more'))).seq, 1);
  assert.equal((await wholeLog(at.a))?.entries.length, 5);
});
