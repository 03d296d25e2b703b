// What every SigningKeyStore must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { hash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { NewSigningKey, SigningKeyStore } from '../../src/stores/contracts/signing-keys.ts';

/** An opened, empty backend: two replicas of it, and a way to take it away. */
export interface OpenedSigningKeys extends AsyncDisposable {
  readonly store: SigningKeyStore;
  readonly other: SigningKeyStore;
  cut(): Promise<void>;
}

const ISSUER = 'https://auth.example.com';
const NOW = Date.UTC(2026, 5, 1);

function newKey(state: 'pending' | 'active', createdAtMs = NOW): NewSigningKey {
  const kid = hash('sha256', randomBytes(8), 'base64url');
  const publicJwk = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid, alg: 'ES256', use: 'sig' };
  const sealedPrivate = randomBytes(200);
  return {
    issuer: ISSUER,
    kid,
    algorithm: 'ES256',
    publicJwk,
    state,
    createdAtMs,
    activateAtMs: createdAtMs,
    sealedPrivate,
  };
}

const create = (key: NewSigningKey) => ({ type: 'create' as const, key });
const recordOf = ({ sealedPrivate: _, ...key }: NewSigningKey) => ({
  ...key,
  retireAtMs: undefined,
  endedAtMs: undefined,
});

/** Contract, concurrency and failure tiers. */
export function signingKeyStoreConformance(backend: string, open: () => Promise<OpenedSigningKeys>): void {
  test(`${backend} signing keys: an issuer without keys has none, at revision 0`, async () => {
    await using opened = await open();
    assert.deepEqual(await opened.store.read(ISSUER), { revision: 0, keys: [] });
    assert.equal(await opened.store.sealedPrivate(ISSUER, newKey('active').kid), undefined);
  });

  test(`${backend} signing keys: what was stored comes back whole, on every replica, and only for its issuer`, async () => {
    await using opened = await open();
    const key = newKey('active');
    const state = await opened.store.change(ISSUER, NOW, () => [create(key)]);
    assert.deepEqual(state, { revision: NOW, keys: [recordOf(key)] });
    assert.deepEqual(await opened.other.read(ISSUER), state);
    assert.deepEqual(await opened.other.sealedPrivate(ISSUER, key.kid), key.sealedPrivate);
    assert.deepEqual(await opened.other.read('https://other.example.com'), { revision: 0, keys: [] });
    assert.equal(await opened.other.sealedPrivate('https://other.example.com', key.kid), undefined);
  });

  test(`${backend} signing keys: a key goes through its states, and its private part goes with its end`, async () => {
    await using opened = await open();
    const { store } = opened;
    const [old, next] = [newKey('active'), newKey('pending', NOW + 1)];
    await store.change(ISSUER, NOW, () => [create(old), create(next)]);
    await store.change(ISSUER, NOW, () => [
      { type: 'begin_retiring', kid: old.kid, retireAtMs: NOW + 50 },
      { type: 'activate', kid: next.kid, activateAtMs: NOW + 5 },
    ]);
    await store.change(ISSUER, NOW, () => [{ type: 'retire', kid: old.kid, endedAtMs: NOW + 60 }]);
    await store.change(ISSUER, NOW, () => [{ type: 'ban', kid: next.kid, endedAtMs: NOW + 70 }]);
    assert.deepEqual((await store.read(ISSUER)).keys, [
      { ...recordOf(old), state: 'retired', retireAtMs: NOW + 50, endedAtMs: NOW + 60 },
      { ...recordOf(next), state: 'banned', activateAtMs: NOW + 5, endedAtMs: NOW + 70 },
    ]);
    assert.equal(await store.sealedPrivate(ISSUER, old.kid), undefined);
    assert.equal(await store.sealedPrivate(ISSUER, next.kid), undefined);
    await store.change(ISSUER, NOW, () => [{ type: 'forget', kid: old.kid }]);
    assert.deepEqual(
      (await store.read(ISSUER)).keys.map(({ kid }) => kid),
      [next.kid],
    );
  });

  test(`${backend} signing keys: the revision grows with every change, also when the clock goes back, and not without one`, async () => {
    await using opened = await open();
    const key = newKey('active');
    await opened.store.change(ISSUER, NOW, () => [create(key)]);
    assert.equal((await opened.other.change(ISSUER, NOW - 1e6, () => [create(newKey('pending'))])).revision, NOW + 1);
    assert.equal((await opened.store.change(ISSUER, NOW + 1e6, () => [])).revision, NOW + 1);
    assert.equal((await opened.store.change(ISSUER, NOW + 1e6, () => [create(newKey('pending'))])).revision, NOW + 1e6);
  });

  test(`${backend} signing keys: steps that do not fit, and what decide throws, change nothing`, async () => {
    await using opened = await open();
    const key = newKey('active');
    const before = await opened.store.change(ISSUER, NOW, () => [create(key)]);
    const refused: Parameters<SigningKeyStore['change']>[2][] = [
      () => [{ type: 'activate', kid: key.kid, activateAtMs: NOW }],
      () => [{ type: 'retire', kid: key.kid, endedAtMs: NOW }],
      () => [{ type: 'forget', kid: key.kid }],
      () => [{ type: 'ban', kid: newKey('active').kid, endedAtMs: NOW }],
      () => [create(newKey('pending')), { type: 'forget', kid: key.kid }],
      () => [create(newKey('active'))],
      () => [create(key)],
      () => {
        throw new RangeError('no');
      },
    ];
    for (const decide of refused) await assert.rejects(opened.store.change(ISSUER, NOW, decide));
    assert.deepEqual(await opened.store.read(ISSUER), before);
  });

  test(`${backend} signing keys: attack 85: a public part with a private member is not stored`, async () => {
    await using opened = await open();
    const key = newKey('active');
    const leaking = { ...key, publicJwk: { ...key.publicJwk, d: 'secret' } };
    await assert.rejects(opened.store.change(ISSUER, NOW, () => [create(leaking)]));
    assert.deepEqual((await opened.store.read(ISSUER)).keys, []);
  });

  test(`${backend} signing keys: of replicas that all find no key, one makes it and the others find it`, async () => {
    await using opened = await open();
    const states = await Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        (n % 2 ? opened.store : opened.other).change(ISSUER, NOW, (keys) =>
          keys.length === 0 ? [create(newKey('active'))] : [],
        ),
      ),
    );
    for (const { keys } of states) assert.equal(keys.length, 1);
    assert.equal(new Set(states.map(({ keys }) => keys[0]?.kid)).size, 1);
  });

  test(`${backend} signing keys: without the store every call is store_unavailable`, async () => {
    await using opened = await open();
    await opened.cut();
    const away = { kind: 'store_unavailable' };
    await assert.rejects(opened.store.read(ISSUER), away);
    await assert.rejects(opened.store.sealedPrivate(ISSUER, 'kid'), away);
    await assert.rejects(
      opened.store.change(ISSUER, NOW, () => [create(newKey('active'))]),
      away,
    );
  });
}
