// `doorward key` and `doorward data-key` against a running sidecar with PostgreSQL.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { runHere } from './processes.ts';

async function world() {
  const database = await openTestDatabase();
  const it = await startAdminSidecar((config) => ({ ...config, ...postgresConfig(database) }));
  const run = (args: readonly string[], ...operands: string[]) =>
    runHere([...args, '--config', it.file, ...(operands.length > 0 ? ['--', ...operands] : [])]);
  return {
    it,
    run,
    async keys(): Promise<{ kid: string; state: string }[]> {
      return JSON.parse((await run(['key', 'list', '--json'])).out).items;
    },
    async [Symbol.asyncDispose]() {
      await it[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

test('key rotate prints the timeline, activate lets the new key sign, retire ends the old one', async () => {
  await using w = await world();
  const [first] = await w.keys();
  assert.equal(first?.state, 'active');
  const rotated = await w.run(['key', 'rotate']);
  assert.equal(rotated.code, 0, rotated.err);
  assert.match(rotated.out, /ES256 +active +signs since /);
  assert.match(rotated.out, /ES256 +pending +signs from /);
  assert.match(rotated.out, /^next step at \d{4}-/m);
  assert.equal((await w.run(['key', 'rotate'])).code, 5);
  const pending = (await w.keys()).find(({ state }) => state === 'pending');
  assert.equal((await w.run(['key', 'activate'], pending?.kid as string)).code, 0);
  assert.equal((await w.run(['key', 'retire'], first?.kid as string)).code, 0);
  assert.deepEqual(
    (await w.keys()).map(({ state }) => state),
    ['active', 'retired'],
  );
  assert.equal((await w.run(['key', 'retire'], 'none')).code, 6);
});

test('key ban refuses at once what the key signed, and another key signs', async () => {
  await using w = await world();
  const token = await w.it.issue();
  const [first] = await w.keys();
  const banned = await w.run(['key', 'ban'], first?.kid as string);
  assert.equal(banned.code, 0, banned.err);
  assert.match(banned.out, /banned +since /);
  assert.equal((await w.it.proxy('/', token)).status, 401);
  assert.equal((await w.it.proxy('/', await w.it.issue())).status, 200);
});

test('data-key rotate waits until everything is re-sealed, and status shows it', async () => {
  await using w = await world();
  await w.it.issue();
  const rotated = await w.run(['data-key', 'rotate']);
  assert.equal(rotated.code, 0, rotated.err);
  const status = JSON.parse((await w.run(['data-key', 'status', '--json'])).out);
  assert.deepEqual([status.total_keys, status.resealing.running], [2, false]);
  assert.equal(status.resealing.done, status.resealing.total);
  assert.match((await w.run(['data-key', 'reseal'])).out, /(\d+) of \1 fields under the active key/);
});

test('key publishing makes a key pair, the private half for us alone, and never over another', async () => {
  await using w = await world();
  const folder = join(w.it.folder, 'publishing');
  assert.equal((await runHere(['key', 'publishing', folder])).code, 0);
  assert.equal(statSync(join(folder, 'publish.key')).mode & 0o777, 0o600);
  assert.match(readFileSync(join(folder, 'publish.pub'), 'utf8'), /BEGIN PUBLIC KEY/);
  const before = readFileSync(join(folder, 'publish.key'), 'utf8');
  assert.equal((await runHere(['key', 'publishing', folder])).code, 2);
  assert.equal(readFileSync(join(folder, 'publish.key'), 'utf8'), before);
});
