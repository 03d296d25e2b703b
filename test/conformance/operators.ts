// What every OperatorStore must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { randomId } from '../../src/core/ids.ts';
import type { OperatorRecord, OperatorStore } from '../../src/stores/contracts/operators.ts';

/** An opened, empty backend; `other` is another replica on the same store. */
export interface OpenedOperators extends AsyncDisposable {
  readonly store: OperatorStore;
  readonly other: OperatorStore;
  /** Makes the backend unreachable, until `mend`. */
  cut(): Promise<void>;
  mend(): Promise<void>;
}

const NOW = Date.UTC(2030, 0, 1, 0, 0, 0, 123);
let named = 0;

function operator(changes: Partial<OperatorRecord> = {}): OperatorRecord {
  named += 1;
  return {
    id: `op_${randomId()}`,
    name: `operator-${named}`,
    tokenDigest: randomBytes(32).toString('hex'),
    tokenPrefix: 'dwo_abcd',
    certificate: undefined,
    role: 'viewer',
    permissions: [],
    tenant: undefined,
    createdAtMs: NOW,
    createdBy: 'op_first',
    expiresAtMs: undefined,
    lastUsedAtMs: undefined,
    ...changes,
  };
}

const certified = (certificate: string, changes: Partial<OperatorRecord> = {}) =>
  operator({ tokenDigest: undefined, tokenPrefix: undefined, certificate, ...changes });

/** All there are: tests make few. */
const listed = (store: OperatorStore) => store.page(undefined, 1000);

async function added(store: OperatorStore, changes: Partial<OperatorRecord> = {}): Promise<OperatorRecord> {
  const record = operator(changes);
  assert.equal(await store.add(record), true);
  return record;
}

