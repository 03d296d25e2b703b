// Rows of the reference systems about running it: where the admin port listens, files and their modes, keys that are gone,
// health of keys, exit codes, a start without Redis. Where Doorward answers a row by other means, the test says which.
import assert from 'node:assert/strict';
import { lstatSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { sidecarSchema } from '../../src/config/schema.ts';
import { startAdminSidecar } from '../admin/admin-sidecar.ts';
import { run, runHere, scratchFolder } from '../cli/processes.ts';
import { openOAuthWorld } from '../identity/world.ts';
import { freePort } from '../support/free-port.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { configFor, startSidecar, tokenFor } from '../support/sidecar.ts';
import { eventually } from './eventually.ts';

/** How a connection to `host:port` ends. */
function knock(host: string, port: number): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(port, host, () => resolve('connected'));
  socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
  return promise.finally(() => socket.destroy());
}

test('C26: tokens are minted on loopback only: another address of the machine finds no listener, another Host no answer', async () => {
  // The address is the default of the schema; the port is not, so that tests can run beside each other.
  const defaults = sidecarSchema.parse({ version: 1, upstreams: { app: { url: 'http://127.0.0.1:1' } }, routes: {} });
  assert.equal(defaults.admin.listen, '127.0.0.1:9900');
  await using it = await startAdminSidecar();
  const { hostname, port } = new URL(it.sidecar.adminUrl as string);
  assert.equal(hostname, '127.0.0.1');
  assert.equal(await knock('127.0.0.1', Number(port)), 'connected');
  assert.equal(await knock('127.0.0.2', Number(port)), 'ECONNREFUSED');
  const body = { subject: 'alice', client: 'web' };
  const rebound = await it.admin('POST', '/v1/tokens', { body, headers: { host: 'mint.example.com' } });
  assert.deepEqual([rebound.status, rebound.json.token], [403, undefined]);
  assert.equal((await it.admin('POST', '/v1/tokens', { body, token: null })).status, 401);
  assert.equal((await it.admin('POST', '/v1/tokens', { body })).status, 201);
  const elsewhere = [it.sidecar.proxyUrl, it.sidecar.observeUrl].map((url) =>
    fetch(`${url}/v1/tokens`, { method: 'POST' }),
  );
  for (const answer of await Promise.all(elsewhere)) assert.ok([401, 404].includes(answer.status), `${answer.status}`);
});

/** Every path below the folder with its mode bits. */
function modesIn(folder: string): Map<string, number> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return new Map(['', ...names].map((name) => [name, lstatSync(join(folder, name)).mode]));
}

function assertPrivate(folder: string): void {
  for (const [name, mode] of modesIn(folder)) {
    const isFolder = lstatSync(join(folder, name)).isDirectory();
    assert.equal((mode & 0o777).toString(8), isFolder ? '700' : '600', name === '' ? folder : name);
    assert.doesNotMatch(name, /\.[A-Za-z0-9_-]{22}$/, 'a draft that was not put in its place');
  }
}

test('C18 L18: whatever the umask, folders of keys are 0700 and their files 0600, written whole', async () => {
  const umask = process.umask(0);
  try {
    // Without PostgreSQL the signing key is a file of state_dir; its metadata is what /v1/keys and the key set tell.
    await using it = await startAdminSidecar();
    await it.issue();
    const { stateDir } = it.sidecar;
    assert.ok(
      [...modesIn(stateDir).keys()].some((name) => name.includes('key')),
      'there is a key among the files',
    );
    assertPrivate(stateDir);
    // With it keys stand sealed in the database, and state_dir holds the operator token and the audit spool.
    await using database = await openTestDatabase();
    await using durable = await startAdminSidecar((config) => ({ ...config, ...postgresConfig(database) }));
    await durable.socket('POST', '/v1/operators', { body: { name: 'ci', role: 'viewer' } });
    assertPrivate(durable.sidecar.stateDir);
  } finally {
    process.umask(umask);
  }
});

test('L18: a publishing key pair is 0600 and 0644 in a folder of 0700, and is never written over', async () => {
  using folder = scratchFolder();
  const dir = folder.file('keys');
  const made = await runHere(['key', 'publishing', dir]);
  assert.equal(made.code, 0, made.err);
  const mode = (name: string) => (statSync(join(dir, name)).mode & 0o777).toString(8);
  assert.deepEqual([mode(''), mode('publish.key'), mode('publish.pub')], ['700', '600', '644']);
  assert.equal((await runHere(['key', 'publishing', dir])).code, 2);
});

