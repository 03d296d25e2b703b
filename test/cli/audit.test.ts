// `doorward operator` and `doorward audit` against a running sidecar with PostgreSQL, and the offline verification of an export.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { runHere } from './processes.ts';

async function world() {
  const database = await openTestDatabase();
  const it = await startAdminSidecar((config) => ({
    ...config,
    ...postgresConfig(database),
    audit: { checkpoint_events: 1 },
  }));
  return {
    database,
    it,
    run: (...args: string[]) => runHere([...args, '--config', it.file]),
    async [Symbol.asyncDispose]() {
      await it[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

test('K24: operator add prints the token alone, list shows the operator without it, remove ends it', async () => {
  await using w = await world();
  const added = await w.run(
    'operator',
    'add',
    'ci',
    '--role',
    'viewer',
    '--permission',
    'limits:write',
    '--expires',
    '90d',
  );
  assert.equal(added.code, 0, added.err);
  assert.match(added.out, /^dwa_\S+$/);
  assert.equal((await w.it.admin('GET', '/v1/status', { token: added.out })).status, 200);
  const listed = await w.run('operator', 'list');
  assert.match(listed.out, /ci +viewer +limits:write +dwa_/);
  assert.ok(!listed.out.includes(added.out));
  assert.equal((await w.run('operator', 'remove', 'ci')).code, 0);
  assert.equal((await w.it.admin('GET', '/v1/status', { token: added.out })).status, 401);
  assert.equal((await w.run('operator', 'remove', 'ci')).code, 6);
});

test('K16: operator add --tenant makes one who reaches that tenant alone, and list shows it', async () => {
  await using w = await world();
  await w.it.admin('POST', '/v1/clients', { body: { name: 'theirs', tenant: 'beta' } });
  const added = await w.run('operator', 'add', 'acme-ops', '--role', 'editor', '--tenant', 'acme');
  assert.equal(added.code, 0, added.err);
  assert.match((await w.run('operator', 'list')).out, /acme-ops +editor .* acme$/m);
  assert.equal((await w.it.admin('GET', '/v1/status', { token: added.out })).status, 403);
  assert.deepEqual((await w.it.admin('GET', '/v1/clients', { token: added.out })).json.items, []);
});

test('audit list, verify and export; an export verifies offline, and a changed one fails with the event it names', async () => {
  await using w = await world();
  await w.it.issue({ subject: 'alice' });
  await w.it.issue({ subject: 'bob' });
  for (let tries = 0; !(await w.run('audit', 'list', '--type', 'token.issued')).out.includes('bob'); tries += 1)
    assert.ok(tries < 300);
  const listed = JSON.parse((await w.run('audit', 'list', '--subject', 'alice', '--since', '1h', '--json')).out);
  assert.deepEqual(
    listed.items.map(({ type }: { type: string }) => type),
    ['token.issued'],
  );
  const verified = await w.run('audit', 'verify');
  assert.deepEqual([verified.code, verified.out.split('\n').at(-1)], [0, 'everything holds']);
  const exported = await w.run('audit', 'export');
  const file = join(w.it.folder, 'audit.ndjson');
  writeFileSync(file, `${exported.out}\n`);
  const offline = await w.run('audit', 'verify', '--file', file, '--json');
  assert.equal(offline.code, 0, offline.out);
  assert.equal(JSON.parse(offline.out).ok, true);
  // A checkpoint that was signed while the events were being exported stands behind them.
  const lines = exported.out.trim().split('\n');
  const signed = lines.filter((line) => line.startsWith('{"checkpoint"')).at(-1) as string;
  writeFileSync(file, `${[...lines.filter((line) => line !== signed), signed].join('\n')}\n`);
  const late = await w.run('audit', 'verify', '--file', file, '--json');
  assert.equal(late.code, 0, late.out);
  writeFileSync(file, `${exported.out}\n`.replace('"subject":"alice"', '"subject":"mallory"'));
  const edited = await w.run('audit', 'verify', '--file', file);
  assert.equal(edited.code, 1);
  assert.match(edited.out, /^row_edited: event \d+ is not what was written/);
});

test('a log that was set back as a whole is found out by a checkpoint that was noted before', async () => {
  await using w = await world();
  await w.it.issue();
  let noted: { readonly number: number; readonly digest: string } | undefined;
  for (let tries = 0; noted === undefined; tries += 1) {
    noted = JSON.parse((await w.run('audit', 'verify', '--json')).out).last_checkpoint ?? undefined;
    assert.ok(tries < 300);
  }
  const expect = `${noted.number}:${noted.digest}`;
  assert.equal((await w.run('audit', 'verify', '--expect', expect)).code, 0);
  const { sql } = w.database;
  await sql`delete from audit_event`;
  await sql`delete from audit_checkpoint`;
  const back = await w.run('audit', 'verify', '--expect', expect);
  assert.deepEqual([back.code, /the log was set back/.test(back.err)], [1, true]);
  assert.equal((await w.run('audit', 'verify', '--expect', 'nonsense')).code, 2);
});
