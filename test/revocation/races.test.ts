// Calls of replicas that overtake one another, told step by step. What else may happen is test/properties/revocations.test.ts's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';
import type { RevocationDraft } from '../../src/stores/contracts/revocations.ts';
import { type Gate, type Replica, START_MS, World } from './replica-world.ts';

const HOUR_MS = 3_600_000;
const ENTRY_ID = revocationEntryId('subject', 'https://id.example', 'alice');

const alice = (reason: string, untilMs: RevocationDraft['untilMs'] = 'forever'): RevocationDraft => ({
  ...{ kind: 'subject', issuer: 'https://id.example', id: 'alice' },
  untilMs,
  reason,
});

async function world(isDurable = true) {
  const made = new World({ isDurable });
  const [a, b] = [await made.start(), await made.start()];
  return { world: made, a, b };
}

/** The reason by which each of the living refuses, the log's, and the durable store's. */
async function reasons({ log, living, durable }: World) {
  const row = durable?.rows.get(ENTRY_ID);
  return [
    ...living.map(({ index }) => index.get('subject', 'https://id.example', 'alice')?.reason),
    (await log.get(ENTRY_ID))?.reason,
    ...(durable === undefined ? [] : [row?.undoneAtMs === undefined ? row?.draft.reason : undefined]),
  ];
}

/** Lets everything go on but the one call. */
const holding = (of: Replica, name: string, isAsked: boolean) => (gate: Gate) =>
  gate.of !== of || gate.name !== name || gate.isAsked !== isAsked;

test('an undo that reaches the log late takes back nothing that was revoked after it', async () => {
  const { world: all, a, b } = await world();
  void b.revoke(alice('first'));
  await all.drain();
  void a.undo(ENTRY_ID);
  await all.drain(holding(a, 'log.undo', true));
  const again = b.revoke(alice('again'));
  await all.drain(holding(a, 'log.undo', true));
  assert.equal((await again).applied, 'all');
  await all.settle();
  assert.deepEqual(await reasons(all), ['again', 'again', 'again', 'again']);
});

test('an undo that is told late, by whichever replica, takes back nothing that was revoked after it', async () => {
  const { world: all, a, b } = await world();
  void b.revoke(alice('first'));
  await all.drain();
  a.setLog(false);
  void a.undo(ENTRY_ID);
  await all.drain();
  all.passedMs += 4000;
  // Read while it waits to be told, told when it has been replaced.
  b.turn('send');
  await all.drain(holding(b, 'log.undo', true));
  void a.revoke(alice('again'));
  a.setLog(true);
  await all.drain(holding(b, 'log.undo', true));
  await all.settle();
  assert.deepEqual(await reasons(all), ['again', 'again', 'again', 'again']);
});

for (const isDurable of [true, false]) {
  test(`an answer of the log that comes late hides nothing that came after it: ${isDurable ? 'durable' : 'Redis alone'}`, async () => {
    const { world: all, a, b } = await world(isDurable);
    void a.revoke(alice('for an hour', START_MS + HOUR_MS));
    await all.drain(holding(a, 'log.append', false));
    void b.revoke(alice('for ever'));
    await all.drain(holding(a, 'log.append', false));
    void a.follower.observe(all.log.current());
    await all.drain(holding(a, 'log.append', false));
    await all.drain();
    assert.deepEqual(new Set(await reasons(all)), new Set(['for ever']));
  });

  test(`a late answer does not bring back what was taken back: ${isDurable ? 'durable' : 'Redis alone'}`, async () => {
    const { world: all, a, b } = await world(isDurable);
    void a.revoke(alice('mistaken'));
    await all.drain(holding(a, 'log.append', false));
    void b.undo(ENTRY_ID);
    await all.drain(holding(a, 'log.append', false));
    void a.follower.observe(all.log.current());
    await all.drain(holding(a, 'log.append', false));
    await all.drain();
    assert.deepEqual(new Set(await reasons(all)), new Set([undefined]));
  });
}

test('a replica that was cut off puts nothing old over what the durable store remembers', async () => {
  const { world: all, a, b } = await world();
  void a.revoke(alice('for an hour', START_MS + HOUR_MS));
  await all.drain();
  await all.settle();
  b.setLog(false);
  void a.revoke(alice('for ever'));
  await all.drain();
  a.isDead = true;
  all.log.lose();
  b.setLog(true);
  await all.settle();
  assert.deepEqual(await reasons(all), ['for ever', 'for ever', 'for ever']);
});

test('a replica that is cut off does not take for told what it knows from before', async () => {
  const { world: all, a, b } = await world();
  void a.revoke(alice('stolen'));
  await all.settle();
  b.setLog(false);
  void a.undo(ENTRY_ID);
  await all.drain();
  void a.revoke(alice('stolen'));
  await all.drain(holding(a, 'log.append', true));
  a.isDead = true;
  all.gates = [];
  all.passedMs += 4000;
  b.turn('send');
  await all.drain();
  await all.settle();
  assert.deepEqual(await reasons(all), ['stolen', 'stolen', 'stolen']);
});

test('Redis alone: what waited for the log takes no place from what others revoked meanwhile', async () => {
  const { world: all, a, b } = await world(false);
  a.setLog(false);
  const waiting = a.revoke(alice('for an hour', START_MS + HOUR_MS));
  await all.drain();
  assert.equal((await waiting).applied, 'pending');
  void b.revoke(alice('for ever'));
  await all.drain();
  await all.settle();
  assert.deepEqual(await reasons(all), ['for ever', 'for ever', 'for ever']);
});

test('another server that answers while the log is read anew is read, too: its numbers may be the same', async () => {
  const { world: all, a, b } = await world(false);
  const c = await all.start();
  void a.revoke(alice('on the first'));
  await all.drain(({ of }) => of === a);
  b.follower.refresh();
  // Read from the first server, and not yet compared.
  await all.drain(({ of, name, isAsked }) => of === b && (name !== 'log.snapshot' || isAsked));
  await all.drain(({ of, name }) => of === b && name === 'log.head');
  a.isDead = true;
  all.log.rewind(1);
  for (const replica of [b, c]) replica.follower.refresh();
  await all.drain(({ of }) => of === c);
  void c.revoke(alice('on the second'));
  await all.drain(({ of }) => of === c);
  await all.drain();
  await all.settle();
  assert.deepEqual(await reasons(all), ['on the second', 'on the second', 'on the second']);
});
