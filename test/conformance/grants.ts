// What every Grants must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digest } from '../../src/core/encoding.ts';
import { familyId } from '../../src/core/ids.ts';
import type { FamilyRecord, Grants, NewCode, NewFamily } from '../../src/stores/contracts/grants.ts';

/** An opened backend; `other` is another replica on the same store. */
export interface OpenedGrants extends AsyncDisposable {
  readonly store: Grants;
  readonly other: Grants;
  /** Makes the backend unreachable. */
  cut(): Promise<void>;
}

const NOW = Date.UTC(2030, 0, 1, 0, 0, 0, 123);
const MINUTE = 60_000;
const HOUR = 3_600_000;
const ISSUER = 'https://auth.example';
const AT = { nowMs: NOW, graceMs: 10_000, idleUntilMs: NOW + HOUR };

const holder = {
  issuer: ISSUER,
  client: 'c_web',
  subject: 'Ω:"alice',
  session: 's1',
  tenant: undefined,
  scopes: ['openid', 'read'],
  audience: ['api'],
};

const code = (name: string, changes: Partial<NewCode> = {}): NewCode => ({
  ...holder,
  codeDigest: digest(name),
  redirectUri: 'https://app.example/cb?x=1',
  codeChallenge: digest('verifier'),
  createdAtMs: NOW,
  expiresAtMs: NOW + 10 * MINUTE,
  sealed: Buffer.from([0, 1, 255]),
  ...changes,
});

const family = (changes: Partial<NewFamily> = {}): NewFamily => ({
  ...holder,
  familyId: familyId(),
  createdAtMs: NOW,
  expiresAtMs: NOW + 24 * HOUR,
  idleUntilMs: NOW + HOUR,
  refreshable: true,
  sealed: Buffer.from([7, 8]),
  ...changes,
});

