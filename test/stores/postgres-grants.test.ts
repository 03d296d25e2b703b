import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEPT_AFTER_MS } from '../../src/stores/contracts/revocations.ts';
import { PostgresGrants } from '../../src/stores/postgres/grants.ts';
import { PostgresOneTimeValues } from '../../src/stores/postgres/one-time.ts';
import { grantsConformance } from '../conformance/grants.ts';
import { openTestDatabase, type PostgresVersion } from '../support/postgres-server.ts';

for (const version of [15, 18] as const satisfies readonly PostgresVersion[]) {
  grantsConformance(`postgres ${version}`, async () => {
    const database = await openTestDatabase({ version });
    return {
      store: new PostgresGrants(database.open()),
      other: new PostgresGrants(database.open()),
      cut: () => database.cut(),
      [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
    };
  });
}

test('attack 122: of 50 takes of a one-time value over two replicas one succeeds, until long after it expires', async () => {
  await using database = await openTestDatabase();
  const [one, two] = [new PostgresOneTimeValues(database.open()), new PostgresOneTimeValues(database.open())];
  const NOW = Date.UTC(2030, 0, 1);
  const takes = await Promise.all(
    Array.from({ length: 50 }, (_, at) => (at % 2 === 0 ? one : two).take('assertion', 'jti-1', NOW + 1000)),
  );
  assert.equal(takes.filter(Boolean).length, 1);
  assert.equal(await one.take('another purpose', 'jti-1', NOW + 1000), true);
  assert.equal(await one.take('assertion', 'jti-1', NOW + 1000), false);
  // By the clock of a machine that is ahead, the assertion has expired; elsewhere it could be shown again.
  assert.equal(await one.expire(NOW + 1000), 0);
  assert.equal(await one.expire(NOW + KEPT_AFTER_MS + 999), 0);
  assert.equal(await two.expire(NOW + KEPT_AFTER_MS + 1000), 2);
  assert.equal(await one.take('assertion', 'jti-1', NOW + 5000), true);
  const kept = await database.sql`select value_digest from used_value`;
  assert.ok(!JSON.stringify(kept).includes('jti-1'));
});
