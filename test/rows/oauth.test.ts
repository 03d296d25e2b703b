// Rows of the reference systems about grants, over whole sidecars.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { reasons } from '../../src/core/reasons.ts';
import { runHere } from '../cli/processes.ts';
import { openOAuthWorld } from '../identity/world.ts';

test('C10: logging a session out refuses its access tokens and ends its refresh tokens, and no other session', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const [here, there] = [await world.login(client, { session: 's-1' }), await world.login(client, { session: 's-2' })];
  const { status } = await world.admin('POST', '/v1/revocations', { kind: 'session', id: 's-1' });
  assert.equal(status, 201);
  const refresh = async (token: string) =>
    (await world.as(client, 'token', { grant_type: 'refresh_token', refresh_token: token })).status;
  assert.deepEqual([await world.call(here.json.access_token), await refresh(here.json.refresh_token)], [401, 400]);
  assert.deepEqual([await world.call(there.json.access_token), await refresh(there.json.refresh_token)], [200, 200]);
  // Always the same answer, also for a session that is none any more.
  assert.equal((await world.admin('POST', '/v1/revocations', { kind: 'session', id: 's-1' })).status, 201);
});

test('L3: a code without a subject, and fields of unknown meaning, are refused, and nothing is kept', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  assert.equal((await world.code(client, { subject: undefined })).status, 422);
  assert.equal((await world.code(client, { subject: '' })).status, 422);
  assert.equal((await world.code(client, { active: true })).status, 422);
  assert.equal((await world.database.sql`select 1 from authorization_code`).length, 0);
});

test('H22: every refusal has a stable word, one row each, in docs/reasons.md', async () => {
  const documented = readFileSync(new URL('../../docs/reasons.md', import.meta.url), 'utf8');
  for (const [reason, { code, status }] of Object.entries(reasons)) {
    const row = documented
      .split('\n')
      .find((line) => line.startsWith(`| \`${reason}\` `) || line.startsWith(`| ${reason} `));
    assert.ok(row?.includes(code) && row.includes(String(status)), `${reason} > ${code} > ${status}`);
    assert.match(code, /^[a-z][a-z_]*$/);
  }
  await using world = await openOAuthWorld();
  const refused = await fetch(`${world.sidecar.proxyUrl}/x`);
  const { code } = (await refused.json()) as { code: string };
  assert.equal(code, reasons.credential_missing.code);
});

test('H8: operators list grants and end one on the command line', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { json } = await world.login(client);
  const at = ['--admin', world.sidecar.adminUrl as string, '--admin-token-file', world.sidecar.adminTokenFile];
  const listed = await runHere(['grant', 'list', '--subject', 'alice', '--json', ...at]);
  assert.equal(listed.code, 0, listed.err);
  const [grant] = JSON.parse(listed.out) as { id: string; client: string }[];
  assert.equal(grant?.client, client.id);
  const table = await runHere(['grant', 'list', ...at]);
  assert.match(table.out, /^ID +CLIENT +SUBJECT/);
  assert.ok(table.out.includes(grant?.id as string));
  const ended = await runHere(['grant', 'end', grant?.id as string, ...at]);
  assert.deepEqual([ended.code, ended.out], [0, `${grant?.id} has ended`]);
  assert.equal(await world.call(json.access_token), 401);
  assert.equal((await runHere(['grant', 'list', '--json', ...at])).out, '[]');
  assert.notEqual((await runHere(['grant', 'end', 'f_none', ...at])).code, 0);
});
