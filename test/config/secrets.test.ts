import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { configEnvironment } from '../support/config-keys.ts';
import { parseText, problemsOf, SMALLEST, temporaryFolder } from '../support/config-text.ts';

const withSecret = (reference: string) =>
  SMALLEST.replace('audience: [api]', `audience: [api], keys: {secret: ${reference}}`);
const SECRET = configEnvironment.JWT_SECRET!;

test('env, file and value all give the secret', () => {
  using folder = temporaryFolder();
  folder.write('secret', SECRET);
  for (const reference of ['{env: JWT_SECRET}', '{file: secret}', `{value: "${SECRET}"}`]) {
    const file = folder.write('sidecar.yaml', withSecret(reference));
    const { config, secrets } = loadConfig({ file, env: configEnvironment });
    assert.equal(secrets.get(config.issuers.corp!.keys.secret!), SECRET);
  }
});

test('a shared secret makes HS256 the only algorithm', () => {
  const { config } = parseText(withSecret('{env: JWT_SECRET}'), { ...configEnvironment });
  assert.deepEqual(config.issuers.corp?.algorithms, ['HS256']);
});

test('one newline at the end of a secret file is dropped, and only one', () => {
  using folder = temporaryFolder();
  const file = folder.write('sidecar.yaml', withSecret('{file: secret}'));
  const read = (content: string) => {
    folder.write('secret', content);
    const { config, secrets } = loadConfig({ file, env: {} });
    return secrets.get(config.issuers.corp!.keys.secret!);
  };
  assert.equal(read(`${SECRET}\n`), SECRET);
  assert.equal(read(`${SECRET}\r\n`), SECRET);
  assert.equal(read(`${SECRET}\n\n`), `${SECRET}\n`);
  assert.equal(read(` ${SECRET} `), ` ${SECRET} `);
});

test('attack 130: an empty secret file, or one with a newline only, refuses the configuration', () => {
  using folder = temporaryFolder();
  const file = folder.write('sidecar.yaml', withSecret('{file: secret}'));
  for (const content of ['', '\n', '\r\n']) {
    folder.write('secret', content);
    assert.throws(
      () => loadConfig({ file, env: {} }),
      (error: unknown) =>
        error instanceof ConfigError && error.message.endsWith(`file ${folder.path('secret')} is empty`),
    );
  }
});

test('a reference that was never resolved is misuse, not an empty string', () => {
  const { secrets } = parseText(SMALLEST);
  assert.throws(() => secrets.get({ env: 'PATH' }), TypeError);
});

test('a rotated secret changes the hash', () => {
  const hash = (secret: string) => parseText(withSecret('{env: JWT_SECRET}'), { JWT_SECRET: secret }).hash;
  assert.notEqual(hash(SECRET), hash(`${SECRET}x`));
  assert.equal(hash(SECRET), hash(SECRET));
});

test('a variable that is not set is compared with those that are near, and with no other', () => {
  const env = { HOME: '/root', JWT_SECRET: 's' };
  const place = 'sidecar.yaml:3:85 issuers.corp.keys.secret';
  assert.deepEqual(problemsOf(withSecret('{env: NOPE}'), env), [`${place}: environment variable NOPE is not set`]);
  assert.deepEqual(problemsOf(withSecret('{env: JWT_SECRT}'), env), [
    `${place}: environment variable JWT_SECRT is not set (nearest name JWT_SECRET)`,
  ]);
});
