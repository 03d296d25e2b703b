import assert from 'node:assert/strict';
import { hash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { localKek } from '../../src/keys/kek.ts';
import { DataKeySealer } from '../../src/keys/sealer.ts';
import { MemoryIdempotentAnswers } from '../../src/stores/memory/idempotency.ts';
import { PostgresDataKeys } from '../../src/stores/postgres/data-keys.ts';
import { PostgresIdempotentAnswers } from '../../src/stores/postgres/idempotency.ts';
import { idempotencyConformance } from '../conformance/idempotency.ts';
import { openTestDatabase, type PostgresVersion, testedVersion } from '../support/postgres-server.ts';

async function open(version: PostgresVersion = testedVersion) {
  const database = await openTestDatabase({ version });
  const pool = database.open();
  const kek = localKek(randomBytes(32));
  const store = new PostgresDataKeys(pool);
  const sealer = await DataKeySealer.open({ kek, store, clock: systemClock, rotateAfterMs: 9e9, rotateSeals: 1e6 });
  return {
    database,
    store: new PostgresIdempotentAnswers(pool, sealer),
    other: new PostgresIdempotentAnswers(database.open(), sealer),
    cut: () => pool[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}

for (const version of [15, 18] as const) idempotencyConformance(`postgres ${version}`, () => open(version));
idempotencyConformance('memory', async () => {
  const store = new MemoryIdempotentAnswers();
  return { store, other: store, [Symbol.asyncDispose]: async () => undefined };
});

const call = { keyDigest: hash('sha256', 'k', 'base64url'), requestDigest: hash('sha256', 'r', 'base64url') };

test('postgres idempotency: what is kept is sealed: neither answer nor key can be read in the table', async () => {
  await using opened = await open();
  await opened.store.begin(call, 0, 1000);
  await opened.store.finish(call, { status: 201, etag: undefined, text: '{"secret":"dws_hunter2"}' });
  const [row] = await opened.database.sql`select i::text as row, sealed from idempotency_key i`;
  assert.ok(row !== undefined);
  assert.doesNotMatch(row.row, /hunter2/);
  assert.ok(!(row.sealed as Buffer).includes('hunter2'));
});

test('postgres idempotency: with the store away every call says so', async () => {
  await using opened = await open();
  await opened.cut();
  const answer = { status: 201, etag: undefined, text: '' };
  for (const attempt of [
    opened.store.begin(call, 0, 1000),
    opened.store.finish(call, answer),
    opened.store.abandon(call),
    opened.store.expire(0),
  ])
    await assert.rejects(attempt, { kind: 'store_unavailable' });
});
