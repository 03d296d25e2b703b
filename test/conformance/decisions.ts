// What every DecisionStore must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DecisionStore, KeptDecision } from '../../src/stores/contracts/decisions.ts';

/** An opened backend. */
export interface OpenedDecisions extends AsyncDisposable {
  readonly store: DecisionStore;
}

async function findAll(store: DecisionStore, wanted: number): Promise<readonly KeptDecision[]> {
  for (let attempt = 0; attempt < 500; attempt += 1) {
    const found = await store.find({}, 5000);
    if (found.length >= wanted && found[0]?.request_id === 'last') return found;
    await new Promise(setImmediate);
  }
  throw new Error('the last decision never arrived');
}

/** Contract tier. */
export function decisionStoreConformance(backend: string, open: () => Promise<OpenedDecisions>): void {
  test(`${backend} decisions: newest first, filters match exactly, capped at about 1,000`, async () => {
    await using opened = await open();
    const { store } = opened;
    for (let n = 0; n < 1300; n += 1) store.keep({ request_id: `r${n}`, outcome: n % 2 ? 'deny' : 'allow', n });
    store.keep({ request_id: 'last', outcome: 'deny', nested: { a: ['é'] } });
    const all = await findAll(store, 1000);
    assert.ok(all.length >= 1000 && all.length <= 1200, `${all.length} kept`);
    assert.deepEqual(all[0], { request_id: 'last', outcome: 'deny', nested: { a: ['é'] } });
    assert.equal(all[1]?.request_id, 'r1299');
    assert.deepEqual(
      (await store.find({ outcome: 'allow' }, 2)).map(({ n }) => n),
      [1298, 1296],
    );
    assert.deepEqual(await store.find({ request_id: 'last', outcome: 'allow' }, 5), []);
    assert.deepEqual(await store.find({ request_id: 'never' }, 5), []);
  });
}
