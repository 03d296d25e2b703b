// What every CredentialStore must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type {
  CredentialStore,
  NewWebauthnCredential,
  WebauthnCredential,
} from '../../src/stores/contracts/credentials.ts';

/** An opened backend; `other` is another replica on the same store. */
export interface OpenedCredentials extends AsyncDisposable {
  readonly store: CredentialStore;
  readonly other: CredentialStore;
  /** Flips one bit of a sealed field. */
  damage(credentialId: string, field: 'public_key' | 'aaguid'): Promise<void>;
  /** Makes the backend unreachable, until `mend`. */
  cut(): Promise<void>;
  mend(): Promise<void>;
}

const NOW = Date.UTC(2030, 0, 1, 0, 0, 0, 123);
const alice = { tenant: undefined, userId: 'alice' };

/** A credential with everything random that an authenticator would choose. */
export function newCredential(changes: Partial<NewWebauthnCredential> = {}): NewWebauthnCredential {
  return {
    ...alice,
    credentialId: randomBytes(32).toString('base64url'),
    publicKey: randomBytes(77),
    aaguid: randomBytes(16),
    signCount: 10,
    transports: ['internal', 'hybrid'],
    createdAtMs: NOW,
    ...changes,
  };
}

async function kept(store: CredentialStore, changes: Partial<NewWebauthnCredential> = {}) {
  const made = newCredential(changes);
  assert.equal(await store.create(made), true);
  return made;
}

function sameAsMade(found: WebauthnCredential | undefined, made: NewWebauthnCredential, lastUsedAtMs?: number): void {
  const { dataKeyId, ...rest } = found ?? assert.fail('there is no such credential');
  assert.match(dataKeyId, /^dk[A-Za-z0-9_-]{22}$/);
  assert.deepEqual(rest, { ...made, lastUsedAtMs });
}

