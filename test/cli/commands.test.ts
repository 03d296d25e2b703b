// The commands that talk to a running sidecar, over its socket and over the admin port.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type AdminSidecar, startAdminSidecar } from '../admin/admin-sidecar.ts';
import { freePort } from '../support/free-port.ts';
import { runHere } from './processes.ts';

const at = (it: AdminSidecar, ...args: string[]) => [...args, '--config', it.file];

test('token issue prints the token alone, token inspect reads it from standard input', async () => {
  await using it = await startAdminSidecar();
  const issued = await runHere(at(it, 'token', 'issue', '--subject', 'me', '--scope', 'read', 'write'));
  assert.equal(issued.code, 0);
  assert.match(issued.out, /^[\w-]+\.[\w-]+\.[\w-]+$/);
  assert.equal((await it.proxy('/', issued.out)).status, 200);
  const inspected = await runHere(at(it, 'token', 'inspect', '-', '--json'), `${issued.out}\n`);
  const { active, sub, scope } = JSON.parse(inspected.out);
  assert.deepEqual({ active, sub, scope }, { active: true, sub: 'me', scope: 'read write' });
});

test('revoke token takes the leaked token from standard input, revoke list shows it, revoke undo takes it back', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue();
  const revoked = await runHere(at(it, 'revoke', 'token', '-', '--reason', 'leaked'), token);
  assert.equal(revoked.code, 0);
  assert.match(revoked.out, /refused on every replica, until /);
  assert.equal((await it.proxy('/', token)).status, 401);
  const listed = await runHere(at(it, 'revoke', 'list'));
  assert.match(listed.out, /token .* leaked$/m);
  const [entry] = JSON.parse((await runHere(at(it, 'revoke', 'list', '--json'))).out);
  assert.equal((await runHere(at(it, 'revoke', 'undo', entry.id))).code, 0);
  assert.equal((await it.proxy('/', token)).status, 200);
  assert.equal((await runHere(at(it, 'revoke', 'undo', entry.id))).code, 6);
});

test('revoke knows subject, session, client, tenant and key, and a dry run changes nothing', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue({ client: 'web', session: 's1', tenant: 'acme' });
  await it.proxy('/', token);
  for (const [kind, id] of [
    ['subject', 'alice'],
    ['session', 's1'],
    ['client', 'web'],
    ['tenant', 'acme'],
  ] as const) {
    const dry = await runHere(at(it, 'revoke', kind, id, '--issuer', 'self', '--dry-run', '--json'));
    assert.equal(JSON.parse(dry.out).would_refuse, 1, kind);
  }
  assert.equal((await it.proxy('/', token)).status, 200);
  const kid = JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString()).kid;
  assert.equal((await runHere([...at(it, 'revoke', 'key', '--issuer', 'self'), '--', kid])).code, 0);
  assert.equal((await it.proxy('/', token)).status, 401);
  const wrong = await runHere(at(it, 'revoke', 'subject', 'alice'));
  assert.deepEqual([wrong.code, wrong.err.split('\n')[0]], [5, 'issuer: needs to be one of self, corp']);
});

test('limit show and limit reset, explain, why', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue({ client: 'web' });
  for (let count = 0; count < 2; count += 1) await it.proxy('/limited', token);
  const refused = await it.proxy('/limited', token);
  assert.equal(refused.status, 429);
  assert.match((await runHere(at(it, 'limit', 'show', 'tight', 'self/web'))).out, /^2 in 3600 s {2}0 left /);
  const why = await runHere(at(it, 'why', String(refused.json.request_id)));
  assert.match(why.out, /^reason {3}rate_limited$/m);
  assert.match(why.out, /^rule {5}\S+\.yaml:\d+:\d+ limits tight$/m);
  assert.match(why.out, /^route {4}\S+\.yaml:\d+:\d+ limited$/m);
  assert.match(why.out, /^remedy {3}/m);
  const explained = await runHere(
    at(it, 'explain', 'GET', '/limited', '--token-file', '-', '--peer', '198.51.100.1'),
    token,
  );
  assert.match(explained.out, /^verdict {2}refused with 429$/m);
  assert.match(explained.out, /^address {2}198\.51\.100\.1$/m);
  assert.match(explained.out, /^setting {2}\S+\.yaml:\d+:\d+ limits\.tight\.rate: 2\/1h$/m);
  assert.match(explained.out, /^setting {2}default routes\.limited\.auth: required$/m);
  assert.match(explained.out, /^upstream \w+: http:\/\/\S+ at 127\.0\.0\.1:\d+, up$/m);
  assert.equal((await runHere(at(it, 'limit', 'reset', 'tight', 'self/web'))).out, 'tight of self/web is reset');
  assert.equal((await it.proxy('/limited', token)).status, 200);
  assert.equal((await runHere(at(it, 'why', 'nobody-knows'))).code, 6);
});

test('config show, config reload with exit 3 for a bad file, drain --wait', async () => {
  await using it = await startAdminSidecar();
  assert.match((await runHere(at(it, 'config', 'show'))).out, /keep_alive: 75s # default/);
  assert.equal((await runHere(at(it, 'config', 'reload'))).out, 'nothing has changed');
  writeFileSync(it.file, 'version: 2\n');
  const bad = await runHere(['config', 'reload', '--state-dir', it.sidecar.stateDir]);
  assert.equal(bad.code, 3);
  assert.match(bad.err, /sidecar\.yaml:1:10 version: needs to be 1/);
  const drained = await runHere(['drain', '--wait', '10s', '--state-dir', it.sidecar.stateDir]);
  assert.deepEqual([drained.code, drained.out], [0, 'drained']);
});

test('--admin calls the port with the token file, and exit codes tell refused, unreachable and wrong usage apart', async () => {
  await using it = await startAdminSidecar();
  const admin = ['--admin', it.sidecar.adminUrl as string, '--admin-token-file'];
  const good = await runHere(['config', 'show', ...admin, it.sidecar.adminTokenFile]);
  assert.equal(good.code, 0);
  const file = join(it.folder, 'wrong.token');
  writeFileSync(file, 'dwa_wrong\n');
  assert.equal((await runHere(['config', 'show', ...admin, file])).code, 5);
  const nowhere = `http://127.0.0.1:${await freePort()}`;
  const gone = await runHere(['config', 'show', '--admin', nowhere, '--admin-token-file', file]);
  assert.deepEqual([gone.code, gone.err], [4, `no sidecar answers at ${nowhere} (ECONNREFUSED)`]);
  assert.equal((await runHere(['config', 'show', '--state-dir', join(it.folder, 'nothing')])).code, 4);
  assert.equal((await runHere(['limit', 'show'])).code, 2);
  assert.equal((await runHere(['nonsense'])).code, 2);
  assert.equal((await runHere(['drain', '--wait', 'soon'])).code, 2);
  assert.equal((await runHere(['--help'])).code, 0);
});

test('attack 129: a token on the command line is refused before anything is sent, and not repeated', async () => {
  const token = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln';
  for (const args of [
    ['revoke', 'token', token],
    ['token', 'inspect', token],
  ]) {
    const { code, err } = await runHere(args);
    assert.equal(code, 2);
    assert.ok(!err.includes(token));
  }
});
