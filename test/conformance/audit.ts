// What every durable audit log keeps to (stores/contracts/audit.ts). Tampering is test/audit's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AuditChain } from '../../src/audit/chain.ts';
import type { AuditPlace, AuditStore, StoredAuditRecord } from '../../src/stores/contracts/audit.ts';
import { event } from '../audit/world.ts';

/** One store under test. */
export interface AuditStoreUnderTest extends AsyncDisposable {
  readonly store: AuditStore;
  /** Makes the backend unreachable. */
  cut(): Promise<void>;
}

const START = Date.UTC(2026, 0, 15);

function records(count: number, chain = new AuditChain(), fromMs = START): StoredAuditRecord[] {
  return Array.from({ length: count }, (_, n) => {
    const { record, details } = chain.next(event(n), fromMs + n, 0);
    return { ...record, sealed: details };
  });
}

/** The suite. */
export function auditStoreTests(backend: string, open: () => Promise<AuditStoreUnderTest>): void {
  test(`${backend}: what was appended comes back whole, once, also when it is appended again`, async () => {
    await using it = await open();
    const whole = records(5);
    await it.store.append(whole);
    await it.store.append(whole.slice(2));
    const found = await it.store.walk(undefined, 100);
    assert.deepEqual(
      found.map((record) => ({ ...record, sealed: Buffer.from(record.sealed as Uint8Array) })),
      whole,
    );
  });

  test(`${backend}: unicode, empty texts and missing ones stay what they are`, async () => {
    await using it = await open();
    const { record } = new AuditChain().next(
      { type: 'auth.failed', actor: { kind: 'anonymous' }, subject: '', client: 'ü\u{1F511}\n', tenant: 'a\0b' },
      START,
      0,
    );
    await it.store.append([{ ...record, sealed: undefined }]);
    const [found] = await it.store.walk(undefined, 1);
    assert.deepEqual(
      [found?.subject, found?.client, found?.tenant, found?.actor],
      ['', 'ü\u{1F511}\n', 'ab', undefined],
    );
    assert.deepEqual(found, { ...record, sealed: undefined });
  });

  test(`${backend}: the pages of any size hold each event once, newest first, while others are appended`, async () => {
    await using it = await open();
    const all = [...records(7), ...records(7), ...records(3, new AuditChain(), START - 1000)];
    await it.store.append(all);
    for (const limit of [1, 2, 5, 17, 18]) {
      const seen: StoredAuditRecord[] = [];
      for (let after: AuditPlace | undefined; ; ) {
        const page = await it.store.find({ untilMs: START + 1000 }, after, limit);
        seen.push(...page);
        await it.store.append(records(1, new AuditChain(), START + 5000 + seen.length));
        after = page.at(-1);
        if (after === undefined || page.length < limit) break;
      }
      assert.deepEqual(new Set(seen.map(({ id }) => id)), new Set(all.map(({ id }) => id)));
      assert.equal(seen.length, all.length);
      assert.deepEqual(
        seen.map(({ atMs }) => atMs),
        seen.map(({ atMs }) => atMs).toSorted((a, b) => b - a),
      );
    }
  });

  test(`${backend}: every filter finds its events and no others`, async () => {
    await using it = await open();
    const chain = new AuditChain();
    const drafts = [
      { ...event(0), actor: { kind: 'operator' as const, id: 'op_a' } },
      { ...event(1), type: 'token.revoked' as const },
      { ...event(2), subject: 'alice' },
      { ...event(3), client: 'billing' },
      { ...event(4), tenant: 'acme' },
    ];
    await it.store.append(
      drafts.map((draft, n) => {
        const { record, details } = chain.next(draft, START + n * 1000, 0);
        return { ...record, sealed: details };
      }),
    );
    const numbers = async (filter: Parameters<AuditStore['find']>[0]) =>
      (await it.store.find(filter, undefined, 10)).map(({ number }) => number);
    assert.deepEqual(await numbers({ actor: 'op_a' }), [1]);
    assert.deepEqual(await numbers({ type: 'token.revoked' }), [2]);
    assert.deepEqual(await numbers({ subject: 'alice' }), [3]);
    assert.deepEqual(await numbers({ client: 'billing' }), [4]);
    assert.deepEqual(await numbers({ tenant: 'acme' }), [5]);
    assert.deepEqual(await numbers({ requestId: 'request-2' }), [3]);
    assert.deepEqual(await numbers({ sinceMs: START + 1000, untilMs: START + 3000 }), [3, 2]);
    assert.deepEqual(await numbers({ actor: 'op_a', subject: 'alice' }), []);
  });

  test(`${backend}: 20 appends at once of the same and of other chains lose and double nothing`, async () => {
    await using it = await open();
    const chains = Array.from({ length: 5 }, () => records(10));
    await Promise.all(chains.flatMap((chain) => Array.from({ length: 4 }, () => it.store.append(chain))));
    assert.equal((await it.store.walk(undefined, 1000)).length, 50);
  });

  test(`${backend}: of two first keys at once one stays`, async () => {
    await using it = await open();
    const key = (n: number) => ({ keyId: `k${n}`, publicKey: 'p', sealed: Buffer.of(n), createdAtMs: START });
    const answers = await Promise.all([1, 2, 3].map((n) => it.store.addKey(key(n), { onlyIfNone: true })));
    assert.equal(new Set(answers.map((rows) => rows.map(({ keyId }) => keyId).join())).size, 1);
    assert.equal((await it.store.keys()).length, 1);
  });

  test(`${backend}: a store that is away says store_unavailable, and a batch is stored whole or not at all`, async () => {
    await using it = await open();
    const [good, bad] = [records(2), records(2)] as const;
    const broken = { ...(bad[1] as StoredAuditRecord), hash: 'no hash' };
    await assert.rejects(it.store.append([...good, bad[0] as StoredAuditRecord, broken]));
    assert.deepEqual(await it.store.walk(undefined, 10), []);
    await it.cut();
    await assert.rejects(it.store.append(good), { kind: 'store_unavailable' });
    await assert.rejects(it.store.find({}, undefined, 1), { kind: 'store_unavailable' });
  });
}
