// The command line against an admin port that speaks TLS: the authority it believes, and a client certificate in the place
// of a token.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { eventually } from '../rows/eventually.ts';
import { testAuthority } from '../support/certificates.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { runHere } from './processes.ts';

async function world(asksForCertificates = true) {
  const opened = new AsyncDisposableStack();
  const authority = opened.use(testAuthority());
  const database = opened.use(await openTestDatabase());
  const server = authority.issue('localhost', 'DNS:localhost,IP:127.0.0.1', 'serverAuth');
  const tls = {
    certificate: { value: server.certificate },
    key: { value: server.key },
    ...(asksForCertificates && { client_ca: { value: authority.certificate } }),
  };
  const it = opened.use(
    await startAdminSidecar((config) => ({
      ...config,
      ...postgresConfig(database),
      admin: { listen: '127.0.0.1:0', tls },
    })),
  );
  const put = (name: string, text: string) => {
    writeFileSync(join(it.folder, name), text);
    return join(it.folder, name);
  };
  const robot = authority.issue('robot', 'DNS:robot.example', 'clientAuth');
  const stranger = authority.issue('stranger', 'DNS:stranger.example', 'clientAuth');
  const files = {
    ca: put('ca.pem', authority.certificate),
    cert: put('robot.pem', robot.certificate),
    key: put('robot.key', robot.key),
    strangerCert: put('stranger.pem', stranger.certificate),
    strangerKey: put('stranger.key', stranger.key),
  };
  return {
    it,
    files,
    add: (name: string, certificate: string) =>
      runHere(['operator', 'add', name, '--role', 'admin', '--certificate', certificate, '-c', it.file]),
    list: (...options: string[]) =>
      runHere(['operator', 'list', '--json', '-c', it.file, '--admin', it.sidecar.adminUrl as string, ...options]),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

test('a client certificate and the authority of the server are all a command needs; no token is sent beside them', async () => {
  await using w = await world();
  const { ca, cert, key } = w.files;
  const shown = ['--admin-ca', ca, '--admin-cert', cert, '--admin-key', key];
  // state_dir holds the token of an operator who may do everything: it must not come along.
  const unknown = await w.list(...shown);
  assert.deepEqual([unknown.code, /^401 /.test(unknown.err)], [5, true]);
  assert.equal((await w.add('robot', 'dns:robot.example')).code, 0);
  const { code, out, err } = await w.list(...shown);
  assert.equal(code, 0, err);
  const robotIn = (text: string) => JSON.parse(text).items.find(({ name }: { name: string }) => name === 'robot');
  assert.equal(robotIn(out).certificate, 'dns:robot.example');
  // It was the certificate that called; the use is noted a moment later.
  await eventually(async () => robotIn((await w.list(...shown)).out).last_used_at !== null, 10_000);
});

test('with a token the authority is enough, and plain HTTP to a port with TLS is one sentence', async () => {
  await using w = await world(false);
  assert.equal((await w.list('--admin-ca', w.files.ca)).code, 0);
  const plain = (w.it.sidecar.adminUrl as string).replace('https:', 'http:');
  const wrong = await runHere(['operator', 'list', '-c', w.it.file, '--admin', plain]);
  assert.deepEqual([wrong.code, wrong.err.split('\n').length], [4, 1], wrong.err);
});

test('a token file that is named goes with the certificate, for ports that want both', async () => {
  await using w = await world();
  const { ca, strangerCert, strangerKey } = w.files;
  const shown = ['--admin-ca', ca, '--admin-cert', strangerCert, '--admin-key', strangerKey];
  assert.equal((await w.list(...shown)).code, 5);
  assert.equal((await w.list(...shown, '--admin-token-file', w.it.sidecar.adminTokenFile)).code, 0);
});

test('without the authority, or without a certificate, nothing is sent, and the sentence names the options', async () => {
  await using w = await world();
  const { ca, cert, key } = w.files;
  const untrusted = await w.list('--admin-cert', cert, '--admin-key', key);
  assert.deepEqual([untrusted.code, untrusted.err.includes('see --admin-ca')], [4, true], untrusted.err);
  const nameless = await w.list('--admin-ca', ca);
  assert.equal(nameless.code, 4, nameless.err);
  assert.match(nameless.err, /^no (TLS with|sidecar answers at) https:/);
});

test('TLS options mean the port also without --admin, at the address and scheme of the configuration', async () => {
  await using w = await world();
  const { ca, cert, key } = w.files;
  await w.add('robot', 'dns:robot.example');
  const listen = new URL(w.it.sidecar.adminUrl as string).host;
  const args = ['operator', 'list', '-c', w.it.file, '--admin-ca', ca, '--admin-cert', cert, '--admin-key', key];
  assert.equal((await runHere(args, '', { DOORWARD__ADMIN__LISTEN: listen })).code, 0);
  assert.match((await runHere(args, '', { DOORWARD__ADMIN__LISTEN: '127.0.0.1:1' })).err, /https:\/\/127\.0\.0\.1:1 /);
});

test('files that do not fit are wrong usage, told without their content', async () => {
  await using w = await world();
  const { ca, cert, key, strangerKey } = w.files;
  const wrong: readonly (readonly string[])[] = [
    ['--admin-cert', cert],
    ['--admin-key', key],
    ['--admin-cert', cert, '--admin-key', strangerKey],
    ['--admin-ca', join(w.it.folder, 'absent.pem')],
    ['--admin-ca', w.it.sidecar.adminTokenFile],
    ['--admin-ca', ca, '--admin', 'http://127.0.0.1:1'],
  ];
  for (const options of wrong) {
    const { code, err } = await w.list(...options);
    assert.deepEqual([code, err.split('\n').length], [2, 1], `${options.join(' ')}: ${err}`);
    assert.ok(!err.includes('BEGIN'));
  }
  const { out } = await runHere(['operator', 'list', '--help']);
  for (const option of ['--admin-ca <file>', '--admin-cert <file>', '--admin-key <file>'])
    assert.ok(out.includes(option));
});
