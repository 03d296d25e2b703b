// `init`: what it writes holds, nothing is overwritten, and a foreign issuer's tokens are accepted by what it found out.
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { isOperatorToken } from '../../src/admin/operator-token.ts';
import { loadConfig } from '../../src/config/load.ts';
import { mintKey, mintToken, startJwksServer } from '../support/minting.ts';
import { run, runHere, scratchFolder } from './processes.ts';

test('H16: init writes a commented sidecar.yaml that check accepts, an .env template without values, and an operator token', async () => {
  using folder = scratchFolder();
  assert.equal((await run(['init'], { cwd: folder.path })).code, 0);
  assert.equal((await run(['check'], { cwd: folder.path })).code, 0);
  assert.match(readFileSync(folder.file('sidecar.yaml'), 'utf8'), /^# /m);
  const template = readFileSync(folder.file('.env.example'), 'utf8');
  assert.match(template, /^#REDIS_URL=$/m);
  assert.ok(isOperatorToken(readFileSync(folder.file('.doorward/admin.token'), 'utf8').trim()));
  assert.equal(statSync(folder.file('.doorward/admin.token')).mode & 0o777, 0o600);
});

test('init overwrites nothing without --force, and with it keeps the operator token', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  writeFileSync(file, 'mine');
  const refused = await runHere(['init', '--config', file]);
  assert.equal(refused.code, 2);
  assert.equal(readFileSync(file, 'utf8'), 'mine');
  assert.equal((await runHere(['init', '--force', '--config', file])).code, 0);
  const token = readFileSync(folder.file('.doorward/admin.token'), 'utf8');
  assert.equal((await runHere(['init', '--force', '--config', file, '--upstream', 'http://127.0.0.1:9'])).code, 0);
  assert.equal(readFileSync(folder.file('.doorward/admin.token'), 'utf8'), token);
  assert.deepEqual(loadConfig({ file, env: {} }).config.upstreams.app?.url, ['http://127.0.0.1:9']);
});

test('with an issuer and a sample token the block accepts that token and the notes say what differs', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  const key = mintKey('PS256');
  await using issuer = await startJwksServer([key.jwk]);
  const iat = Math.floor(Date.now() / 1000) - 10 * 86_400;
  const token = mintToken(key, issuer.url, 0, {
    header: { typ: undefined },
    claims: {
      iat,
      exp: iat + 2 * 86_400,
      aud: undefined,
      client_id: undefined,
      azp: undefined,
      appid: 'app-1',
      scope: undefined,
      scp: 'read',
      realm_access: { roles: ['x'] },
      tid: 't1',
    },
  });
  const { code, out } = await runHere(
    ['init', '--config', file, '--issuer', `${issuer.url}/`, '--token-file', '-'],
    `${token}\n`,
  );
  assert.equal(code, 0);
  const notes = [
    'iss is',
    'aud is absent: appid',
    'typ is absent',
    'alg is PS256',
    'tokens live 2d',
    'client is in appid',
  ];
  for (const note of [...notes, 'roles is in realm_access.roles', 'tenant is in tid'])
    assert.ok(out.includes(note), note);
  assert.match(out, /note: the sample token is accepted by this block/);
  const { issuers } = loadConfig({ file, env: {} }).config;
  const [block] = Object.values(issuers);
  assert.deepEqual(
    [block?.issuer, block?.audience, block?.audience_claim, block?.types, block?.algorithms],
    [issuer.url, ['app-1'], 'appid', ['absent'], ['PS256']],
  );
  assert.deepEqual(block?.claims.roles, ['realm_access', 'roles']);
});

test('a sample that the issuer did not sign is said to be refused; no token is echoed', async () => {
  using folder = scratchFolder();
  await using issuer = await startJwksServer([mintKey('ES256', 'k').jwk]);
  const token = mintToken(mintKey('ES256', 'k'), issuer.url, Date.now());
  const args = ['init', '--config', folder.file('sidecar.yaml'), '--issuer', issuer.url, '--token-file', '-'];
  const { code, out, err } = await runHere(args, token);
  assert.equal(code, 0);
  assert.match(out, /refused by this block: token_signature_invalid/);
  assert.ok(!`${out}${err}`.includes(token));
});

test('an issuer that cannot be reached, and a sample that is no token, are explained without a stack trace', async () => {
  using folder = scratchFolder();
  await using issuer = await startJwksServer([]);
  const config = ['--config', folder.file('sidecar.yaml')];
  const away = await runHere(['init', ...config, '--issuer', 'http://127.0.0.1:1']);
  assert.deepEqual([away.code, away.err.split('\n').length], [1, 1]);
  const opaque = await runHere(['init', ...config, '--issuer', issuer.url, '--token-file', '-'], 'opaque');
  assert.deepEqual([opaque.code, opaque.err.split('\n').length], [2, 1]);
});
