// `doorward client` against a running sidecar with PostgreSQL.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { isPrefixedSecret } from '../../src/core/prefixed-secret.ts';
import { type AdminSidecar, startAdminSidecar } from '../admin/admin-sidecar.ts';
import { mintKey } from '../support/minting.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { type Ended, runHere } from './processes.ts';

async function world() {
  const database = await openTestDatabase();
  const it = await startAdminSidecar((config) => ({
    ...config,
    ...postgresConfig(database, { timeout: '5s' }),
    limits: {
      ...config.limits,
      per_client: { key: 'client', tiers: { free: '1/1h', paid: '9/1h' }, default_tier: 'free' },
    },
  }));
  const run = (...args: string[]) => runHere(['client', ...args, '--config', it.file]);
  return {
    it,
    run,
    json: async (...args: string[]) => {
      const ended = await run(...args, '--json');
      assert.equal(ended.code, 0, ended.err);
      return JSON.parse(ended.out);
    },
    write: (name: string, document: unknown) => {
      const file = join(it.folder, name);
      writeFileSync(file, JSON.stringify(document));
      return file;
    },
    async [Symbol.asyncDispose]() {
      await it[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

test('K24: client add prints id and secret alone, and a ready curl beside them', async () => {
  await using w = await world();
  const added = await w.run('add', 'billing', '--grant', 'client_credentials', '--scope', 'read', '--tier', 'paid');
  assert.equal(added.code, 0, added.err);
  const [id, secret, ...more] = added.out.split('\n');
  assert.match(id ?? '', /^c_/);
  assert.ok(isPrefixedSecret('dws', secret ?? ''));
  assert.deepEqual(more, []);
  assert.match(
    added.err,
    new RegExp(`curl --user ${id} --data grant_type=client_credentials .*/\\.doorward/oauth/token`),
  );
  assert.ok(!added.err.includes(secret ?? '-'), 'the command line of curl is visible to others');
  const shown = await w.run('show', id as string);
  assert.match(shown.out, /scopes +\["read"\]/);
  assert.ok(!shown.out.includes(secret ?? '-'));
});

test('client list, set, disable, enable and remove', async () => {
  await using w = await world();
  const { client_id: id } = await w.json('add', 'billing', '--tier', 'free', '--tenant', 'acme');
  const changed = await w.json(
    'set',
    id,
    '--tier',
    'paid',
    '--tenant',
    '',
    '--limit',
    'per_client=5/1m',
    'per_client=50/1h',
  );
  assert.deepEqual([changed.tier, changed.tenant, changed.limits], ['paid', null, { per_client: ['5/1m', '50/1h'] }]);
  assert.match((await w.run('disable', id)).out, /is disabled/);
  assert.match((await w.run('list', '--disabled')).out, new RegExp(`${id} +billing .*disabled`));
  assert.equal((await w.run('enable', id)).code, 0);
  assert.deepEqual((await w.json('list', '--disabled')).items, []);
  assert.equal((await w.run('remove', id)).code, 0);
  assert.equal((await w.run('show', id)).code, 6);
});

test('a client of a foreign issuer, and one with a key file', async () => {
  await using w = await world();
  const external = await w.json('add', 'partner', '--issuer', 'corp', '--client-id', 'partner', '--tier', 'paid');
  assert.deepEqual([external.external, external.client_secret], [true, undefined]);
  const jwks = w.write('jwks.json', { keys: [mintKey('ES256').jwk] });
  const keyed = await w.json('add', 'signer', '--auth-method', 'private_key_jwt', '--jwks', jwks);
  assert.deepEqual([keyed.token_endpoint_auth_method, keyed.client_secret], ['private_key_jwt', undefined]);
});

test('what the sidecar refuses is told field by field, with exit code 5', async () => {
  await using w = await world();
  const refused = await w.run('add', 'billing', '--tier', 'gold', '--redirect-uri', 'https://app.test/cb');
  assert.equal(refused.code, 5);
  assert.match(refused.err, /tier: needs free, paid/);
  assert.match(refused.err, /redirect_uris: /);
  assert.equal((await w.run('add', 'billing', '--limit', 'per_client:5/1m')).code, 2);
});

test('client secret add and remove: a change-over without a gap', async () => {
  await using w = await world();
  const { client_id: id, secrets } = await w.json('add', 'billing');
  const second = await w.run('secret', 'add', id, '--expires', '90d');
  assert.ok(isPrefixedSecret('dws', second.out));
  assert.equal((await w.run('secret', 'add', id)).code, 5, 'two are live');
  assert.equal((await w.run('secret', 'remove', id, secrets[0].id)).code, 0);
  assert.equal((await w.json('show', id)).secrets.length, 1);
});

test('client token add, list and remove', async () => {
  await using w = await world();
  const made = await w.run('token', 'add', '--uses', '3', '--expires', '1h');
  assert.ok(isPrefixedSecret('dwi', made.out), made.err);
  const [token] = (await w.json('token', 'list')).items;
  assert.equal(token.uses_left, 3);
  assert.match((await w.run('token', 'list')).out, new RegExp(`${token.id} +3`));
  assert.equal((await w.run('token', 'remove', token.id)).code, 0);
  assert.deepEqual((await w.json('token', 'list')).items, []);
});

test('client apply does what the file says, once; --dry-run only tells', async () => {
  await using w = await world();
  const entry = { name: 'billing', scopes: ['read'], limits: { per_client: '5/1m' } };
  const file = w.write('clients.json', { clients: [entry, { client_id: 'partner', issuer: 'corp', tier: 'paid' }] });
  const told = await w.run('apply', file, '--dry-run');
  assert.match(told.out, /^\+ \(new id\) billing\n {4}name: - -> "billing"\n {4}scopes: - -> \["read"\]/);
  assert.deepEqual((await w.json('list')).items, [], 'nothing was done');
  const first = await w.json('apply', file);
  assert.deepEqual(
    first.clients.map((one: { action: string; client_secret?: string }) => [
      one.action,
      one.client_secret !== undefined,
    ]),
    [
      ['add', true],
      ['add', false],
    ],
  );
  const again = await w.json('apply', file);
  assert.deepEqual(
    again.clients.map(({ action }: { action: string }) => action),
    ['keep', 'keep'],
  );
  const other = w.write('other.json', { clients: [{ ...entry, scopes: ['read', 'write'] }] });
  const diff = await w.run('apply', other, '--dry-run');
  assert.match(diff.out, /^~ c_\S+ billing\n {4}scopes: \["read"\] -> \["read","write"\]$/);
  assert.equal((await w.run('apply', other)).code, 0);
  assert.deepEqual((await w.json('list', '--name', 'billing')).items[0].version, 2);
});

test('client apply has every entry judged before anything is made, and names file, line and nearest name', async () => {
  await using w = await world();
  await w.json('add', 'known', '--client-id', 'known');
  const file = join(w.it.folder, 'clients.yaml');
  writeFileSync(
    file,
    `clients:
  - name: billing
    scopes: [read]
  - name: reports
    tierr: paid
  - client_id: partner
    issuer: corpp
  - client_id: known
    tier: gold
  - {client_id: twice, name: a}
  - {client_id: twice, name: b, issuer: self}
`,
  );
  for (const dryRun of [['--dry-run'], []]) {
    const refused = await w.run('apply', file, ...dryRun);
    assert.equal(refused.code, 5, refused.err);
    assert.equal(refused.out, '');
    assert.deepEqual(refused.err.split('\n'), [
      `${file}:4 (reports): tierr: is not a known field (nearest name tier)`,
      `${file}:6 (partner): issuer: needs to be one of self, corp`,
      `${file}:8 (known): tier: needs free, paid`,
      `${file}:10 (a) and ${file}:11 (b) mean the same client`,
      'nothing was changed',
    ]);
  }
  assert.deepEqual(
    (await w.json('list')).items.map(({ client_id }: { client_id: string }) => client_id),
    ['known'],
  );
});

/** The admin port behind a front that does `before` ahead of each call that registers; the way to it as options. */
async function adminFront(it: AdminSidecar, before: (call: number) => Promise<unknown>) {
  let calls = 0;
  const front = createServer(async (asked, response) => {
    if (asked.method === 'POST' && asked.url === '/v1/clients') await before(++calls);
    const answer = await request(`${it.sidecar.adminUrl}${asked.url}`, {
      method: asked.method as 'GET',
      headers: { authorization: String(asked.headers.authorization), 'content-type': 'application/json' },
      body: asked.method === 'GET' ? null : asked,
    });
    response.writeHead(answer.statusCode, { 'x-request-id': String(answer.headers['x-request-id']) });
    answer.body.pipe(response);
  }).listen(0, '127.0.0.1');
  await once(front, 'listening');
  return {
    options: ['--admin', `http://127.0.0.1:${(front.address() as AddressInfo).port}`],
    async [Symbol.asyncDispose]() {
      front.close();
      front.closeAllConnections();
    },
  };
}

for (const json of [[], ['--json']])
  test(`client apply prints a secret when it is made: what fails later takes none away ${json}`, async () => {
    await using w = await world();
    const raced = { client_id: 'raced', name: 'raced' };
    const file = w.write('clients.json', { clients: [{ name: 'billing' }, raced, { name: 'last' }] });
    // Somebody else registers the second one after it was judged.
    await using front = await adminFront(w.it, (call) =>
      call === 2 ? w.it.admin('POST', '/v1/clients', { body: raced }) : Promise.resolve(),
    );
    const failed = await w.run('apply', file, ...front.options, ...json);
    assert.equal(failed.code, 5, failed.err);
    assert.match(
      failed.err,
      /clients\.json:1 \(raced\): 409 .*\n1 of 3 were done before, as printed; apply the file again/,
    );
    const secret = /\bdws_[\w-]+/.exec(failed.out)?.[0] ?? '';
    assert.ok(isPrefixedSecret('dws', secret), failed.out);
    if (json.length > 0) assert.equal(JSON.parse(failed.out).failed, `${file}:1 (raced)`);
    const names = (await w.json('list')).items.map(({ name }: { name: string }) => name);
    assert.deepEqual(names, ['raced', 'billing'], 'the last one was not tried');
    const again = await w.json('apply', file);
    assert.deepEqual(
      again.clients.map(({ action }: { action: string }) => action),
      ['keep', 'keep', 'add'],
    );
  });

const MAIN = resolve(import.meta.dirname, '../../src/main.ts');

/** Runs `client apply FILE` with its output led as the shell is told; `code` is the program's own. */
async function applied(it: AdminSidecar, file: string, more: readonly string[], led: string): Promise<Ended> {
  const line = `"$@" ${led}\nexit "\${PIPESTATUS[0]}"`;
  const command = [process.execPath, MAIN, 'client', 'apply', file, '--config', it.file, ...more];
  const child = spawn('bash', ['-c', line, 'bash', ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code, out, err };
}

for (const [led, why, loss] of [
  ['| head -1', /^the reader of standard output has gone\n/, /(could not be written|may not have been read)/],
  ['> /dev/full', /^standard output cannot be written: no space left on device \(ENOSPC\)\n/, /could not be written/],
] as const)
  for (const json of [[], ['--json']])
    test(`client apply ${led} stops, and names the clients whose secrets were lost ${json}`, async () => {
      await using w = await world();
      const names = ['a', 'b', 'c', 'd', 'e', 'f'];
      const file = w.write('clients.json', { clients: names.map((name) => ({ name })) });
      // Slow enough for head to be gone before the last one is made.
      await using front = await adminFront(w.it, () => sleep(300));
      const ended = await applied(w.it, file, [...front.options, ...json], led);
      assert.equal(ended.code, 1, ended.err);
      assert.match(ended.err, why);
      assert.doesNotMatch(ended.err, /^ {4}at /m);
      const { items } = await w.json('list');
      assert.ok(items.length < names.length, `${items.length} were made`);
      for (const { client_id: id, name } of items) {
        const line = ended.err.split('\n').find((one) => one.startsWith(`${id} (${name}) was made, and its secret `));
        assert.match(line ?? ended.err, loss);
        assert.match(line ?? '', new RegExp(`; another is made by: doorward client secret add ${id}$`));
        assert.ok(isPrefixedSecret('dws', (await w.run('secret', 'add', id)).out));
      }
      assert.ok(ended.err.endsWith(`\n${items.length} of 6 were done; apply the file again when this is put right\n`));
    });

test('client apply | head with nothing lost is no failure', async () => {
  await using w = await world();
  const file = w.write('clients.json', { clients: [{ name: 'billing' }] });
  assert.equal((await w.run('apply', file)).code, 0);
  assert.deepEqual(await applied(w.it, file, ['--dry-run'], '| true'), { code: 0, out: '', err: '' });
});

test('client apply refuses an entry by name beside one that is going to have the same name', async () => {
  await using w = await world();
  const entries = [{ client_id: 'x-two', name: 'a1' }, { name: 'a1' }];
  for (const clients of [entries, entries.toReversed()]) {
    const file = w.write('clients.json', { clients });
    const refused = await w.run('apply', file);
    assert.deepEqual([refused.code, refused.out], [2, '']);
    assert.equal(
      refused.err,
      `${file}:1 (a1) needs client_id: ${file}:1 (a1) is going to have the same name\nnothing was changed`,
    );
  }
  assert.deepEqual((await w.json('list')).items, []);
  await w.json('add', 'a1');
  const renamed = w.write('renamed.json', { clients: [{ client_id: 'x-two', name: 'a1' }, { name: 'a1' }] });
  assert.equal((await w.run('apply', renamed)).code, 2, 'the one by name is there already');
  const foreign = w.write('foreign.json', {
    clients: [{ client_id: 'a1', issuer: 'corp', name: 'a1' }, { name: 'a1' }],
  });
  for (let times = 0; times < 2; times += 1) assert.equal((await w.run('apply', foreign)).code, 0);
});

test('client apply twice is as good as once, however rates and lives of secrets are spelled', async () => {
  await using w = await world();
  const entry = { name: 'billing', limits: { per_client: '5/60s' }, secret_expires: '90d' };
  const file = w.write('clients.json', { clients: [entry] });
  assert.equal((await w.json('apply', file)).clients[0].action, 'add');
  assert.equal((await w.json('apply', file)).clients[0].action, 'keep');
  const [client] = (await w.json('list')).items;
  assert.deepEqual([client.version, client.secrets[0].expires_at !== null], [1, true]);
});

test('client apply --dry-run is open to an operator who may only read, and says what was not judged', async () => {
  await using w = await world();
  const viewer = await w.it.admin('POST', '/v1/operators', { body: { name: 'ci', role: 'viewer' } });
  const token = join(w.it.folder, 'viewer.token');
  writeFileSync(token, String(viewer.json.token));
  const file = w.write('clients.json', { clients: [{ name: 'billing' }, { name: 'reports' }] });
  const door = ['--admin', w.it.sidecar.adminUrl as string, '--admin-token-file', token];
  const told = await w.run('apply', file, '--dry-run', ...door);
  assert.deepEqual([told.code, told.out.match(/^\+/gm)?.length], [0, 2]);
  assert.match(told.err, /^this operator may only read clients, [^\n]+$/);
  assert.equal((await w.run('apply', file, ...door)).code, 5);
  assert.deepEqual((await w.json('list')).items, []);
});

test('client export is what client apply takes, and holds no secret', async () => {
  await using w = await world();
  const secret = (await w.json('add', 'billing', '--scope', 'read', '--limit', 'per_client=5/1m')).client_secret;
  await w.json('add', 'partner', '--issuer', 'corp', '--client-id', 'partner', '--tier', 'paid');
  const text = (await w.run('export')).out;
  assert.ok(!text.includes(secret));
  const file = join(w.it.folder, 'export.yaml');
  writeFileSync(file, text);
  const kept = await w.json('apply', file);
  assert.deepEqual(
    kept.clients.map(({ action }: { action: string }) => action),
    ['keep', 'keep'],
    readFileSync(file, 'utf8'),
  );
  for (const { client_id, issuer } of (await w.json('list')).items)
    await w.run('remove', client_id, '--issuer', issuer);
  const anew = await w.json('apply', file);
  assert.deepEqual(
    anew.clients.map(({ action }: { action: string }) => action),
    ['add', 'add'],
  );
  assert.equal((await w.run('export')).out, text, 'the same clients under the same ids');
});

test('a file that is no list of clients is refused before anything is done', async () => {
  await using w = await world();
  for (const document of [
    [],
    { clients: {} },
    { clients: [], more: 1 },
    { clients: [7] },
    { clients: [{}] },
    { clients: [{ name: 7 }] },
  ])
    assert.equal((await w.run('apply', w.write('bad.json', document))).code, 2, JSON.stringify(document));
  const twice = {
    clients: [
      { client_id: 'abc', name: 'a' },
      { client_id: 'abc', name: 'b' },
    ],
  };
  assert.equal((await w.run('apply', w.write('ok.json', { clients: [twice.clients[0]] }))).code, 0);
  assert.equal((await w.run('apply', w.write('twice.json', twice))).code, 2);
});