/** Contract, concurrency and failure tiers. */
export function grantsConformance(backend: string, open: () => Promise<OpenedGrants>): void {
  const it = (name: string, body: (opened: OpenedGrants) => Promise<void>) =>
    test(`${backend} grants: ${name}`, async () => {
      await using opened = await open();
      await body(opened);
    });
  let codes = 0;
  const begin = async (store: Grants, changes: Partial<NewFamily> = {}): Promise<NewFamily> => {
    codes += 1;
    const [made, begun] = [code(`begin ${codes}`), family(changes)];
    await store.putCode(made);
    assert.equal(await store.redeemCode(made.codeDigest, begun, NOW), true);
    return begun;
  };
  const live = (begun: NewFamily): FamilyRecord => ({
    ...begun,
    counter: 0,
    rotatedAtMs: undefined,
    endedAtMs: undefined,
    endReason: undefined,
  });

  it('a code and the family that comes of it come back whole', async ({ store, other }) => {
    const [made, begun] = [code('a'), family({ tenant: 'acme', session: undefined })];
    await store.putCode(made);
    const kept = { ...made, redeemedAtMs: undefined, familyId: undefined };
    assert.deepEqual(await other.findCode(made.codeDigest), kept);
    assert.equal(await other.redeemCode(made.codeDigest, begun, NOW + 5), true);
    assert.deepEqual(await store.findCode(made.codeDigest), {
      ...kept,
      redeemedAtMs: NOW + 5,
      familyId: begun.familyId,
    });
    assert.deepEqual(await store.find(begun.familyId), live(begun));
    assert.equal(await store.find(familyId()), undefined);
    assert.equal(await store.findCode(digest('none')), undefined);
  });

  it('H5: a code is good for its time to the millisecond, and once', async ({ store }) => {
    await store.putCode(code('late'));
    assert.equal(await store.redeemCode(digest('late'), family(), NOW + 10 * MINUTE), false);
    assert.equal(await store.redeemCode(digest('late'), family(), NOW + 10 * MINUTE - 1), true);
    assert.equal(await store.redeemCode(digest('late'), family(), NOW), false);
    assert.equal(await store.redeemCode(digest('none'), family(), NOW), false);
  });

  it('attack 123: of 50 redemptions of one code over two replicas one wins, and one family begins', async ({
    store,
    other,
  }) => {
    await store.putCode(code('race'));
    const tries = Array.from({ length: 50 }, (_, at) => ({ begun: family(), on: at % 2 === 0 ? store : other }));
    const won = await Promise.all(tries.map(({ begun, on }) => on.redeemCode(digest('race'), begun, NOW)));
    assert.equal(won.filter(Boolean).length, 1);
    const winner = tries[won.indexOf(true)]?.begun.familyId;
    assert.equal((await store.findCode(digest('race')))?.familyId, winner);
    assert.deepEqual(
      (await store.page({ issuer: ISSUER }, undefined, 100, NOW)).map(({ familyId }) => familyId),
      [winner],
    );
  });

  it('C9: a refresh token rotates once; the same within its grace gets the same, afterwards the family ends', async ({
    store,
    other,
  }) => {
    const { familyId } = await begin(store);
    const first = await store.rotate(familyId, 0, AT);
    assert.equal(first.outcome, 'rotated');
    const again = await other.rotate(familyId, 0, { ...AT, nowMs: NOW + 9999 });
    assert.deepEqual(again, { ...first, outcome: 'repeated' });
    const late = await store.rotate(familyId, 0, { ...AT, nowMs: NOW + 10_000 });
    assert.equal(late.outcome, 'reused');
    assert.deepEqual(late.outcome === 'reused' && [late.family.endedAtMs, late.family.endReason], [
      NOW + 10_000,
      'reuse',
    ]);
    assert.deepEqual(await store.rotate(familyId, 1, AT), { outcome: 'dead' });
    assert.deepEqual(await store.rotate(familyId, 0, AT), { outcome: 'dead' }, 'told once');
  });

  it('H8: a clock that was set back makes no grace longer', async ({ store, other }) => {
    const { familyId } = await begin(store);
    await store.rotate(familyId, 0, AT);
    const near = await other.rotate(familyId, 0, { ...AT, nowMs: NOW - 9999 });
    assert.equal(near.outcome, 'repeated', 'clocks of replicas differ');
    assert.equal((await store.rotate(familyId, 0, { ...AT, nowMs: NOW - 10_000 })).outcome, 'reused');
  });

  it('H8: a token before the last one is reuse at once, grace or not', async ({ store }) => {
    const { familyId } = await begin(store);
    await store.rotate(familyId, 0, AT);
    assert.equal((await store.rotate(familyId, 1, AT)).outcome, 'rotated');
    assert.equal((await store.rotate(familyId, 0, AT)).outcome, 'reused');
  });

  it('attack 119: 50 refreshes of one token at once over two replicas make one successor', async ({ store, other }) => {
    const { familyId } = await begin(store);
    const all = await Promise.all(
      Array.from({ length: 50 }, (_, at) => (at % 2 === 0 ? store : other).rotate(familyId, 0, AT)),
    );
    assert.equal(all.filter(({ outcome }) => outcome === 'rotated').length, 1);
    assert.equal(all.filter(({ outcome }) => outcome === 'repeated').length, 49);
    assert.equal((await store.find(familyId))?.counter, 1);
  });

  it('attack 120: a family ends at its absolute time, and when it is idle for too long', async ({ store }) => {
    const { familyId } = await begin(store, { expiresAtMs: NOW + 2 * HOUR });
    assert.deepEqual(await store.rotate(familyId, 0, { ...AT, nowMs: NOW + HOUR }), { outcome: 'dead' });
    const at = { ...AT, nowMs: NOW + HOUR - 1, idleUntilMs: NOW + 99 * HOUR };
    const rotated = await store.rotate(familyId, 0, at);
    assert.equal(rotated.outcome === 'rotated' && rotated.family.idleUntilMs, NOW + 2 * HOUR);
    assert.deepEqual(await store.rotate(familyId, 1, { ...at, nowMs: NOW + 2 * HOUR }), { outcome: 'dead' });
  });

  it('a family without refresh tokens never rotates', async ({ store }) => {
    const { familyId } = await begin(store, { refreshable: false });
    assert.notEqual((await store.rotate(familyId, 0, AT)).outcome, 'rotated');
  });

  it('H8: an ended family stays ended, with the reason of the first end', async ({ store, other }) => {
    const { familyId } = await begin(store);
    const ended = await store.end(familyId, 'operator', NOW + 1);
    assert.deepEqual([ended?.endedAtMs, ended?.endReason], [NOW + 1, 'operator']);
    assert.equal(await other.end(familyId, 'revoked', NOW + 2), undefined);
    assert.equal((await other.find(familyId))?.endReason, 'operator');
    assert.deepEqual(await other.rotate(familyId, 0, AT), { outcome: 'dead' });
  });

  it('K16: within a tenant there are no other grants: not by id, in the list, nor to be ended', async ({ store }) => {
    const within = store.within('acme');
    const own = await begin(store, { tenant: 'acme' });
    const strangers = [await begin(store, { tenant: 'beta' }), await begin(store)];
    await store.putCode(code('beta', { tenant: 'beta' }));
    const ids = [own, ...strangers].map(({ familyId: id }) => id);
    assert.deepEqual(await within.owned(ids), [own.familyId]);
    for (const filter of [{}, { subject: holder.subject }, { session: 's1' }]) {
      assert.deepEqual(await within.page({ issuer: ISSUER, ...filter }, undefined, 10, NOW), [live(own)]);
    }
    assert.deepEqual(await within.page({ issuer: ISSUER, tenant: 'beta' }, undefined, 10, NOW), []);
    for (const { familyId: id } of strangers) {
      assert.equal(await within.find(id), undefined);
      assert.equal(await within.end(id, 'operator', NOW), undefined);
      assert.equal((await store.find(id))?.endedAtMs, undefined);
    }
    assert.equal(await within.dropCodes({ issuer: ISSUER, subject: holder.subject }), 0);
    assert.equal(await store.dropCodes({ issuer: ISSUER, subject: holder.subject }), 1);
    assert.equal((await within.end(own.familyId, 'operator', NOW))?.endReason, 'operator');
    await assert.rejects(within.putCode(code('x', { tenant: 'beta' })), { reason: 'tenant_exceeded' });
    await assert.rejects(within.putCode(code('x')), { reason: 'tenant_exceeded' });
    await within.putCode(code('x', { tenant: 'acme' }));
  });

  it('attack 86: all families and unspent codes of a subject, client, session, tenant, or begun before, end', async ({
    store,
    other,
  }) => {
    const wanted = [
      { subject: 'bob' },
      { client: 'c_other' },
      { session: 's9' },
      { tenant: 'acme' },
      { subject: 'bob', begunBeforeMs: NOW + 1 },
    ];
    for (const [at, filter] of wanted.entries()) {
      const { begunBeforeMs: _, ...same } = filter;
      const hit = await begin(store, same);
      const missed = await begin(store, { subject: 'carol' });
      const later = await begin(store, { ...same, createdAtMs: NOW + 1 });
      await store.putCode(code(`hit ${at}`, same));
      await store.putCode(code(`miss ${at}`, { subject: 'carol' }));
      const foreign = await begin(store, { ...same, issuer: 'https://another.example' });
      const bounded = filter.begunBeforeMs !== undefined;
      const ended = await other.endAll({ issuer: ISSUER, ...filter }, 'revoked', NOW + 2);
      assert.deepEqual(ended, { families: bounded ? 1 : 2, codes: 1 }, JSON.stringify(filter));
      assert.equal((await store.find(hit.familyId))?.endReason, 'revoked');
      assert.equal((await store.find(later.familyId))?.endReason, bounded ? undefined : 'revoked');
      for (const { familyId } of [missed, foreign]) assert.equal((await store.find(familyId))?.endReason, undefined);
      assert.equal(await store.findCode(digest(`hit ${at}`)), undefined);
      assert.notEqual(await store.findCode(digest(`miss ${at}`)), undefined);
      if (bounded) await store.end(later.familyId, 'operator', NOW);
    }
    await assert.rejects(async () => store.endAll({ issuer: ISSUER }, 'revoked', NOW), TypeError);
  });

  it('K11: what is excepted is neither listed, nor ended, nor dropped; a session that is unknown is not the excepted one', async ({
    store,
    other,
  }) => {
    const filter = { issuer: ISSUER, subject: holder.subject, exceptSession: 's1' };
    const kept = await begin(store);
    const gone = [await begin(store, { session: 's2' }), await begin(store, { session: undefined })];
    await store.putCode(code('kept'));
    await store.putCode(code('gone', { session: 's2' }));
    await store.putCode(code('without', { session: undefined }));
    assert.equal(await other.dropCodes(filter), 2);
    assert.notEqual(await store.findCode(digest('kept')), undefined);
    const listed = await other.page(filter, undefined, 10, NOW);
    assert.deepEqual(listed.map(({ familyId }) => familyId).sort(), gone.map(({ familyId }) => familyId).sort());
    const { exceptSession: _, ...all } = filter;
    const others = await other.page({ ...all, exceptFamily: kept.familyId }, undefined, 10, NOW);
    assert.deepEqual(others, listed);
    assert.deepEqual(await other.endAll(filter, 'revoked', NOW), { families: 2, codes: 0 });
    assert.equal((await store.find(kept.familyId))?.endReason, undefined);
    for (const empty of [{ exceptSession: 's1' }, { exceptFamily: kept.familyId }]) {
      await assert.rejects(async () => store.endAll({ issuer: ISSUER, ...empty }, 'revoked', NOW), TypeError);
      await assert.rejects(async () => store.dropCodes({ issuer: ISSUER, ...empty }), TypeError);
    }
  });

  it('of a redemption and a dropping of its code one wins, and a family that came of it is found afterwards', async ({
    store,
    other,
  }) => {
    const filter = { issuer: ISSUER, subject: holder.subject };
    for (let at = 0; at < 20; at += 1) {
      await store.putCode(code(`raced ${at}`));
      const begun = family();
      const dropping = other.dropCodes(filter).then(async (dropped) => {
        const listed = await other.page(filter, undefined, 100, NOW);
        return { dropped, found: listed.some(({ familyId }) => familyId === begun.familyId) };
      });
      const [redeemed, { dropped, found }] = await Promise.all([
        store.redeemCode(digest(`raced ${at}`), begun, NOW),
        dropping,
      ]);
      assert.deepEqual([dropped, found], redeemed ? [0, true] : [1, false]);
    }
  });

  it('a family alone can be named', async ({ store }) => {
    const [one, two] = [await begin(store), await begin(store)];
    assert.deepEqual(await store.endAll({ issuer: ISSUER, family: one.familyId }, 'revoked', NOW), {
      families: 1,
      codes: 0,
    });
    assert.equal((await store.find(two.familyId))?.endReason, undefined);
  });

  it('live families are listed newest first, at every page size', async ({ store }) => {
    const made: string[] = [];
    for (let at = 0; at < 5; at += 1) {
      const begun = await begin(store, { createdAtMs: NOW + (at >> 1), client: at === 4 ? 'c_other' : 'c_web' });
      made.push(begun.familyId);
    }
    await store.end(made[0] as string, 'operator', NOW);
    const whole = await store.page({ issuer: ISSUER }, undefined, 10, NOW);
    assert.equal(whole.length, 4);
    for (let size = 1; size <= 4; size += 1) {
      const seen: FamilyRecord[] = [];
      for (;;) {
        const page = await store.page({ issuer: ISSUER }, seen.at(-1), size, NOW);
        seen.push(...page);
        if (page.length < size) break;
      }
      assert.deepEqual(seen, whole);
    }
    assert.equal((await store.page({ client: 'c_other' }, undefined, 10, NOW)).length, 1);
    assert.deepEqual(await store.page({}, undefined, 10, NOW + HOUR), [], 'idle ones are not live');
  });

  it('what can be used no more is deleted; a spent code is remembered for a day', async ({ store }) => {
    const { familyId } = await begin(store);
    await store.putCode(code('unspent'));
    assert.equal(await store.expire(NOW + 9 * MINUTE), 0);
    assert.equal(await store.expire(NOW + 10 * MINUTE), 1);
    assert.equal(await store.expire(NOW + HOUR), 1);
    assert.equal(await store.find(familyId), undefined);
    assert.equal(await store.expire(NOW + 10 * MINUTE + 24 * HOUR), 1);
  });

  it('with the store away everything is store_unavailable, and nothing has happened', async ({ store, cut }) => {
    const { familyId } = await begin(store);
    await store.putCode(code('kept'));
    await cut();
    const away = { kind: 'store_unavailable' };
    await assert.rejects(store.putCode(code('x')), away);
    await assert.rejects(store.findCode(digest('kept')), away);
    await assert.rejects(store.redeemCode(digest('kept'), family(), NOW), away);
    await assert.rejects(store.rotate(familyId, 0, AT), away);
    await assert.rejects(store.end(familyId, 'revoked', NOW), away);
    await assert.rejects(store.endAll({ issuer: ISSUER, subject: 'x' }, 'revoked', NOW), away);
    await assert.rejects(store.dropCodes({ issuer: ISSUER, subject: 'x' }), away);
    await assert.rejects(store.page({}, undefined, 1, NOW), away);
  });
}