/** Contract, concurrency and failure tiers. */
export function operatorsConformance(backend: string, open: () => Promise<OpenedOperators>): void {
  const it = (name: string, body: (opened: OpenedOperators) => Promise<void>) =>
    test(`${backend} operators: ${name}`, async () => {
      await using opened = await open();
      await body(opened);
    });

  it('K24: an operator comes back whole, by token, id and name, on every replica', async ({ store, other }) => {
    const record = await added(store, {
      name: 'Ω:"ops\u{1F511}',
      role: undefined,
      permissions: ['clients:read', '*'],
      expiresAtMs: NOW + 1,
    });
    assert.deepEqual(await other.findByDigest(record.tokenDigest as string), record);
    assert.deepEqual(await other.find(record.id), record);
    assert.deepEqual(await other.find(record.name), record);
    assert.deepEqual(await listed(other), [record]);
  });

  it('who is not there is undefined everywhere', async ({ store }) => {
    assert.deepEqual(await listed(store), []);
    await added(store);
    assert.equal(await store.findByDigest(randomBytes(32).toString('hex')), undefined);
    assert.equal(await store.find('nobody'), undefined);
    assert.equal(await store.findByCertificate(['cn:nobody']), undefined);
    assert.equal(await store.findByCertificate([]), undefined);
    assert.equal(await store.remove('nobody', NOW), 'missing');
    await store.used('nobody', NOW);
  });

  it('an operator with a certificate is found by any of its names, and by none when two could be meant', async ({
    store,
  }) => {
    const [robot, carol] = [certified('dns:robot.example'), certified('cn:carol')];
    for (const record of [robot, carol]) assert.equal(await store.add(record), true);
    assert.deepEqual(await store.findByCertificate(['cn:x', 'dns:robot.example']), robot);
    assert.equal(await store.findByCertificate(['cn:carol', 'dns:robot.example']), undefined);
  });

  it('an id that is the name of another operator means the operator with that id', async ({ store }) => {
    const first = await added(store);
    await added(store, { name: first.id });
    assert.deepEqual(await store.find(first.id), first);
  });

  it('pages of every size hold each operator once, newest first', async ({ store }) => {
    // Two of each moment: ties are ordered by id.
    for (let at = 0; at < 7; at += 1) await added(store, { createdAtMs: NOW + Math.floor(at / 2) });
    const whole = await store.page(undefined, 100);
    assert.deepEqual(
      whole.map(({ createdAtMs }) => createdAtMs - NOW),
      [3, 2, 2, 1, 1, 0, 0],
    );
    for (let size = 1; size <= 8; size += 1) {
      const seen: OperatorRecord[] = [];
      for (let page = await store.page(undefined, size); page.length > 0; page = await store.page(seen.at(-1), size)) {
        seen.push(...page);
      }
      assert.deepEqual(seen, whole, `pages of ${size}`);
    }
  });

  it('K16: an operator of a tenant comes back whole, and is none who can manage operators', async ({
    store,
    other,
  }) => {
    const last = await added(store, { role: 'admin' });
    const bound = await added(store, { role: 'admin', permissions: ['*'], tenant: 'acme "ä' });
    const plain = await added(store, { role: undefined, permissions: ['clients:read'], tenant: 'beta' });
    assert.deepEqual(await other.findByDigest(bound.tokenDigest as string), bound);
    assert.deepEqual(await other.find(plain.name), plain);
    assert.equal(await store.remove(last.id, NOW), 'last');
    await assert.rejects(store.add(operator({ tenant: '' })));
  });

  it('K24: a name, token or certificate that is taken adds nobody', async ({ store, other }) => {
    const [one, two] = [await added(store), certified('cn:carol')];
    assert.equal(await store.add(two), true);
    const taken = [
      operator({ name: one.name }),
      operator({ tokenDigest: one.tokenDigest }),
      operator({ id: one.id }),
      certified('cn:carol'),
    ];
    for (const record of taken) assert.equal(await other.add(record), false);
    assert.equal((await listed(store)).length, 2);
  });

  it('nobody is added without token and certificate', async ({ store }) => {
    await assert.rejects(store.add(operator({ tokenDigest: undefined })));
    assert.deepEqual(await listed(store), []);
  });

  it('the first operator is added once, and never where there is one', async ({ store, other }) => {
    const first = operator({ role: 'admin' });
    assert.equal(await store.addFirst(first), true);
    assert.equal(await other.addFirst(operator({ role: 'admin' })), false);
    assert.deepEqual(await listed(other), [first]);
  });

  it('removed is removed, on every replica, and the name is free', async ({ store, other }) => {
    await added(store, { role: 'admin' });
    const gone = await added(store);
    assert.equal(await store.remove(gone.id, NOW), 'removed');
    assert.equal(await other.remove(gone.id, NOW), 'missing');
    assert.equal(await other.findByDigest(gone.tokenDigest as string), undefined);
    assert.equal(await other.add(operator({ name: gone.name })), true);
  });

  it('K24: the last who can manage operators stays, whatever the others are', async ({ store }) => {
    const last = await added(store, { role: 'admin' });
    await added(store, { role: 'editor', permissions: ['operators:read', 'clients:write'] });
    await added(store, { role: 'admin', expiresAtMs: NOW });
    assert.equal(await store.remove(last.id, NOW), 'last');
    assert.deepEqual(await store.find(last.id), last);
    for (const able of [
      { permissions: ['operators:write'] },
      { permissions: ['*'] },
      { role: 'admin' as const, expiresAtMs: NOW + 1 },
    ]) {
      const next = await added(store, able);
      assert.equal(await store.remove(last.id, NOW), 'removed');
      assert.equal(await store.add(last), true);
      assert.equal(await store.remove(next.id, NOW), 'removed');
    }
    assert.equal(await store.remove(last.id, NOW), 'last');
  });

  it('K24: a use is noted, and one that is noted late does not hide a later one', async ({ store, other }) => {
    const record = await added(store);
    await store.used(record.id, NOW + 100);
    await other.used(record.id, NOW + 50);
    assert.deepEqual(await store.find(record.id), { ...record, lastUsedAtMs: NOW + 100 });
  });

  it('of 20 first operators at once over two replicas one is there, whether or not they share a name', async ({
    store,
    other,
  }) => {
    const records = Array.from({ length: 20 }, (_, at) =>
      operator({ role: 'admin', ...(at % 3 === 0 && { name: 'admin' }) }),
    );
    const all = await Promise.all(records.map((record, at) => (at % 2 ? store : other).addFirst(record)));
    assert.equal(all.filter(Boolean).length, 1);
    assert.deepEqual(await listed(store), [records[all.indexOf(true)]]);
  });

  it('of 20 operators of one name at once one is added', async ({ store, other }) => {
    const records = Array.from({ length: 20 }, () => operator({ name: 'ci' }));
    const all = await Promise.all(records.map((record, at) => (at % 2 ? store : other).add(record)));
    assert.equal(all.filter(Boolean).length, 1);
    assert.deepEqual(await listed(store), [records[all.indexOf(true)]]);
  });

  it('K24: five managers who are all removed at once leave one', async ({ store, other }) => {
    const managers = [];
    for (let at = 0; at < 5; at += 1) managers.push(await added(store, { role: 'admin' }));
    const all = await Promise.allSettled(managers.map(({ id }, at) => (at % 2 ? store : other).remove(id, NOW)));
    const left = await listed(store);
    const outcomes = all.map((each) => (each.status === 'fulfilled' ? each.value : each.reason.kind));
    assert.equal(left.length, 5 - outcomes.filter((outcome) => outcome === 'removed').length);
    assert.ok(left.length >= 1, 'somebody must stay');
    // A conflict that outlasts every attempt is told as store_unavailable: asked again it settles.
    for (const { id } of left) await store.remove(id, NOW);
    assert.equal((await listed(store)).length, 1);
  });

  it('without the store every call is store_unavailable, and nothing has changed afterwards', async (opened) => {
    const { store } = opened;
    const record = await added(store, { role: 'admin' });
    await opened.cut();
    const away = { kind: 'store_unavailable' };
    await assert.rejects(store.add(operator()), away);
    await assert.rejects(store.addFirst(operator()), away);
    await assert.rejects(store.find(record.id), away);
    await assert.rejects(store.findByDigest(record.tokenDigest as string), away);
    await assert.rejects(store.findByCertificate(['cn:x']), away);
    await assert.rejects(listed(store), away);
    await assert.rejects(store.remove(record.id, NOW), away);
    await assert.rejects(store.used(record.id, NOW), away);
    await opened.mend();
    assert.deepEqual(await listed(store), [record]);
  });
}
