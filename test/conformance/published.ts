// What every PublishedStore must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PublicationNotice, PublishedStore } from '../../src/stores/contracts/published.ts';
import { eventually } from '../rows/eventually.ts';

/** An opened, empty backend and a second replica of it. */
export interface OpenedPublished extends AsyncDisposable {
  readonly store: PublishedStore;
  readonly other: PublishedStore;
}

/** Contract and concurrency tiers. */
export function publishedStoreConformance(backend: string, open: () => Promise<OpenedPublished>): void {
  test(`${backend} published: what was put is there on every replica, by kind and name`, async () => {
    await using opened = await open();
    assert.equal(await opened.store.get('keys', 'https://a'), undefined);
    assert.equal(await opened.store.put('keys', 'https://a', 5, 'one document é'), true);
    assert.equal(await opened.other.get('keys', 'https://a'), 'one document é');
    assert.equal(await opened.other.get('client', 'https://a'), undefined);
    assert.equal(await opened.other.get('keys', 'https://b'), undefined);
  });

  test(`${backend} published: a document gives way to an equal or later one, never to an earlier`, async () => {
    await using opened = await open();
    assert.equal(await opened.store.put('keys', 'n', 1_800_000_000_001, 'b'), true);
    assert.equal(await opened.other.put('keys', 'n', 1_800_000_000_000, 'a'), false);
    assert.equal(await opened.store.get('keys', 'n'), 'b');
    assert.equal(await opened.other.put('keys', 'n', 1_800_000_000_001, 'c'), true);
    assert.equal(await opened.other.put('keys', 'n', 1_800_000_000_002, 'd'), true);
    assert.equal(await opened.store.get('keys', 'n'), 'd');
  });

  test(`${backend} published: a document that the publisher names gives way whatever its number, and no other does`, async () => {
    await using opened = await open();
    await opened.store.put('keys', 'n', 9_007_199_254_740_991, 'planted é');
    assert.equal(await opened.other.put('keys', 'n', 5, 'ours', 'something else'), false);
    assert.equal(await opened.other.put('keys', 'n', 5, 'ours', 'planted é'), true);
    assert.equal(await opened.store.get('keys', 'n'), 'ours');
    assert.equal(await opened.store.put('keys', 'n', 4, 'older'), false);
    assert.equal(await opened.store.put('keys', 'n', 6, 'newer', 'gone already'), true);
  });

  test(`${backend} published: of publishers that race, the latest document stays`, async () => {
    await using opened = await open();
    const seqs = Array.from({ length: 50 }, (_, n) => (n * 37) % 50);
    await Promise.all(
      seqs.map((seq) => (seq % 2 ? opened.store : opened.other).put('client', 'n', seq, `document ${seq}`)),
    );
    assert.equal(await opened.store.get('client', 'n'), 'document 49');
  });

  test(`${backend} published: a watch begins with "some may have been missed" and tells of every put`, async () => {
    await using opened = await open();
    const notices: (PublicationNotice | undefined)[] = [];
    await using _watch = await opened.other.watch((notice) => notices.push(notice));
    await eventually(() => notices.length === 1, 5000);
    await opened.store.put('client', 'billing', 1, 'document');
    await eventually(() => notices.length === 2, 5000);
    assert.deepEqual(notices, [undefined, { kind: 'client', name: 'billing' }]);
  });

  test(`${backend} published: pages hold every document of their kind`, async () => {
    await using opened = await open();
    assert.deepEqual((await opened.store.page('client', '')).documents, new Map());
    const expected = new Map(Array.from({ length: 1200 }, (_, at) => [`n ${at}`, `document ${at}`]));
    await Promise.all([...expected].map(([name, document]) => opened.store.put('client', name, 7, document)));
    await opened.store.put('keys', 'other kind', 1, 'x');
    const seen = new Map<string, string>();
    for (let cursor: string | undefined = ''; cursor !== undefined; ) {
      const page = await opened.other.page('client', cursor);
      for (const [name, document] of page.documents) seen.set(name, document);
      cursor = page.next;
    }
    assert.deepEqual(new Map([...seen].sort()), new Map([...expected].sort()));
  });
}