/** Contract, concurrency and failure tiers. */
export function credentialsConformance(backend: string, open: () => Promise<OpenedCredentials>): void {
  const it = (name: string, body: (opened: OpenedCredentials) => Promise<void>) =>
    test(`${backend} credentials: ${name}`, async () => {
      await using opened = await open();
      await body(opened);
    });

  it('L13: what was created comes back whole, on every replica', async ({ store, other }) => {
    const made = await kept(store, { tenant: 'acme', userId: 'Ω:"alice\u{1F511}', transports: ['usb', 'odd,one'] });
    sameAsMade(await store.get(made.credentialId), made);
    sameAsMade(await other.get(made.credentialId), made);
  });

  it('L13: weakness 1.3.3: a credential with an AAGUID reads as well as one without', async ({ store }) => {
    const [with_, without] = [await kept(store), await kept(store, { aaguid: undefined, transports: [] })];
    sameAsMade(await store.get(with_.credentialId), with_);
    sameAsMade(await store.get(without.credentialId), without);
    assert.equal((await store.list(alice)).credentials.length, 2);
  });

  it('L13 L16: an unknown credential is undefined and has no sign count, an unknown user has none', async ({
    store,
  }) => {
    await kept(store);
    for (const unknown of ['bm9uZQ', '', 'a\0', '%', 'x'.repeat(2000)]) {
      assert.equal(await store.get(unknown), undefined);
      assert.equal(await store.remove(alice, unknown), false);
      assert.equal(await store.advance(unknown, 1, NOW), undefined);
    }
    const bob = { ...alice, userId: 'bob' };
    assert.deepEqual(await store.list(bob), { credentials: [], unreadable: [] });
    assert.equal(await store.count(bob), 0);
  });

  it('L13: list and count are of one user of one tenant, oldest first', async ({ store }) => {
    const later = await kept(store, { createdAtMs: NOW + 1 });
    const first = await kept(store);
    const elsewhere = await kept(store, { tenant: 'acme' });
    await kept(store, { userId: 'bob' });
    const { credentials, unreadable } = await store.list(alice);
    assert.deepEqual(
      [credentials.map(({ credentialId }) => credentialId), unreadable],
      [[first.credentialId, later.credentialId], []],
    );
    assert.equal(await store.count(alice), 2);
    const acme = { ...alice, tenant: 'acme' };
    assert.deepEqual(
      (await store.list(acme)).credentials.map(({ credentialId }) => credentialId),
      [elsewhere.credentialId],
    );
    assert.equal(await store.count(acme), 1);
  });

  it('L13: removed is removed: true, then false, and its id may be registered again', async ({ store, other }) => {
    const made = await kept(store);
    assert.equal(await store.remove(alice, made.credentialId), true);
    assert.equal(await other.remove(alice, made.credentialId), false);
    assert.equal(await other.get(made.credentialId), undefined);
    assert.equal(await other.create({ ...made, userId: 'bob' }), true);
  });

  it('nobody removes the credential of another user or tenant', async ({ store }) => {
    const made = await kept(store);
    assert.equal(await store.remove({ ...alice, userId: 'bob' }, made.credentialId), false);
    assert.equal(await store.remove({ ...alice, tenant: 'acme' }, made.credentialId), false);
    assert.equal(await store.count(alice), 1);
  });

  it('attack 134: a credential id that is registered is refused to its owner, to others and to other tenants', async ({
    store,
  }) => {
    const made = await kept(store);
    const { credentialId } = made;
    for (const thief of [{}, { userId: 'mallory' }, { userId: 'mallory', tenant: 'acme' }, { tenant: 'acme' }])
      assert.equal(await store.create(newCredential({ ...thief, credentialId })), false);
    sameAsMade(await store.get(credentialId), made);
    assert.equal(await store.count({ tenant: undefined, userId: 'mallory' }), 0);
  });

  it('attack 134: of 20 users who register one credential id at once over two replicas one gets it', async ({
    store,
    other,
  }) => {
    const credentialId = randomBytes(16).toString('base64url');
    const users = Array.from({ length: 20 }, (_, at) => `u${at}`);
    const created = await Promise.all(
      users.map((userId, at) => (at % 2 ? store : other).create(newCredential({ userId, credentialId }))),
    );
    assert.equal(created.filter(Boolean).length, 1);
    assert.equal((await store.get(credentialId))?.userId, users[created.indexOf(true)]);
  });

  it('weakness 1.3.10: credential ids of 1 to 1023 bytes, and nothing else', async ({ store }) => {
    const userId = 'x'.repeat(512);
    for (const size of [1, 64, 65, 1023]) {
      const made = await kept(store, { userId, credentialId: randomBytes(size).toString('base64url') });
      sameAsMade(await store.get(made.credentialId), made);
    }
    const ids = ['', 'A', 'AB', 'AA==', 'a+/b', randomBytes(1024).toString('base64url')];
    for (const credentialId of ids) await assert.rejects(store.create(newCredential({ credentialId })), TypeError);
    assert.equal(await store.count({ tenant: undefined, userId }), 4);
  });

  it('what no authenticator gives is a TypeError, and nothing is kept', async ({ store }) => {
    const wrong: Partial<NewWebauthnCredential>[] = [
      { signCount: -1 },
      { signCount: 2 ** 32 },
      { signCount: 1.5 },
      { publicKey: Buffer.alloc(0) },
      { aaguid: randomBytes(15) },
      { userId: '' },
      { userId: 'ä'.repeat(257) },
      { userId: 'a\0b' },
      { userId: '\ud800' },
      { tenant: '' },
      { tenant: '\udfff' },
      { transports: ['a\0'] },
      { transports: Array.from({ length: 17 }, () => 'usb') },
      { transports: ['x'.repeat(65)] },
    ];
    for (const changes of wrong) await assert.rejects(store.create(newCredential(changes)), TypeError);
    assert.equal(await store.count(alice), 0);
    const { credentialId } = await kept(store);
    await assert.rejects(async () => store.advance(credentialId, 2 ** 32, NOW), TypeError);
  });

  it('L16: a sign count that grows is taken, answers the old one and notes the use', async ({ store, other }) => {
    const made = await kept(store);
    assert.deepEqual(await store.advance(made.credentialId, 11, NOW + 5), { outcome: 'advanced', previous: 10 });
    sameAsMade(await other.get(made.credentialId), { ...made, signCount: 11 }, NOW + 5);
    const most = 2 ** 32 - 1;
    assert.deepEqual(await other.advance(made.credentialId, most, NOW + 9), { outcome: 'advanced', previous: 11 });
    sameAsMade(await store.get(made.credentialId), { ...made, signCount: most }, NOW + 9);
  });

  it('L16: 10 to 5, 10 to 10 and 10 to 0 are regressions and leave the row as it was', async ({ store }) => {
    const made = await kept(store);
    for (const signCount of [5, 10, 0]) {
      assert.deepEqual(await store.advance(made.credentialId, signCount, NOW + 5), {
        outcome: 'regressed',
        previous: 10,
      });
    }
    sameAsMade(await store.get(made.credentialId), made);
  });

  it('attack 133: weakness 1.3.7: 0 after 0 passes as often as it comes, for synced passkeys', async ({ store }) => {
    const made = await kept(store, { signCount: 0 });
    for (const at of [NOW + 1, NOW + 2]) {
      assert.deepEqual(await store.advance(made.credentialId, 0, at), { outcome: 'advanced', previous: 0 });
      sameAsMade(await store.get(made.credentialId), made, at);
    }
    assert.deepEqual(await store.advance(made.credentialId, 3, NOW + 3), { outcome: 'advanced', previous: 0 });
    assert.deepEqual(await store.advance(made.credentialId, 0, NOW + 4), { outcome: 'regressed', previous: 3 });
  });

  it('two users whose ids are no text are not taken for one', async ({ store }) => {
    await kept(store, { userId: '\ufffd' });
    for (const userId of ['\ud800', '\udc00']) await assert.rejects(store.list({ ...alice, userId }), TypeError);
  });

  it('a use that is noted late does not hide a later one', async ({ store }) => {
    const made = await kept(store);
    await store.advance(made.credentialId, 11, NOW + 100);
    await store.advance(made.credentialId, 12, NOW + 50);
    sameAsMade(await store.get(made.credentialId), { ...made, signCount: 12 }, NOW + 100);
  });

  it('L16: of 30 assertions with one sign count at once over two replicas one passes', async ({ store, other }) => {
    const { credentialId } = await kept(store);
    const all = await Promise.all(
      Array.from({ length: 30 }, (_, at) => (at % 2 ? store : other).advance(credentialId, 11, NOW)),
    );
    assert.equal(all.filter((each) => each?.outcome === 'advanced').length, 1);
    for (const each of all.filter((one) => one?.outcome === 'regressed')) assert.equal(each?.previous, 11);
  });

  it('L16: counts that race from 11 to 40 never go back, and the highest stays', async ({ store, other }) => {
    const { credentialId } = await kept(store);
    const counts = Array.from({ length: 30 }, (_, at) => 11 + ((at * 7) % 30));
    const all = await Promise.all(
      counts.map((signCount, at) => (at % 2 ? store : other).advance(credentialId, signCount, NOW)),
    );
    for (const [at, each] of all.entries())
      assert.equal(each?.outcome, (counts[at] as number) > (each?.previous as number) ? 'advanced' : 'regressed');
    const passed = all.flatMap((each, at) => (each?.outcome === 'advanced' ? [[each.previous, counts[at]]] : []));
    const chain = passed.sort(([a = 0], [b = 0]) => a - b);
    assert.deepEqual(
      chain.map(([previous]) => previous),
      [10, ...chain.slice(0, -1).map(([, next]) => next)],
    );
    assert.equal((await store.get(credentialId))?.signCount, 40);
  });

  it('L13: of 20 removals at once one is true', async ({ store, other }) => {
    const { credentialId } = await kept(store);
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, at) => (at % 2 ? store : other).remove(alice, credentialId)),
    );
    assert.equal(all.filter(Boolean).length, 1);
  });

  for (const field of ['public_key', 'aaguid'] as const) {
    it(`L14: a flipped bit in ${field} is an error that names the place, never a silent null`, async (opened) => {
      const { credentialId } = await kept(opened.store);
      await opened.damage(credentialId, field);
      await assert.rejects(opened.store.get(credentialId), (error: Error & { reason?: string }) => {
        assert.equal(error.reason, 'sealed_unreadable');
        assert.ok(error.message.includes(`alice/${credentialId}/${field}`), error.message);
        return true;
      });
    });

    it(`weakness 1.3.3: a broken ${field} hides no other credential of the list, and is named`, async (opened) => {
      const { store } = opened;
      const [good, broken, fine] = [await kept(store), await kept(store), await kept(store, { createdAtMs: NOW + 1 })];
      await opened.damage(broken.credentialId, field);
      const { credentials, unreadable } = await store.list(alice);
      assert.equal(credentials.length, 2);
      sameAsMade(
        credentials.find(({ credentialId }) => credentialId === good.credentialId),
        good,
      );
      sameAsMade(credentials[1], fine);
      assert.deepEqual(
        unreadable.map(({ credentialId, createdAtMs }) => [credentialId, createdAtMs]),
        [[broken.credentialId, NOW]],
      );
      assert.equal(await store.count(alice), 3);
      assert.equal(await store.remove(alice, broken.credentialId), true);
      assert.deepEqual((await store.list(alice)).unreadable, []);
    });
  }

  it('without the store every call is store_unavailable, and nothing has changed afterwards', async (opened) => {
    const { store } = opened;
    const made = await kept(store);
    await opened.cut();
    const away = { kind: 'store_unavailable' };
    const fresh = newCredential();
    await assert.rejects(store.create(fresh), away);
    await assert.rejects(store.get(made.credentialId), away);
    await assert.rejects(store.list(alice), away);
    await assert.rejects(store.count(alice), away);
    await assert.rejects(store.remove(alice, made.credentialId), away);
    await assert.rejects(store.advance(made.credentialId, 99, NOW), away);
    await opened.mend();
    sameAsMade(await store.get(made.credentialId), made);
    assert.equal(await store.get(fresh.credentialId), undefined);
  });
}
