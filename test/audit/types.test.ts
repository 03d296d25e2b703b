// The closed list of audit events is the same wherever it stands: in the code, in SQL and in the documentation. Queries that
// spelled names unlike the code counted no failures for years (reference systems 4.3.3).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { auditEventsReference } from '../../src/config/audit-reference.ts';
import { auditTypeNames, auditTypes } from '../../src/core/audit-types.ts';
import { openTestDatabase } from '../support/postgres-server.ts';
import { event, openAuditWorld, recordAll } from './world.ts';

test('K19, C24: SQL knows exactly the types of the code, with the same category and severity', async () => {
  await using database = await openTestDatabase();
  const rows = await database.sql<{ type: string; category: string; severity: string }[]>`select * from audit_type`;
  const inSql = rows.map(({ type, category, severity }) => [type, category, severity]).sort();
  const inCode = Object.entries(auditTypes).map(([type, { category, severity }]) => [type, category, severity]);
  assert.deepEqual(inSql, inCode.sort());
});

test('every type is lower case with a dot', () => {
  assert.deepEqual(
    auditTypeNames.filter((name) => !/^[a-z_]+\.[a-z_]+$/.test(name)),
    [],
  );
});

test('K19: a type that is not in the list cannot be stored', async () => {
  await using it = await openAuditWorld();
  await recordAll(it.open(), 1, 1);
  await assert.rejects(() => it.database.sql`update audit_event set type = 'TOKEN.ISSUED'`.then(String), {
    code: '23503',
  });
});

test('C24: details lie sealed in the table, and come back with the event', async () => {
  await using it = await openAuditWorld();
  const trail = it.open();
  await trail.record({ ...event(1), details: { note: 'confidential-word' } });
  await trail.flushed(5000);
  const [row] = await it.database.sql`select e::text as whole, sealed from audit_event e`;
  assert.doesNotMatch(row?.whole, /confidential/);
  assert.doesNotMatch(Buffer.from(row?.sealed).toString('latin1'), /confidential/);
  const { opened } = await import('../../src/audit/stored-evidence.ts');
  const { parseDetails } = await import('../../src/audit/chain.ts');
  const [record] = await it.store.find({}, undefined, 1);
  const { details } = await opened(record as NonNullable<typeof record>, it.sealer);
  assert.deepEqual(parseDetails(details as Uint8Array), { note: 'confidential-word' });
});

test('docs/audit-events.md is what npm run schema makes', () => {
  assert.equal(readFileSync(new URL('../../docs/audit-events.md', import.meta.url), 'utf8'), auditEventsReference());
});
