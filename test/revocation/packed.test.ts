// The packed form of the index: against a map of objects as the plain truth, and in what it does with memory.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Principal } from '../../src/core/principal.ts';
import { RevocationIndex } from '../../src/revocation/index.ts';
import { newest } from '../../src/revocation/newest.ts';
import { localEntry } from '../../src/revocation/pending.ts';
import { seededHash } from '../../src/revocation/seeded-hash.ts';
import { type RevocationDraft, type RevocationEntry, revocationKinds } from '../../src/stores/contracts/revocations.ts';

const NOW = 1_800_000_000_000;
const MIB = 2 ** 20;
const uuid = (n: number) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;
const entry = (more: Partial<RevocationDraft> = {}): RevocationEntry =>
  localEntry(
    { kind: 'token', issuer: 'https://id.example', id: 'id', untilMs: NOW + 1000, reason: 'test', ...more },
    NOW,
  );
const all = async (index: RevocationIndex) => {
  const found: RevocationEntry[] = [];
  for await (const batch of index.walk()) found.push(...batch);
  return found;
};
const byId = (a: RevocationEntry, b: RevocationEntry) => (a.entryId < b.entryId ? -1 : 1);

const ids = fc.oneof(
  fc.uuid(),
  fc.uuid().map((text) => text.toUpperCase()),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('', 'a', '\ud800', 'Ω', 'ÿ', '\0', uuid(1).replace('-', '_'), 'x'.repeat(1024)),
);
const times = fc.integer({ min: 0, max: 2 ** 48 - 2 });
const drafts = fc.record({
  kind: fc.constantFrom(...revocationKinds),
  issuer: fc.constantFrom('https://a', 'https://b', ''),
  id: ids,
  untilMs: fc.oneof(times, fc.constant('forever' as const)),
  notBeforeMs: fc.option(times, { nil: undefined }),
  madeAtMs: fc.option(times, { nil: undefined }),
  reason: fc.constantFrom('leaked', 'again', ''),
  revokedAtMs: times,
  seq: times,
});
type Made = typeof drafts extends fc.Arbitrary<infer T> ? T : never;
const entryOf = ({ notBeforeMs, madeAtMs, ...rest }: Made): RevocationEntry => ({
  ...rest,
  ...(notBeforeMs === undefined ? {} : { notBeforeMs }),
  ...(madeAtMs === undefined ? {} : { madeAtMs }),
  entryId: entry(rest as RevocationDraft).entryId,
});
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ does: fc.constant('put' as const), draft: drafts }) },
    { weight: 2, arbitrary: fc.record({ does: fc.constant('remove' as const), at: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ does: fc.constant('sweep' as const), nowMs: times }) },
  ),
  { maxLength: 120 },
);

for (const [name, hash] of [
  ['hashes as they come', undefined],
  ['ids of one hash are told apart in full: all hashes equal', () => 7],
  ['few hashes', (salt: number, text: string) => (salt + text.length) % 3],
] as const) {
  test(`the packed index holds what a map would hold: ${name}`, async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (taken) => {
        const index = new RevocationIndex(hash);
        const truth = new Map<string, RevocationEntry>();
        for (const step of taken) {
          if (step.does === 'put') {
            const made = entryOf(step.draft);
            index.put(made);
            truth.set(made.entryId, made);
          } else if (step.does === 'remove') {
            const victim = [...truth.values()][step.at % Math.max(1, truth.size)];
            assert.equal(index.remove(victim ?? entry({ id: 'nobody' })), victim !== undefined);
            if (victim) truth.delete(victim.entryId);
          } else {
            for (let call = 0; call < 1; call += 1) index.sweep(step.nowMs);
            for (const held of truth.values()) {
              if (held.untilMs !== 'forever' && held.untilMs <= step.nowMs) truth.delete(held.entryId);
            }
          }
        }
        assert.equal(index.size, truth.size);
        assert.deepEqual((await all(index)).sort(byId), [...truth.values()].sort(byId));
        for (const held of truth.values()) assert.deepEqual(index.get(held.kind, held.issuer, held.id), held);
        assert.equal(index.get('token', 'https://a', 'not there'), undefined);
      }),
      { numRuns: 150 },
    );
  });
}

