// What a command says when the world is not as it was told: one sentence with the path or address, never a stack.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { asCliError } from '../../src/cli/failure.ts';
import { storeUnavailable } from '../../src/core/errors.ts';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { startRedis } from '../support/redis-server.ts';
import { run, runHere, scratchFolder } from './processes.ts';

const SIDECAR = {
  version: 1,
  proxy: { listen: '127.0.0.1:0' },
  admin: { listen: '127.0.0.1:0' },
  observe: { listen: '127.0.0.1:0' },
  upstreams: { app: { url: 'http://127.0.0.1:3000' } },
  issuers: { self: { issuer: 'http://doorward.localhost', audience: ['api'], sign: {} } },
  routes: { all: { match: { prefix: '/' } } },
};

/** In a folder that holds `plain` (a file), `binary`, `folder` and configurations whose name says what is wrong with them. */
function world() {
  const folder = scratchFolder();
  writeFileSync(folder.file('plain'), 'x\n');
  writeFileSync(folder.file('token'), 'dwa_x\n');
  writeFileSync(folder.file('binary'), Buffer.from(Array.from({ length: 3000 }, (_, at) => (at * 7919) % 256)));
  mkdirSync(folder.file('folder'));
  const write = (name: string, more: object) => writeFileSync(folder.file(name), stringify({ ...SIDECAR, ...more }));
  write('state-below-file.yaml', { state_dir: 'plain/state' });
  write('foreign-address.yaml', { proxy: { listen: '203.0.113.9:8080' } });
  return folder;
}

const cases: readonly [line: string, code: number, says: RegExp][] = [
  ['init --config sub/x.yaml', 1, /^sub\/x\.yaml cannot be opened: no such file or directory \(ENOENT\)$/],
  ['key publishing plain/x', 1, /^plain\/x cannot be made: not a directory \(ENOTDIR\)$/],
  // Node's own recursive mkdir never returns from here.
  ['key publishing /proc/x', 1, /^\/proc\/x cannot be made: no such file or directory \(ENOENT\)$/],
  ['audit verify --file binary', 1, /^binary: line 1 is no JSON$/],
  ['audit verify --file plain', 1, /^plain: line 1 is no JSON$/],
  ['audit verify --file nosuch', 1, /^nosuch cannot be found: no such file or directory \(ENOENT\)$/],
  ['audit verify --file folder', 2, /^folder is no regular file/],
  ['run --config state-below-file.yaml', 1, /^state_dir \S+\/plain\/state cannot be used \(ENOTDIR\)/],
  ['run --config foreign-address.yaml', 1, /^203\.0\.113\.9:8080 cannot be listened on: .* \(EADDRNOTAVAIL\)$/m],
];

for (const [line, code, says] of cases)
  test(`doorward ${line}: a sentence and no stack`, async () => {
    using folder = world();
    const ended = await run(line.split(' '), { cwd: folder.path });
    assert.equal(ended.code, code, ended.err);
    assert.match(ended.err.trim(), says);
    assert.doesNotMatch(ended.err, /^ {4}at /m);
  });

test('results that cannot be written end a command with a sentence and exit code 1', async () => {
  using folder = world();
  const full = openSync('/dev/full', 'w');
  const child = spawn(process.execPath, [resolve(import.meta.dirname, '../../src/main.ts'), '--help'], {
    cwd: folder.path,
    stdio: ['ignore', full, 'pipe'],
  });
  closeSync(full);
  assert.ok(child.stderr);
  const [err, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
  assert.deepEqual([code, err], [1, 'standard output cannot be written: no space left on device (ENOSPC)\n']);
});

test('doorward demo in a folder that cannot be written: a sentence, before anything is started', async () => {
  const ended = await run(['demo'], { cwd: '/proc' });
  assert.deepEqual(ended, {
    code: 1,
    out: '',
    err: '/proc/.doorward cannot be made: no such file or directory (ENOENT)\n',
  });
});

for (const [name, body, fields] of [
  ['pages', '<html>', { 'x-request-id': 'r1' }],
  ['other JSON', '{}', {}],
  ['other JSON under request ids', '{}', { 'x-request-id': 'r1' }],
] as const)
  for (const status of [200, 404])
    test(`a server that answers ${name} with ${status} is no admin port`, async () => {
      using folder = world();
      const server = createServer((_, response) => response.writeHead(status, fields).end(body)).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const admin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const door = ['--admin', admin, '--admin-token-file', folder.file('token')];
      const ended = await runHere(['client', 'list', ...door]);
      server.close();
      assert.equal(ended.code, 4, ended.err);
      assert.equal(ended.err, `${admin} answers (${status}), but is no admin port; see --admin`);
    });

test('a store that is away is its sentence, a defect its stack', () => {
  assert.equal(asCliError(storeUnavailable('PostgreSQL does not answer')).message, 'PostgreSQL does not answer');
  assert.match(asCliError(new TypeError('x is not a function')).message, /^TypeError: x is not a function\n {4}at /);
});

test('why says of an id that this replica does not keep that Redis, which has the others, is away', async () => {
  await using redis = await startRedis();
  await using it = await startAdminSidecar((config) => ({
    ...config,
    name: 'failure_test',
    issuers: Object.fromEntries(Object.entries(config.issuers ?? {}).filter(([name]) => name === 'corp')),
    defaults: { issuers: ['corp'] },
    redis: { url: { value: redis.url }, timeout: '200ms' },
  }));
  const why = (id: string) => runHere(['why', id, '--config', it.file]);
  const { headers } = await it.proxy('/');
  const id = String(headers['x-request-id']);
  assert.equal((await why('r_unknown')).code, 6);
  await redis.stop();
  assert.match((await why(id)).out, /^reason +credential_missing$/m, 'its own it still knows');
  const ended = await why('r_unknown');
  assert.equal(ended.code, 1);
  assert.match(
    ended.err,
    /^503 Service unavailable: this replica keeps no such refusal; those of the others are in Redis, which does not answer /,
  );
});
