// The commands that count and clean.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { runHere } from './processes.ts';

test('K20: statistics prints tables of what there is, and with --json what the API answers; cleanup prints its counts', async () => {
  await using database = await openTestDatabase();
  await using it = await startAdminSidecar((config) => ({ ...config, ...postgresConfig(database, { timeout: '5s' }) }));
  await it.admin('POST', '/v1/operators', { body: { name: 'ci', role: 'viewer' } });
  const at = (...args: string[]) => [...args, '--config', it.file];
  const tables = await runHere(at('statistics'));
  assert.equal(tables.code, 0, tables.err);
  assert.match(tables.out, /^clients\n {2}none$/m);
  assert.match(
    tables.out,
    /^operators\n {2}ROLE {4}STATE {3}OPERATORS\n {2}admin {3}active {2}1\n {2}viewer {2}active {2}1$/m,
  );
  const json = JSON.parse((await runHere(at('statistics', '--json'))).out);
  assert.deepEqual(json.operators, [
    { role: 'admin', state: 'active', operators: 1 },
    { role: 'viewer', state: 'active', operators: 1 },
  ]);
  await database.sql`insert into used_value values (${'A'.repeat(43)}, now() - interval '3 hours')`;
  const cleaned = await runHere(at('cleanup'));
  assert.equal(cleaned.code, 0, cleaned.err);
  assert.match(cleaned.out, /^1 {2}one time values$/m);
  assert.equal(JSON.parse((await runHere(at('cleanup', '--json'))).out).total, 0);
});

test('without postgres both say what is missing and end with 5', async () => {
  await using it = await startAdminSidecar();
  for (const verb of ['statistics', 'cleanup']) {
    const { code, err } = await runHere([verb, '--config', it.file]);
    assert.deepEqual([code, /501 Not configured/.test(err)], [5, true], err);
  }
});