test('an id of the same hash as a revoked one is not refused, and taking one back leaves the other', () => {
  const index = new RevocationIndex(() => 0);
  for (let n = 0; n < 50; n += 1) index.put(entry({ id: uuid(n) }));
  const who = { issuer: 'https://id.example', keyId: 'k', issuedAtMs: 1 };
  const refused = (id: string) => index.isRefused({ ...who, tokenId: id } as Principal, NOW);
  assert.deepEqual([refused(uuid(7)), refused(uuid(50))], [true, false]);
  index.remove(entry({ id: uuid(7) }));
  assert.deepEqual([refused(uuid(7)), refused(uuid(8)), index.size], [false, true, 49]);
});

test('the hash depends on its key, so nobody can choose ids that meet', () => {
  const texts = Array.from({ length: 200 }, (_, n) => `id${n}`);
  const [a, b] = [1, 2].map((key) => seededHash(Buffer.alloc(8, key)));
  const homes = (hash: typeof a) => texts.map((text) => hash?.(0, text));
  assert.deepEqual(homes(a), homes(seededHash(Buffer.alloc(8, 1))), 'the same key gives the same');
  assert.ok(homes(a).every((home, at) => home !== homes(b)[at]));
  assert.equal(new Set(homes(a)).size, texts.length);
  assert.notEqual(a?.(0, 'x'), a?.(1, 'x'));
  assert.notEqual(a?.(0, 'x'), a?.(0, 'x\0'), 'length counts');
});

test('times beyond what is kept become the nearer end, and never end early', () => {
  const index = new RevocationIndex();
  index.put({ ...entry({ untilMs: Number.MAX_SAFE_INTEGER, notBeforeMs: -5 }), seq: 2 ** 50 });
  const held = index.get('token', 'https://id.example', 'id');
  assert.deepEqual([held?.untilMs, held?.notBeforeMs], [2 ** 48 - 2, 0]);
});

test('memory of expired entries is given back, and sparse chunks are emptied while the index is in use', () => {
  const index = new RevocationIndex();
  for (let n = 0; n < 200_000; n += 1)
    index.put(entry({ id: uuid(n), untilMs: n % 10 === 0 ? NOW + 9e6 : NOW + 1000 }));
  const full = index.arenaBytes;
  assert.ok(full > 8 * MIB && full < 10 * MIB, `${full}`);
  for (let call = 0; call < 400; call += 1) index.sweep(NOW + 1000);
  assert.equal(index.size, 20_000);
  // 20,000 records of 43 bytes are 0.86 MB: a chunk that is filled, and one for waste.
  assert.ok(index.arenaBytes <= 3 * MIB, `${index.arenaBytes}`);
  for (let n = 0; n < 200_000; n += 10) assert.ok(index.get('token', 'https://id.example', uuid(n)), `${n}`);
  for (let n = 0; n < 200_000; n += 10) index.remove(entry({ id: uuid(n) }));
  assert.equal(index.arenaBytes, MIB, 'nothing is left but one chunk to begin with');
});

