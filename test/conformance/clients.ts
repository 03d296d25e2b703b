// What every ClientStore must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { externalClient, ownClient, propertiesOf } from '../../src/clients/record.ts';
import { newClientSecret } from '../../src/clients/secrets.ts';
import { mintPrefixedSecret, secretDigest } from '../../src/core/prefixed-secret.ts';
import type { Client, ClientProperties, ClientStore, NewClient } from '../../src/stores/contracts/clients.ts';

/** An opened backend. */
export interface OpenedClients extends AsyncDisposable {
  readonly store: ClientStore;
  /** Makes the backend unreachable. */
  cut(): Promise<void>;
}

const NOW = Date.UTC(2030, 0, 1, 0, 0, 0, 123);
const ISSUER = 'https://auth.test/';
const full: ClientProperties = {
  name: 'Übung \u{1F511} "x" \n{}',
  type: 'confidential',
  grantTypes: ['authorization_code', 'refresh_token'],
  responseTypes: ['code'],
  authMethod: 'private_key_jwt',
  jwks: { keys: [{ kty: 'OKP', crv: 'Ed25519', x: 'abc', kid: 'k1' }] },
  jwksUri: undefined,
  redirectUris: ['https://app.test/cb?a=1', 'http://127.0.0.1/cb'],
  scopes: ['read', 'write:all'],
  tier: 'paid',
  limits: {
    per_client: [
      { limit: 5, windowMs: 60_000 },
      { limit: 50, windowMs: 3_600_000 },
    ],
  },
  tenant: 'acme',
  audience: ['api', 'https://api.test/'],
  disabled: false,
};

/** A client of ours with one secret. */
export function newTestClient(draft: Partial<ClientProperties> = {}, createdAtMs = NOW, issuer = ISSUER): NewClient {
  const secrets = [newClientSecret(createdAtMs, undefined).kept];
  const origin = { registeredBy: 'operator', registrationTokenDigest: undefined, secrets } as const;
  return ownClient(issuer, propertiesOf({ name: 'billing', ...draft }), origin, createdAtMs);
}

async function added(store: ClientStore, client: NewClient = newTestClient()): Promise<Client> {
  const stored = await store.add(client);
  assert.ok(stored);
  return stored;
}

const idsOf = (clients: readonly Client[]) => clients.map(({ clientId }) => clientId);
const known = (tier: string) => ({ name: 'partner', tier, limits: {}, tenant: undefined, disabled: false });

