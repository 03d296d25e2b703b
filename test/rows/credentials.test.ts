// Rows L13 to L16 of the reference systems where they are about PostgreSQL and the running program rather than about every
// store: what stands in the database, what a hand in it can do, re-sealing. The contract itself: conformance/credentials.ts.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { sealedColumns } from '../../src/app/sealing.ts';
import { localKek } from '../../src/keys/kek.ts';
import { Resealing } from '../../src/keys/resealing.ts';
import { DataKeySealer } from '../../src/keys/sealer.ts';
import { PostgresCredentials } from '../../src/stores/postgres/credentials.ts';
import { PostgresDataKeys } from '../../src/stores/postgres/data-keys.ts';
import { PostgresSealedRows } from '../../src/stores/postgres/sealed-rows.ts';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { newCredential } from '../conformance/credentials.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { eventually } from './eventually.ts';

const alice = { tenant: undefined, userId: 'alice' };
const FAR = Date.UTC(2100, 0, 1);
const unreadable = { reason: 'sealed_unreadable' };

/** A store over an empty database, and what re-seals it. */
async function world() {
  const database = await openTestDatabase();
  const [pool, clock] = [database.open(), new ManualClock()];
  const keys = { kek: localKek(randomBytes(32)), store: new PostgresDataKeys(pool), clock };
  const sealer = await DataKeySealer.open({ ...keys, rotateAfterMs: 1e12, rotateSeals: 1e6 });
  return {
    sql: database.sql,
    sealer,
    store: new PostgresCredentials(pool, sealer),
    dataKeys: keys.store,
    resealing: new Resealing({
      sealer,
      rows: new PostgresSealedRows(pool),
      store: keys.store,
      nowMs: () => clock.nowMs(),
      columns: sealedColumns,
    }),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}

test('L14: neither public key nor AAGUID stands in the database, and equal ones look different', async () => {
  await using w = await world();
  const same = { publicKey: randomBytes(77), aaguid: randomBytes(16) };
  await w.store.create(newCredential(same));
  await w.store.create(newCredential(same));
  const rows = await w.sql<{ public_key: Buffer; aaguid: Buffer }[]>`select * from webauthn_credential`;
  const [one, two] = rows as unknown as [(typeof rows)[0], (typeof rows)[0]];
  for (const row of rows) {
    assert.ok(!row.public_key.includes(same.publicKey) && !row.public_key.includes(same.publicKey.subarray(0, 8)));
    assert.ok(!row.aaguid.includes(same.aaguid.subarray(0, 8)));
    // Weakness 1.3.3: one nonce for two fields, one of them thrown away. Here each field carries its own.
    assert.notDeepEqual(row.public_key.subarray(17, 29), row.aaguid.subarray(17, 29));
  }
  assert.notDeepEqual(one.public_key.subarray(17, 29), two.public_key.subarray(17, 29));
  assert.notDeepEqual(one.public_key.subarray(29), two.public_key.subarray(29));
});

test('L14: weakness 1.3.10: a sealed field in another row, or a row under another user or tenant, does not open', async () => {
  await using w = await world();
  const { sql, store } = w;
  const [mine, theirs] = [newCredential({ userId: 'mallory' }), newCredential()];
  await store.create(mine);
  await store.create(theirs);
  const restore = async () => {
    await sql`delete from webauthn_credential`;
    await store.create(mine);
    await store.create(theirs);
  };
  await sql`
    update webauthn_credential set public_key = (select public_key from webauthn_credential where user_id = 'mallory')
    where user_id = 'alice'`;
  await assert.rejects(store.get(theirs.credentialId), unreadable);
  await restore();
  await sql`update webauthn_credential set user_id = 'alice' where user_id = 'mallory'`;
  await assert.rejects(store.get(mine.credentialId), unreadable);
  const list = await store.list(alice);
  assert.deepEqual(
    [list.credentials, list.unreadable].map((all) => all.map(({ credentialId }) => credentialId)),
    [[theirs.credentialId], [mine.credentialId]],
  );
  await restore();
  await sql`update webauthn_credential set tenant = 'acme' where user_id = 'alice'`;
  await assert.rejects(store.get(theirs.credentialId), unreadable);
  await restore();
  await sql`update webauthn_credential set aaguid = public_key where user_id = 'alice'`;
  await assert.rejects(store.get(theirs.credentialId), unreadable);
  await restore();
  assert.deepEqual((await store.get(theirs.credentialId))?.publicKey, theirs.publicKey);
});

test('L15: the data key stands beside each field, and re-sealing moves every credential to the new one', async () => {
  await using w = await world();
  const made = [newCredential(), newCredential({ tenant: 'acme' }), newCredential({ aaguid: undefined })];
  for (const credential of made) await w.store.create(credential);
  const under = async () => {
    const rows = await w.sql<{ data_key: string }[]>`
      select public_key_data_key as data_key from webauthn_credential union all
      select aaguid_data_key from webauthn_credential where aaguid is not null`;
    return rows.map(({ data_key }) => data_key);
  };
  const old = w.sealer.activeKeyId;
  assert.deepEqual(
    await under(),
    Array.from({ length: 5 }, () => old),
  );
  const next = await w.sealer.rotate();
  assert.notEqual(next, old);
  assert.deepEqual(await w.dataKeys.removeUnused(sealedColumns, FAR), [], 'old key still needed');
  await w.resealing.run();
  const { done, total, unreadable: left } = await w.resealing.progress();
  assert.deepEqual([done, total, left], [5, 5, []]);
  assert.deepEqual(
    await under(),
    Array.from({ length: 5 }, () => next),
  );
  for (const { credentialId, publicKey, aaguid } of made) {
    const found = await w.store.get(credentialId);
    assert.deepEqual([found?.publicKey, found?.aaguid, found?.dataKeyId], [publicKey, aaguid, next]);
  }
  assert.deepEqual(await w.dataKeys.removeUnused(sealedColumns, FAR), [old]);
});

test('L15: a running replica counts credentials by data key, re-seals them, and names one that does not open', async () => {
  await using database = await openTestDatabase();
  await using sidecar = await startAdminSidecar((config) => ({ ...config, ...postgresConfig(database) }));
  const status = async () =>
    (await sidecar.socket('GET', '/v1/data-keys')).json as unknown as {
      active_key_id: string;
      resealing: { running: boolean; unreadable: string[] };
    };
  const { active_key_id: key } = await status();
  const sealed = Buffer.concat([Buffer.of(1), Buffer.from(key.slice(2), 'base64url'), randomBytes(60)]);
  await database.sql`insert into webauthn_credential (user_id, credential_id, public_key, aaguid, sign_count, transports, created_at)
    values ('alice', 'abc_', ${sealed}, ${sealed}, 0, '{}', ${new Date(0)})`;
  const { webauthn_credentials: counted } = (await sidecar.socket('GET', '/v1/statistics')).json;
  assert.deepEqual([...(counted as never)], [{ tenant: null, data_key: key, credentials: 1 }]);
  assert.equal((await sidecar.socket('POST', '/v1/data-keys')).status, 201);
  await eventually(async () => {
    const { unreadable: broken, running } = (await status()).resealing;
    return !running && broken.length === 2;
  }, 10_000);
  assert.deepEqual((await status()).resealing.unreadable.sort(), [
    'webauthn_credential/alice/abc_/aaguid',
    'webauthn_credential/alice/abc_/public_key',
  ]);
});

test('weakness 1.3.10: transports are an array, times have a zone', async () => {
  await using w = await world();
  await w.store.create(newCredential({ transports: ['usb', 'a,b'] }));
  const [row] = await w.sql`
    select transports[2] as second, pg_typeof(created_at)::text as type from webauthn_credential`;
  assert.deepEqual({ ...row }, { second: 'a,b', type: 'timestamp with time zone' });
});
