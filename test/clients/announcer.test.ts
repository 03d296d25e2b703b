// What is told of a change to a client, and in what order, over a real store and a revocation index.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClientAnnouncer, recordReasons } from '../../src/clients/announcer.ts';
import { documentOf, noticeName, noticeOf, readNotice } from '../../src/clients/notices.ts';
import { storeUnavailable } from '../../src/core/errors.ts';
import { RevocationIndex } from '../../src/revocation/index.ts';
import type { Client, ClientNotice } from '../../src/stores/contracts/clients.ts';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';
import type { RevocationDraft, RevocationEntry } from '../../src/stores/contracts/revocations.ts';
import { PostgresClients } from '../../src/stores/postgres/clients.ts';
import { newTestClient } from '../conformance/clients.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { openTestDatabase } from '../support/postgres-server.ts';

const HOUR = 3_600_000;

async function world() {
  const database = await openTestDatabase();
  const store = new PostgresClients(database.open());
  const clock = new ManualClock(Date.UTC(2030, 0, 1));
  const index = new RevocationIndex();
  const applied: ClientNotice[] = [];
  const published: ClientNotice[] = [];
  const failures: string[] = [];
  let away = false;
  const announcer = new ClientAnnouncer({
    store,
    clock,
    apply: (notice) => applied.push(notice),
    publish: async (notice) => {
      if (away) throw storeUnavailable('Redis is away');
      published.push(notice);
    },
    revocations: {
      entryOf: (issuer, clientId) => index.get('client', issuer, clientId),
      revoke: async (draft) => {
        index.put(entry(draft, clock.nowMs()));
        return { applied: 'all' };
      },
      undo: async (entryId) => {
        const found = [...index.entries()].find((one) => one.entryId === entryId);
        if (found !== undefined) index.remove(found);
        return found !== undefined;
      },
    },
    ownLifetimeMs: (issuer) => (issuer === 'https://auth.test/' ? HOUR : undefined),
    onFailure: (problem) => failures.push(problem),
  });
  const client = (await store.add(newTestClient({}, clock.nowMs()))) as Client;
  const set = async (properties: Partial<Client>) => {
    const current = (await store.get(client.issuer, client.clientId)) as Client;
    const changed = await store.update(
      client.issuer,
      client.clientId,
      { ...current, ...properties },
      { nowMs: clock.nowMs() },
    );
    return announcer.announce(noticeOf(changed as Client));
  };
  const revoked = () => index.get('client', client.issuer, client.clientId);
  return {
    ...{ store, clock, index, applied, published, failures, announcer, client, set, revoked },
    cutRedis: (cut: boolean) => {
      away = cut;
    },
    async [Symbol.asyncDispose]() {
      await announcer[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

let seq = 0;
const entry = (draft: RevocationDraft, nowMs: number): RevocationEntry => {
  seq += 1;
  return { ...draft, entryId: revocationEntryId(draft.kind, draft.issuer, draft.id), seq, revokedAtMs: nowMs };
};

test('H2: disabling revokes the client for good, enabling takes that back', async () => {
  await using it = await world();
  assert.equal(await it.set({ disabled: true }), 'all');
  const { untilMs, notBeforeMs, reason } = it.revoked() as RevocationEntry;
  assert.deepEqual([untilMs, notBeforeMs, reason], ['forever', undefined, 'client_disabled']);
  assert.equal(await it.set({ disabled: false }), 'all');
  assert.equal(it.revoked(), undefined);
  assert.deepEqual(
    it.published.map(({ disabled }) => disabled),
    [true, false],
  );
});

test("enabling leaves an operator's own revocation alone", async () => {
  await using it = await world();
  const { issuer, clientId: id } = it.client;
  it.index.put(entry({ kind: 'client', issuer, id, untilMs: 'forever', reason: 'leaked' }, it.clock.nowMs()));
  await it.set({ disabled: true });
  await it.set({ disabled: false });
  assert.equal(it.revoked()?.reason, 'leaked');
});

test('an operator revoked older tokens: disabling refuses all, enabling brings none of the older ones back', async () => {
  await using it = await world();
  const { issuer, clientId: id } = it.client;
  const notBeforeMs = it.clock.nowMs() - HOUR;
  it.index.put(entry({ kind: 'client', issuer, id, untilMs: 'forever', notBeforeMs, reason: 'leaked' }, notBeforeMs));
  await it.set({ disabled: true });
  assert.deepEqual([it.revoked()?.reason, it.revoked()?.notBeforeMs], [recordReasons.disabledOver, undefined]);
  it.clock.advance(1000);
  await it.set({ disabled: false });
  assert.deepEqual([it.revoked()?.reason, it.revoked()?.notBeforeMs], [recordReasons.enabledOver, it.clock.nowMs()]);
});

test('H2: what a removed client got is refused for as long as it can live, and a new client of the id is not', async () => {
  await using it = await world();
  const { issuer, clientId } = it.client;
  await it.store.remove(issuer, clientId, { nowMs: it.clock.nowMs() });
  await it.announcer.announce((await it.store.notice(issuer, clientId)) as ClientNotice);
  const { untilMs, notBeforeMs, reason } = it.revoked() as RevocationEntry;
  assert.deepEqual([untilMs, notBeforeMs, reason], [it.clock.nowMs() + HOUR, it.clock.nowMs(), 'client_removed']);
  await it.store.add({ ...newTestClient({}, it.clock.nowMs() + 1), clientId });
  await it.announcer.announce((await it.store.notice(issuer, clientId)) as ClientNotice);
  assert.equal(it.revoked()?.notBeforeMs, notBeforeMs);
});

test('what could not be told is told later by whoever looks, and said once', async () => {
  await using it = await world();
  it.cutRedis(true);
  assert.equal(await it.set({ tier: 'paid' }), 'pending');
  assert.equal(it.applied.at(-1)?.tier, 'paid', 'in force here all the same');
  await it.announcer.sweep(0);
  await it.announcer.sweep(0);
  assert.deepEqual(it.failures, ['Redis is away']);
  it.cutRedis(false);
  await it.announcer.sweep(0);
  assert.deepEqual(
    it.published.map(({ version }) => version),
    [2],
  );
  await it.announcer.sweep(0);
  assert.equal(it.published.length, 1, 'and not twice');
});

test('of two changes that are told in the wrong order the later one stands', async () => {
  await using it = await world();
  const { issuer, clientId } = it.client;
  const disabled = await it.store.update(
    issuer,
    clientId,
    { ...it.client, disabled: true },
    { nowMs: it.clock.nowMs() },
  );
  await it.set({ disabled: false });
  await it.announcer.announce(noticeOf(disabled as Client));
  assert.equal(it.revoked(), undefined);
  assert.equal(it.published.at(-1)?.disabled, false);
});

test('publishing all tells of every client, the removed ones too', async () => {
  await using it = await world();
  await it.store.remove(it.client.issuer, it.client.clientId, { nowMs: it.clock.nowMs() });
  await it.store.add(newTestClient());
  assert.equal(await it.announcer.publishAll(), 2);
  assert.deepEqual(it.published.map(({ removed }) => removed).sort(), [false, true]);
});

test('a document is what it was made from, and holds neither name, scope nor secret', async () => {
  await using it = await world();
  const notice = { ...noticeOf(it.client), tier: 'paid', limits: { a: [{ limit: 1, windowMs: 1000 }] } };
  const text = JSON.stringify(documentOf(notice));
  assert.deepEqual(readNotice(JSON.parse(text)), notice);
  assert.ok(!text.includes('billing') && !text.includes(it.client.secrets[0]?.digest as string));
  assert.equal(noticeName(notice), JSON.stringify([it.client.issuer, it.client.clientId]));
});

test('anything else is no document of a client', () => {
  const good = documentOf({
    ...{ issuer: 'i', clientId: 'c', version: 1, tier: undefined, limits: { a: [{ limit: 1, windowMs: 1000 }] } },
    ...{ disabled: false, removed: false, changedAtMs: 1 },
  });
  assert.ok(readNotice(good));
  for (const wrong of [
    { issuer: 1 },
    { client_id: undefined },
    { version: '1' },
    { tier: 7 },
    { limits: [] },
    { limits: { a: [] } },
    { limits: { a: [[0, 1000]] } },
    { limits: { a: [[1.5, 1000]] } },
    { limits: { a: [[1, 10]] } },
    { limits: { a: 'x' } },
    { disabled: 'no' },
    { removed: 0 },
    { changed_at: null },
  ])
    assert.equal(readNotice({ ...good, ...wrong }), undefined, JSON.stringify(wrong));
});
