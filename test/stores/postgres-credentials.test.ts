import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { localKek } from '../../src/keys/kek.ts';
import { DataKeySealer } from '../../src/keys/sealer.ts';
import { PostgresCredentials } from '../../src/stores/postgres/credentials.ts';
import { PostgresDataKeys } from '../../src/stores/postgres/data-keys.ts';
import { credentialsConformance, newCredential } from '../conformance/credentials.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { openTestDatabase, type PostgresVersion } from '../support/postgres-server.ts';

for (const version of [15, 18] as const satisfies readonly PostgresVersion[]) {
  credentialsConformance(`postgres ${version}`, async () => {
    const database = await openTestDatabase({ version });
    const kek = localKek(randomBytes(32));
    const replica = async () => {
      const pool = database.open();
      const keys = { kek, store: new PostgresDataKeys(pool), clock: new ManualClock() };
      const sealer = await DataKeySealer.open({ ...keys, rotateAfterMs: 1e12, rotateSeals: 1e6 });
      return new PostgresCredentials(pool, sealer);
    };
    const { sql } = database;
    return {
      store: await replica(),
      other: await replica(),
      async damage(credentialId, field) {
        const last = sql`octet_length(${sql(field)}) - 1`;
        await sql`
          update webauthn_credential set ${sql(field)} = set_byte(${sql(field)}, ${last}, get_byte(${sql(field)}, ${last}) # 1)
          where credential_id = ${credentialId}`;
      },
      cut: () => database.cut(),
      mend: () => database.mend(),
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    };
  });
}

test('L16: a row that somebody else holds is waited for only so long, and its sign count stays', async () => {
  await using database = await openTestDatabase();
  const pool = database.open({ timeoutMs: 500 });
  const keys = { kek: localKek(randomBytes(32)), store: new PostgresDataKeys(pool), clock: new ManualClock() };
  const store = new PostgresCredentials(
    pool,
    await DataKeySealer.open({ ...keys, rotateAfterMs: 1e12, rotateSeals: 1e6 }),
  );
  const { credentialId } = newCredential();
  await store.create(newCredential({ credentialId }));
  await database.sql.begin(async (sql) => {
    await sql`select 1 from webauthn_credential for update`;
    await assert.rejects(store.advance(credentialId, 11, 0), { kind: 'store_unavailable' });
    assert.equal((await store.get(credentialId))?.signCount, 10, 'reading needs no lock');
  });
  assert.deepEqual(await store.advance(credentialId, 11, 0), { outcome: 'advanced', previous: 10 });
});