/** A million tokens revoked, and then what holding them costs a process, with nothing left to collect. */
const MILLION = `
  const at = ${JSON.stringify(new URL('../../src/revocation/', import.meta.url).href)};
  const { RevocationIndex } = await import(at + 'index.ts');
  const { localEntry } = await import(at + 'pending.ts');
  const uuid = (n) => '00000000-0000-4000-8000-' + n.toString(16).padStart(12, '0');
  const drafted = { kind: 'token', issuer: 'https://id.example', id: '', reason: 'test', untilMs: ${NOW + 1000}, madeAtMs: ${NOW} };
  const template = localEntry(drafted, ${NOW});
  const fill = (index, count) => {
    for (let n = 0; n < count; n += 1) index.put({ ...template, id: uuid(n) });
    return index;
  };
  const held = async () => {
    // The memory of outgrown buffers is given back a little after their collection.
    for (let round = 0; round < 3; round += 1) {
      globalThis.gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { heapUsed, external } = process.memoryUsage();
    return { heapUsed, external };
  };
  fill(new RevocationIndex(), 1000);
  const before = await held();
  const index = fill(new RevocationIndex(), 1_000_000);
  const after = await held();
  const heap = after.heapUsed - before.heapUsed;
  console.log(JSON.stringify({ size: index.size, records: index.arenaBytes, heap, outside: after.external - before.external }));
`;

test('1,000,000 revoked UUIDs take under 64 MB, tables and heap and all', (t) => {
  const args = ['--expose-gc', '--input-type=module', '-e', MILLION];
  const { size, records, heap, outside } = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
  t.diagnostic(`records ${records}, outside the heap ${outside}, heap ${heap} bytes`);
  assert.equal(size, 1_000_000);
  assert.ok(records <= 49e6 * 1.01 + MIB, `${records} bytes of records`);
  assert.ok(outside >= records, `${outside} bytes outside the heap hold ${records} of records`);
  assert.ok(outside + Math.max(0, heap) < 64e6, `${outside} + ${heap} bytes`);
});

test('taking over another index is one step: what was held before is gone, and cleared tokens are looked at again', () => {
  const [index, next] = [new RevocationIndex(), new RevocationIndex()];
  index.put(entry({ id: 'old' }));
  next.put(entry({ id: 'new' }));
  const { generation } = index;
  index.take(next);
  assert.deepEqual(
    [...index.entries()].map(({ id }) => id),
    ['new'],
  );
  assert.notEqual(index.generation, generation);
  assert.equal(next.size, 0);
});

test('a walk leaves turns to others, survives an exchange, and misses nothing that stays', async () => {
  const index = new RevocationIndex();
  for (let n = 0; n < 30_000; n += 1) index.put(entry({ id: uuid(n) }));
  let turns = 0;
  const counting = setInterval(() => (turns += 1), 0);
  const seen = new Set<string>();
  let batches = 0;
  for await (const batch of index.walk()) {
    assert.ok(batch.length <= 500);
    for (const { id } of batch) seen.add(id);
    batches += 1;
    if (batches === 10) {
      const next = new RevocationIndex();
      for (let n = 0; n < 30_000; n += 1) next.put(entry({ id: uuid(n) }));
      index.take(next);
    }
  }
  clearInterval(counting);
  assert.equal(seen.size, 30_000);
  assert.ok(turns > 0);
});

test('pages hold every active entry once, newest first, for every page size and kind', async () => {
  const index = new RevocationIndex();
  for (let n = 0; n < 60; n += 1) {
    const made = entry({ id: uuid(n), kind: n % 3 === 0 ? 'session' : 'token', untilMs: n % 5 === 0 ? NOW : NOW + 9 });
    index.put({ ...made, revokedAtMs: NOW - (n % 7) });
  }
  const order = (a: RevocationEntry, b: RevocationEntry) => b.revokedAtMs - a.revokedAtMs || byId(a, b);
  for (const kind of [undefined, 'session'] as const) {
    const wanted = (await all(index))
      .filter((held) => held.untilMs !== NOW && (kind === undefined || held.kind === kind))
      .sort(order);
    for (const limit of [1, 7, 100]) {
      const seen: RevocationEntry[] = [];
      for (let after: { atMs: number; id: string } | undefined; ; ) {
        const page = await newest(index, { kinds: kind && [kind], after, limit }, NOW);
        seen.push(...page);
        const last = page.at(-1);
        if (last === undefined) break;
        after = { atMs: last.revokedAtMs, id: last.entryId };
      }
      assert.deepEqual(seen, wanted);
    }
  }
});
