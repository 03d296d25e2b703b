// What every InitialAccessTokens must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { mintPrefixedSecret, secretDigest } from '../../src/core/prefixed-secret.ts';
import type { InitialAccessToken, InitialAccessTokens } from '../../src/stores/contracts/initial-access-tokens.ts';

/** An opened backend. */
export interface OpenedInitialTokens extends AsyncDisposable {
  readonly store: InitialAccessTokens;
  cut(): Promise<void>;
}

const NOW = Date.UTC(2030, 0, 1, 0, 0, 0, 123);

/** All that can be used: tests make few. */
const listed = (store: InitialAccessTokens) => store.page(NOW, undefined, 1000);

const tokenWith = (usesLeft: number, expiresAtMs = NOW + 1000): InitialAccessToken => ({
  id: `it_${randomUUID()}`,
  digest: secretDigest(mintPrefixedSecret('dwi')),
  usesLeft,
  createdAtMs: NOW,
  createdBy: 'op_1',
  expiresAtMs,
});

/** Contract, concurrency and failure tiers. */
export function initialTokensConformance(backend: string, open: () => Promise<OpenedInitialTokens>): void {
  const it = (name: string, body: (opened: OpenedInitialTokens) => Promise<void>) =>
    test(`${backend} initial access tokens: ${name}`, async () => {
      await using opened = await open();
      await body(opened);
    });

  it('attack 124: a token is good for its number of uses', async ({ store }) => {
    const token = tokenWith(2);
    await store.add(token);
    assert.deepEqual(await listed(store), [token]);
    assert.equal(await store.redeem(token.digest, NOW), token.id);
    assert.deepEqual(await listed(store), [{ ...token, usesLeft: 1 }]);
    assert.equal(await store.redeem(token.digest, NOW), token.id);
    assert.equal(await store.redeem(token.digest, NOW), undefined);
    assert.deepEqual(await listed(store), []);
  });

  it('attack 124: of 50 redemptions at once as many succeed as uses were left', async ({ store }) => {
    const token = tokenWith(3);
    await store.add(token);
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => store.redeem(token.digest, NOW)));
    assert.equal(outcomes.filter((outcome) => outcome === token.id).length, 3);
  });

  it('attack 124: an expired, removed or unknown one is none, to the millisecond', async ({ store }) => {
    const [kept, removed] = [tokenWith(1), tokenWith(1)];
    await store.add(kept);
    await store.add(removed);
    assert.equal(await store.remove(removed.id), true);
    assert.equal(await store.remove(removed.id), false);
    assert.equal(await store.redeem(removed.digest, NOW), undefined);
    assert.equal(await store.redeem(secretDigest('unknown'), NOW), undefined);
    assert.equal(await store.redeem(kept.digest, NOW + 1000), undefined);
    assert.equal(await store.redeem(kept.digest, NOW + 999), kept.id);
  });

  it('pages of every size hold each token once, newest first', async ({ store }) => {
    // Two of each moment: ties are ordered by id.
    for (let at = 0; at < 5; at += 1) await store.add({ ...tokenWith(1), createdAtMs: NOW + Math.floor(at / 2) });
    const whole = await listed(store);
    assert.deepEqual(
      whole.map(({ createdAtMs }) => createdAtMs - NOW),
      [2, 1, 1, 0, 0],
    );
    for (let size = 1; size <= 6; size += 1) {
      const seen: InitialAccessToken[] = [];
      for (let page = await store.page(NOW, undefined, size); page.length > 0; ) {
        seen.push(...page);
        page = await store.page(NOW, seen.at(-1), size);
      }
      assert.deepEqual(seen, whole, `pages of ${size}`);
    }
  });

  it('what is spent or expired is deleted and counted', async ({ store }) => {
    for (const token of [tokenWith(0), tokenWith(1, NOW), tokenWith(1, NOW + 1)]) await store.add(token);
    assert.equal(await store.expire(NOW), 2);
    assert.equal((await listed(store)).length, 1);
  });

  it('with the store away every call says so', async ({ store, cut }) => {
    await cut();
    const away = { name: 'SidecarError', kind: 'store_unavailable' };
    await assert.rejects(store.redeem(secretDigest('x'), NOW), away);
    await assert.rejects(store.add(tokenWith(1)), away);
  });
}
