// What every DataKeyStore must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { dataKeyId } from '../../src/core/ids.ts';
import type { DataKeyStore, NewDataKey } from '../../src/stores/contracts/data-keys.ts';

/** An opened, empty backend: two replicas of it, and a way to take it away. */
export interface OpenedDataKeys extends AsyncDisposable {
  readonly store: DataKeyStore;
  readonly other: DataKeyStore;
  cut(): Promise<void>;
}

const NOW = Date.UTC(2026, 5, 1);
const newKey = (kekId = 'kek-1', createdAtMs = NOW): NewDataKey => ({
  dataKeyId: dataKeyId(),
  kekId,
  wrapped: randomBytes(61),
  createdAtMs,
});
const check = { kekId: 'kek-1', wrapped: randomBytes(60) };

/** Contract, concurrency and failure tiers. */
export function dataKeyStoreConformance(backend: string, open: () => Promise<OpenedDataKeys>): void {
  test(`${backend} data keys: an empty store holds nothing and reserves nothing`, async () => {
    await using opened = await open();
    assert.deepEqual(await opened.store.read(), { check: undefined, keys: [] });
    assert.equal(await opened.store.find(dataKeyId()), undefined);
    assert.equal(await opened.store.reserve(dataKeyId(), 10, 100), 0);
    assert.equal(await opened.store.rotate(dataKeyId(), newKey()), false);
  });

  test(`${backend} data keys: what was stored comes back whole`, async () => {
    await using opened = await open();
    const key = newKey();
    assert.equal(await opened.store.begin(check, key), true);
    const record = { ...key, state: 'active', retiredAtMs: undefined, seals: 0 };
    assert.deepEqual(await opened.other.read(), { check, keys: [record] });
    assert.deepEqual(await opened.other.find(key.dataKeyId), record);
  });

  test(`${backend} data keys: of replicas that begin at once, one wins`, async () => {
    await using opened = await open();
    const keys = Array.from({ length: 10 }, () => newKey());
    const won = await Promise.all(
      keys.map((key, n) => (n % 2 ? opened.store : opened.other).begin({ ...check, wrapped: randomBytes(60) }, key)),
    );
    assert.equal(won.filter(Boolean).length, 1);
    const { keys: stored } = await opened.store.read();
    assert.deepEqual(
      stored.map((key) => key.dataKeyId),
      [keys[won.indexOf(true)]?.dataKeyId],
    );
  });

  test(`${backend} data keys: a count never passes its bound, however many reserve at once`, async () => {
    await using opened = await open();
    const key = newKey();
    await opened.store.begin(check, key);
    const granted = await Promise.all(
      Array.from({ length: 30 }, (_, n) => (n % 2 ? opened.store : opened.other).reserve(key.dataKeyId, 7, 100)),
    );
    assert.equal(
      granted.reduce((a, b) => a + b),
      100,
    );
    assert.equal((await opened.store.find(key.dataKeyId))?.seals, 100);
    assert.equal(await opened.store.reserve(key.dataKeyId, 1, 100), 0);
  });

  test(`${backend} data keys: of replicas that rotate at once, one wins, and one key is active`, async () => {
    await using opened = await open();
    const first = newKey();
    await opened.store.begin(check, first);
    const won = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        (n % 2 ? opened.store : opened.other).rotate(first.dataKeyId, newKey('kek-1', NOW + 5)),
      ),
    );
    assert.equal(won.filter(Boolean).length, 1);
    const { keys } = await opened.store.read();
    assert.deepEqual(
      keys.map(({ state, retiredAtMs }) => [state, retiredAtMs]),
      [
        ['active', undefined],
        ['retired', NOW + 5],
      ],
    );
    assert.equal(await opened.store.reserve(first.dataKeyId, 1, 100), 0);
  });

  test(`${backend} data keys: a replica with another KEK cannot add a key`, async () => {
    await using opened = await open();
    const first = newKey();
    await opened.store.begin(check, first);
    assert.equal(await opened.other.rotate(first.dataKeyId, newKey('kek-2')), false);
    assert.equal((await opened.store.read()).keys.length, 1);
  });

  test(`${backend} data keys: rewrapping replaces check and every key, or nothing`, async () => {
    await using opened = await open();
    const [first, second] = [newKey(), newKey('kek-1', NOW + 1)];
    await opened.store.begin(check, first);
    await opened.store.rotate(first.dataKeyId, second);
    const before = await opened.store.read();
    const next = { kekId: 'kek-2', wrapped: randomBytes(60) };
    const all = [first, second].map((key) => ({ dataKeyId: key.dataKeyId, wrapped: randomBytes(61) }));
    assert.equal(await opened.store.rewrap(check, next, all.slice(1)), false);
    assert.equal(await opened.store.rewrap({ ...check, wrapped: randomBytes(60) }, next, all), false);
    assert.deepEqual(await opened.store.read(), before);
    assert.equal(await opened.store.rewrap(check, next, all), true);
    const after = await opened.other.read();
    assert.deepEqual(after.check, next);
    assert.deepEqual(
      after.keys.map(({ dataKeyId: id, kekId, wrapped }) => ({ id, kekId, wrapped })),
      [1, 0].map((n) => ({ id: all[n]?.dataKeyId, kekId: 'kek-2', wrapped: all[n]?.wrapped })),
    );
    assert.equal(await opened.store.rewrap(check, next, all), false);
  });

  test(`${backend} data keys: C17: only what was retired long ago goes, and never the active key`, async () => {
    await using opened = await open();
    const keys = [newKey(), newKey('kek-1', NOW + 10), newKey('kek-1', NOW + 20)] as const;
    await opened.store.begin(check, keys[0]);
    await opened.store.rotate(keys[0].dataKeyId, keys[1]);
    await opened.store.rotate(keys[1].dataKeyId, keys[2]);
    assert.deepEqual(await opened.store.removeUnused([], NOW + 20), [keys[0].dataKeyId]);
    assert.deepEqual(await opened.store.removeUnused([], NOW + 1e12), [keys[1].dataKeyId]);
    assert.deepEqual(
      (await opened.store.read()).keys.map((key) => key.dataKeyId),
      [keys[2].dataKeyId],
    );
  });

  test(`${backend} data keys: without the store every call is store_unavailable`, async () => {
    await using opened = await open();
    const key = newKey();
    await opened.store.begin(check, key);
    await opened.cut();
    const { store } = opened;
    const away = { kind: 'store_unavailable' };
    await assert.rejects(store.read(), away);
    await assert.rejects(store.find(key.dataKeyId), away);
    await assert.rejects(store.begin(check, key), away);
    await assert.rejects(store.reserve(key.dataKeyId, 1, 10), away);
    await assert.rejects(store.rotate(key.dataKeyId, newKey()), away);
    await assert.rejects(store.rewrap(check, check, []), away);
    await assert.rejects(store.removeUnused([], NOW), away);
  });
}