test('L20: a key that has ended is gone from the key set, its private part from the database, and its tokens are refused', async () => {
  await using at = await openOAuthWorld({ issuers: { self: { sign: { publish_before: '0ms' } } } });
  const kids = async (): Promise<string[]> => {
    const { keys } = (await (await fetch(`${at.issuer}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] };
    return keys.map(({ kid }) => kid).sort();
  };
  const issue = async () =>
    ((await at.admin('POST', '/v1/tokens', { subject: 'alice', client: 'web' })).body as { token: string }).token;
  const token = await issue();
  const [old] = (await kids()) as [string];
  assert.equal((await at.admin('POST', '/v1/keys', {})).status, 201);
  await eventually(async () => (await kids()).length === 2, 10_000);
  assert.equal(await at.call(token), 200, 'the old one verifies while its tokens live');
  // What the schedule does when the last token has died (signing-schedule.test.ts), here by hand.
  await eventually(async () => (await at.admin('POST', `/v1/keys/${old}/retire`)).status === 200, 10_000);
  await eventually(async () => {
    const states = await at.database.sql<{ state: string; private_key: Buffer | null }[]>`
      select state, private_key from signing_key where kid = ${old}`;
    if (states[0]?.state === 'retiring') await at.admin('POST', `/v1/keys/${old}/retire`);
    return states[0]?.state === 'retired' && states[0].private_key === null;
  }, 10_000);
  await eventually(async () => !(await kids()).includes(old), 10_000);
  await eventually(async () => (await at.call(token)) === 401, 10_000);
  assert.equal(await at.call(await issue()), 200);
});

test('L22: the answer about keys has totals, states and algorithms; without a key that works the replica is not ready', async () => {
  await using database = await openTestDatabase();
  const own = {
    self: { issuer: 'http://doorward.localhost', audience: ['api'], sign: { algorithm: 'RS256' as const } },
  };
  const start = () =>
    startAdminSidecar((config) => ({
      ...config,
      ...postgresConfig(database, { timeout: '500ms' }),
      issuers: own,
      defaults: { issuers: ['self'] },
    }));
  {
    await using it = await start();
    await it.issue();
    const { json } = await it.socket('GET', '/v1/keys');
    const { total_keys: total, active_keys: active, items } = json as unknown as Record<string, unknown>;
    const [key] = items as { algorithm: string; state: string }[];
    assert.deepEqual([total, active, key?.algorithm, key?.state], [1, 1, 'RS256', 'active']);
    assert.equal((await it.observe('GET', '/readyz')).status, 200);
  }
  await database.cut();
  await using it = await start();
  const { status, json } = await it.observe('GET', '/readyz');
  assert.deepEqual([status, [...(json.reasons as never)]], [503, ['no_issuer_with_keys']]);
  await database.mend();
  await eventually(async () => (await it.observe('GET', '/readyz')).status === 200, 15_000);
});

test('K24: exit codes of checking, initialising and probing', async () => {
  using folder = scratchFolder();
  const cwd = folder.path;
  const code = async (...args: string[]) => (await run(args, { cwd })).code;
  assert.equal(await code('check'), 3, 'nothing to check yet');
  assert.equal(await code('init'), 0);
  assert.equal(await code('init'), 2, 'never over what is there');
  assert.equal(await code('check'), 0);
  assert.equal(await code('check', '--production'), 3);
  assert.equal(await code('check', '--online'), 1, 'no application answers');
  assert.equal(await code('config', 'show'), 4, 'no sidecar answers');
  assert.equal(await code('check', '--nonsense'), 2);
});

test('K24: the admin is made at the first start, and made anew when its files are removed; the old token is refused', async () => {
  await using upstream = await recordingUpstream();
  using folder = scratchFolder();
  const stateDir = folder.file('state');
  const tokens: string[] = [];
  for (const round of [1, 2]) {
    await using sidecar = await startSidecar(upstream.url, { state_dir: stateDir });
    const status = async (token: string) =>
      (await fetch(`${sidecar.adminUrl}/v1/status`, { headers: { authorization: `Bearer ${token}` } })).status;
    const token = readFileSync(join(stateDir, 'admin.token'), 'utf8').trim();
    assert.equal(await status(token), 200);
    for (const old of tokens) assert.equal(await status(old), 401, `round ${round}`);
    tokens.push(token);
    for (const name of ['admin.token', 'operators.json']) rmSync(join(stateDir, name));
  }
  assert.notEqual(tokens[0], tokens[1]);
});

test('K24: with PostgreSQL the admin is replaced over the socket, by two commands that an outsider cannot give', async () => {
  await using database = await openTestDatabase();
  await using it = await startAdminSidecar((config) => ({ ...config, ...postgresConfig(database) }));
  const command = (...args: string[]) => runHere([...args, '-c', it.file]);
  assert.equal((await it.admin('GET', '/v1/status')).status, 200);
  assert.equal((await command('operator', 'remove', 'first')).code, 5, 'the last one stays');
  const added = await command('operator', 'add', 'next', '--role', 'admin');
  assert.equal(added.code, 0, added.err);
  assert.equal((await command('operator', 'remove', 'first')).code, 0);
  assert.equal((await command('operator', 'remove', 'first')).code, 6);
  assert.equal((await it.admin('GET', '/v1/status')).status, 401);
  assert.equal((await it.admin('GET', '/v1/status', { token: added.out })).status, 200);
});

test('H20: Redis configured and away at the start: not ready, requests refused, nothing falls back to memory; then Redis comes', async () => {
  // The reference refuses to start. Here the process stays, so that no pod crashes in a loop, and takes no traffic.
  await using redis = await startRedis();
  await redis.stop();
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    redis: { url: { value: redis.url }, timeout: '200ms' },
  });
  const ready = async () => {
    const answer = await fetch(`${sidecar.observeUrl}/readyz`);
    // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
    return { status: answer.status, body: (await answer.json()) as any };
  };
  const ask = async () =>
    (await fetch(`${sidecar.proxyUrl}/x`, { headers: { authorization: `Bearer ${tokenFor()}` } })).status;
  const { status, body } = await ready();
  assert.deepEqual([status, body.reasons], [503, ['revocations_never_loaded']]);
  assert.deepEqual([body.components.store.status, body.components.store.detail.backend], ['down', 'redis']);
  assert.equal(await ask(), 503);
  assert.equal(upstream.seen.length, 0);
  await redis.start();
  await eventually(async () => (await ready()).status === 200, 15_000);
  assert.equal(await ask(), 200);
});

test('H20: --production refuses a configuration that would keep limits and revocations in memory', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  writeFileSync(file, JSON.stringify(configFor(`http://127.0.0.1:${await freePort()}`)));
  const { code, err } = await runHere(['check', '--production', '--config', file]);
  assert.equal(code, 3);
  assert.match(err, /redis: /);
});