/** Contract, concurrency and failure tiers. */
export function clientsConformance(backend: string, open: () => Promise<OpenedClients>): void {
  const it = (name: string, body: (opened: OpenedClients) => Promise<void>) =>
    test(`${backend} clients: ${name}`, async () => {
      await using opened = await open();
      await body(opened);
    });

  it('H1: a client comes back whole', async ({ store }) => {
    const made = { ...newTestClient(full), registrationTokenDigest: secretDigest(mintPrefixedSecret('dwr')) };
    const expected: Client = { ...made, updatedAtMs: NOW, version: 1 };
    assert.deepEqual(await store.add(made), expected);
    assert.deepEqual(await store.get(ISSUER, made.clientId), expected);
    assert.deepEqual(await store.find(made.clientId), [expected]);
  });

  it('a client that does not exist is undefined everywhere', async ({ store }) => {
    await added(store);
    assert.equal(await store.get(ISSUER, 'c_nobody'), undefined);
    assert.deepEqual(await store.find('c_nobody'), []);
    assert.equal(await store.update(ISSUER, 'c_nobody', full, { nowMs: NOW }), 'missing');
    assert.equal(await store.remove(ISSUER, 'c_nobody', { nowMs: NOW }), 'missing');
    assert.equal(await store.addSecret(ISSUER, 'c_nobody', newClientSecret(NOW, undefined).kept, NOW), 'missing');
    assert.equal(await store.removeSecret(ISSUER, 'c_nobody', 'cs_none', NOW), 'missing');
    assert.equal(await store.setRegistrationToken(ISSUER, 'c_nobody', undefined), false);
    assert.equal(await store.findByRegistrationToken(secretDigest('x')), undefined);
  });

  it('the same id twice is refused, with nothing changed; of another issuer it is another client', async ({
    store,
  }) => {
    const first = await added(store);
    assert.equal(await store.add({ ...newTestClient({ name: 'other' }), clientId: first.clientId }), undefined);
    assert.deepEqual(await store.get(ISSUER, first.clientId), first);
    await store.put(externalClient('https://id.test/', first.clientId, known('free'), NOW), NOW);
    assert.deepEqual(
      (await store.find(first.clientId)).map(({ issuer }) => issuer),
      [ISSUER, 'https://id.test/'],
    );
  });

  it('an update counts the version and leaves origin and secrets alone', async ({ store }) => {
    const first = await added(store);
    const changed = await store.update(ISSUER, first.clientId, full, { nowMs: NOW + 5, expectedVersion: 1 });
    const expected = { ...first, ...full, updatedAtMs: NOW + 5, version: 2 };
    assert.deepEqual(changed, expected);
    assert.deepEqual(await store.get(ISSUER, first.clientId), expected);
  });

  it('an update that expects another version changes nothing', async ({ store }) => {
    const first = await added(store);
    assert.equal(await store.update(ISSUER, first.clientId, full, { nowMs: NOW, expectedVersion: 2 }), 'stale');
    assert.equal(await store.remove(ISSUER, first.clientId, { nowMs: NOW, expectedVersion: 2 }), 'stale');
    assert.deepEqual(await store.get(ISSUER, first.clientId), first);
  });

  it('of 20 updates at once that expect the same version one wins', async ({ store }) => {
    const { clientId } = await added(store);
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        store.update(ISSUER, clientId, { ...full, name: `n${at}` }, { nowMs: NOW, expectedVersion: 1 }),
      ),
    );
    const winners = outcomes.filter((outcome) => typeof outcome === 'object');
    assert.equal(winners.length, 1);
    assert.equal(outcomes.filter((outcome) => outcome === 'stale').length, 19);
    assert.deepEqual(await store.get(ISSUER, clientId), winners[0]);
  });

  it('of 20 updates at once that expect nothing every one counts', async ({ store }) => {
    const { clientId } = await added(store);
    await Promise.all(Array.from({ length: 20 }, () => store.update(ISSUER, clientId, full, { nowMs: NOW })));
    assert.equal((await store.get(ISSUER, clientId))?.version, 21);
  });

  it('of 10 additions of one id at once one wins', async ({ store }) => {
    const client = newTestClient();
    const made = await Promise.all(
      Array.from({ length: 10 }, () => store.add({ ...newTestClient(), clientId: client.clientId })),
    );
    assert.equal(made.filter((one) => one !== undefined).length, 1);
  });

  it('H2: a removed client is gone with its secrets, and its notice stays', async ({ store }) => {
    const first = await added(store);
    assert.deepEqual(await store.remove(ISSUER, first.clientId, { nowMs: NOW + 9 }), first);
    assert.equal(await store.get(ISSUER, first.clientId), undefined);
    assert.deepEqual(await store.page({}, undefined, 10), []);
    assert.equal(await store.remove(ISSUER, first.clientId, { nowMs: NOW }), 'missing');
    const notice = await store.notice(ISSUER, first.clientId);
    assert.deepEqual(await store.notices(undefined, 10), [notice]);
    assert.deepEqual([notice?.removed, notice?.version, notice?.changedAtMs], [true, 2, NOW + 9]);
  });

  it('a new client of a removed id is later than the removal', async ({ store }) => {
    const first = await added(store);
    await store.remove(ISSUER, first.clientId, { nowMs: NOW });
    const again = await added(store, { ...newTestClient({ name: 'again' }, NOW + 1), clientId: first.clientId });
    assert.deepEqual([again.version, again.secrets.length, again.name], [3, 1, 'again']);
  });

  it('H2: pages of every size hold each client once, newest first', async ({ store }) => {
    const made: string[] = [];
    for (let at = 0; at < 7; at += 1) {
      // Two of each moment: ties are ordered by id.
      const client = await added(store, newTestClient({}, NOW + Math.floor(at / 2)));
      made.push(client.clientId);
    }
    const whole = await store.page({}, undefined, 100);
    assert.deepEqual(whole.map(({ clientId }) => clientId).sort(), made.toSorted());
    assert.deepEqual(
      whole.map(({ createdAtMs }) => createdAtMs - NOW),
      [3, 2, 2, 1, 1, 0, 0],
    );
    for (let size = 1; size <= 8; size += 1) {
      const seen: Client[] = [];
      for (let page = await store.page({}, undefined, size); page.length > 0; ) {
        seen.push(...page);
        page = await store.page({}, seen.at(-1), size);
      }
      assert.deepEqual(seen, whole, `pages of ${size}`);
    }
  });

  it('K16: filters select by issuer, tier, tenant, name and disabled, joined by and', async ({ store }) => {
    const acme = await added(store, newTestClient({ tenant: 'acme', tier: 'paid' }));
    const beta = await added(store, newTestClient({ tenant: 'beta', tier: 'paid', disabled: true, name: 'b' }));
    const partner = await store.put(externalClient('https://id.test/', 'partner', known('free'), NOW), NOW);
    const ids = async (filter: Parameters<ClientStore['page']>[0]) =>
      (await store.page(filter, undefined, 10)).map(({ clientId }) => clientId).sort();
    assert.deepEqual(await ids({ tenant: 'acme' }), [acme.clientId]);
    assert.deepEqual(await ids({ tier: 'paid' }), [acme.clientId, beta.clientId].sort());
    assert.deepEqual(await ids({ tier: 'paid', disabled: false }), [acme.clientId]);
    assert.deepEqual(await ids({ name: 'b', disabled: true }), [beta.clientId]);
    assert.deepEqual(await ids({ issuer: 'https://id.test/' }), [partner.clientId]);
    assert.deepEqual(await ids({ issuer: ISSUER, tier: 'free' }), []);
  });

  it('K16: within a tenant there are no other clients: not by id, in the list, nor to be changed', async ({
    store,
  }) => {
    const within = store.within('acme');
    const own = await added(store, newTestClient({ tenant: 'acme' }));
    const strangers = [
      await added(store, newTestClient({ tenant: 'beta' })),
      await added(store, newTestClient()),
      await store.put(externalClient('https://id.test/', 'partner', { ...known('free'), tenant: 'beta' }, NOW), NOW),
    ];
    assert.deepEqual(await within.get(ISSUER, own.clientId), own);
    assert.deepEqual(await within.page({}, undefined, 10), [own]);
    const keys = [own, ...strangers].map(({ issuer, clientId }) => ({ issuer, clientId }));
    assert.deepEqual(await within.owned(keys), keys.slice(0, 1));
    for (const { issuer, clientId, tenant, secrets, ...properties } of strangers) {
      assert.equal(await within.get(issuer, clientId), undefined);
      assert.deepEqual(await within.find(clientId), []);
      assert.deepEqual(await within.page({ ...(tenant && { tenant }), issuer }, undefined, 10).then(idsOf), [
        ...(tenant === undefined ? [own.clientId] : []),
      ]);
      const change = { nowMs: NOW + 1 };
      assert.equal(await within.update(issuer, clientId, { ...properties, tenant: 'acme' }, change), 'missing');
      assert.equal(await within.remove(issuer, clientId, change), 'missing');
      const secret = newClientSecret(NOW, undefined).kept;
      assert.equal(await within.addSecret(issuer, clientId, secret, NOW), 'missing');
      assert.equal(await within.removeSecret(issuer, clientId, secrets[0]?.id ?? '', NOW), 'missing');
    }
    for (const stranger of strangers) assert.deepEqual(await store.get(stranger.issuer, stranger.clientId), stranger);
  });

  it("K16: what is made or changed within a tenant is the tenant's, with tier and limits as they were", async ({
    store,
  }) => {
    const within = store.within('acme');
    const made = await within.add(newTestClient({ tier: 'paid', limits: full.limits }));
    assert.deepEqual([made?.tenant, made?.tier, made?.limits], ['acme', undefined, {}]);
    const paid = await added(store, newTestClient({ tenant: 'acme', tier: 'paid', limits: full.limits }));
    const { tenant: _, ...without } = paid;
    const changes = { ...without, name: 'new', tier: 'free', limits: {}, tenant: undefined };
    const changed = await within.update(ISSUER, paid.clientId, changes, { nowMs: NOW });
    assert.deepEqual(changed, { ...paid, name: 'new', version: 2 });
    const exceeded = { kind: 'forbidden', reason: 'tenant_exceeded' };
    await assert.rejects(within.add(newTestClient({ tenant: 'beta' })), exceeded);
    await assert.rejects(within.update(ISSUER, paid.clientId, { ...paid, tenant: 'beta' }, { nowMs: NOW }), exceeded);
    assert.deepEqual(await store.get(ISSUER, paid.clientId), changed);
  });

  it('K16: within a tenant no record of a foreign issuer is made, and none of another tenant is brought back', async ({
    store,
  }) => {
    const within = store.within('acme');
    const partner = externalClient('https://id.test/', 'partner', { ...known('free'), tenant: 'acme' }, NOW);
    await assert.rejects(within.add(partner), { reason: 'tenant_exceeded' });
    await assert.rejects(within.put(partner, NOW), { kind: 'not_found' });
    await store.put(partner, NOW);
    assert.equal((await within.put({ ...partner, name: 'ours' }, NOW + 1)).name, 'ours');
    const [beta, acme] = [
      await added(store, newTestClient({ tenant: 'beta' })),
      await added(store, newTestClient({ tenant: 'acme' })),
    ];
    for (const { clientId } of [beta, acme]) await store.remove(ISSUER, clientId, { nowMs: NOW });
    assert.equal(await within.add({ ...newTestClient(), clientId: beta.clientId }), undefined);
    assert.equal((await within.add({ ...newTestClient(), clientId: acme.clientId }))?.version, 3);
    assert.equal((await within.owned([{ issuer: ISSUER, clientId: beta.clientId }])).length, 0);
  });

  it('an external record is made or replaced', async ({ store }) => {
    const first = await store.put(externalClient('https://id.test/', 'partner', known('free'), NOW), NOW);
    const second = await store.put(externalClient('https://id.test/', 'partner', known('paid'), NOW + 5), NOW + 5);
    assert.deepEqual(second, { ...first, tier: 'paid', version: 2, updatedAtMs: NOW + 5 });
  });

  it('of 10 puts at once one makes the record and every one counts', async ({ store }) => {
    const record = externalClient('https://id.test/', 'partner', known('free'), NOW);
    const made = await Promise.all(Array.from({ length: 10 }, () => store.put(record, NOW)));
    assert.deepEqual(
      made.map(({ version }) => version).toSorted((a, b) => a - b),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    );
  });

  it('two secrets may live, a third is refused, and one that expired gives way', async ({ store }) => {
    const { clientId } = await added(store);
    const second = newClientSecret(NOW + 1, NOW + 1000).kept;
    const third = newClientSecret(NOW + 2, undefined).kept;
    const two = await store.addSecret(ISSUER, clientId, second, NOW + 1);
    assert.ok(typeof two === 'object');
    assert.deepEqual([two.version, two.secrets.at(-1)], [2, second]);
    assert.equal(await store.addSecret(ISSUER, clientId, third, NOW + 999), 'full');
    const after = await store.addSecret(ISSUER, clientId, third, NOW + 1000);
    assert.ok(typeof after === 'object');
    assert.deepEqual(after.secrets.map(({ id }) => id).slice(1), [third.id]);
  });

  it('of 10 secrets added at once one finds room beside the first', async ({ store }) => {
    const { clientId } = await added(store);
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, () => store.addSecret(ISSUER, clientId, newClientSecret(NOW, undefined).kept, NOW)),
    );
    assert.equal(outcomes.filter((outcome) => outcome === 'full').length, 9);
    assert.equal((await store.get(ISSUER, clientId))?.secrets.length, 2);
  });

  it('a secret is removed by its own client only, and its use is noted', async ({ store }) => {
    const [a, b] = [await added(store), await added(store)];
    const secretId = a.secrets[0]?.id as string;
    assert.equal(await store.removeSecret(ISSUER, b.clientId, secretId, NOW), 'missing');
    await store.secretUsed(secretId, NOW + 7);
    await store.secretUsed(secretId, NOW + 3);
    const used = await store.get(ISSUER, a.clientId);
    assert.deepEqual([used?.secrets[0]?.lastUsedAtMs, used?.version], [NOW + 7, 1]);
    const without = await store.removeSecret(ISSUER, a.clientId, secretId, NOW);
    assert.deepEqual(typeof without === 'object' && [without.secrets, without.version], [[], 2]);
  });

  it('a registration token leads to its client until it is replaced or the client removed', async ({ store }) => {
    const [old, next] = [secretDigest(randomUUID()), secretDigest(randomUUID())];
    const client = await added(store, { ...newTestClient(), registrationTokenDigest: old });
    assert.deepEqual(await store.findByRegistrationToken(old), client);
    assert.equal(await store.setRegistrationToken(ISSUER, client.clientId, next), true);
    assert.equal(await store.findByRegistrationToken(old), undefined);
    assert.equal((await store.findByRegistrationToken(next))?.version, 1);
    await store.remove(ISSUER, client.clientId, { nowMs: NOW });
    assert.equal(await store.findByRegistrationToken(next), undefined);
  });

  it('what replicas were not told of is listed until they were told of that very version', async ({ store }) => {
    const client = await added(store, newTestClient({ tier: 'paid', limits: full.limits }));
    const notice = {
      ...{ issuer: ISSUER, clientId: client.clientId, version: 1, tier: 'paid', limits: full.limits },
      ...{ disabled: false, removed: false, changedAtMs: NOW },
    };
    assert.deepEqual(await store.unpublished(NOW, 10), [notice]);
    assert.deepEqual(await store.unpublished(NOW - 1, 10), [], 'who changed it tells of it first');
    await store.update(ISSUER, client.clientId, full, { nowMs: NOW + 1 });
    await store.published(notice);
    assert.deepEqual(
      (await store.unpublished(NOW + 1, 10)).map(({ version }) => version),
      [2],
    );
    await store.published({ ...notice, version: 2 });
    await store.published(notice);
    assert.deepEqual(await store.unpublished(NOW + 1, 10), []);
  });

  it('what changed after a moment is listed, removals included', async ({ store }) => {
    const [first, second] = [await added(store), await added(store, newTestClient({}, NOW + 5))];
    const changed = async (sinceMs: number) => (await store.changedSince(sinceMs, 10)).map((one) => one.clientId);
    assert.deepEqual(await changed(NOW), [second.clientId]);
    await store.remove(ISSUER, first.clientId, { nowMs: NOW + 9 });
    assert.deepEqual(await changed(NOW), [second.clientId, first.clientId]);
    assert.deepEqual(await changed(NOW + 9), []);
  });

  it('notices come in pages of every size, removed ones included', async ({ store }) => {
    for (const id of ['a', 'b', 'c'])
      for (const issuer of ['https://a.test/', 'https://b.test/'])
        await store.put(externalClient(issuer, id, known('free'), NOW), NOW);
    await store.remove('https://a.test/', 'b', { nowMs: NOW });
    const whole = await store.notices(undefined, 100);
    assert.deepEqual(
      whole.filter(({ removed }) => removed).map(({ clientId }) => clientId),
      ['b'],
    );
    for (let size = 1; size <= 7; size += 1) {
      const seen = [...(await store.notices(undefined, size))];
      for (let page = seen; page.length > 0; seen.push(...page)) page = [...(await store.notices(seen.at(-1), size))];
      assert.deepEqual(seen, whole, `pages of ${size}`);
    }
  });

  it('with the store away every call says so', async ({ store, cut }) => {
    const client = await added(store);
    await cut();
    const away = { name: 'SidecarError', kind: 'store_unavailable' };
    await assert.rejects(store.get(ISSUER, client.clientId), away);
    await assert.rejects(store.add(newTestClient()), away);
    await assert.rejects(store.put(externalClient(ISSUER, 'x', known('free'), NOW), NOW), away);
    await assert.rejects(store.update(ISSUER, client.clientId, full, { nowMs: NOW }), away);
    await assert.rejects(store.remove(ISSUER, client.clientId, { nowMs: NOW }), away);
    await assert.rejects(store.page({}, undefined, 1), away);
    await assert.rejects(store.unpublished(NOW, 1), away);
  });
}
