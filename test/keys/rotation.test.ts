// Rotation on whole sidecars over a real PostgreSQL: two replicas, their admin ports, tokens under way.
import assert from 'node:assert/strict';
import { createPrivateKey, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { SidecarInput } from '../../src/config/schema.ts';
import { type AdminSidecar, startAdminSidecar } from '../admin/admin-sidecar.ts';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, type TestDatabase } from '../support/postgres-server.ts';

// Calls go over the socket: an operator token is one of the database, and each sidecar here has its own state_dir.

const kek = randomBytes(32).toString('base64');

function withPostgres(database: TestDatabase, sign: object = {}, secret = kek) {
  return (config: SidecarInput): SidecarInput => ({
    ...config,
    issuers: { ...config.issuers, self: { issuer: 'http://doorward.localhost', audience: ['api'], sign } },
    postgres: { url: { value: database.settings.url } },
    sealing: { kek: { key: { value: secret } } },
  });
}

const kidOf = (token: string) =>
  JSON.parse(String(Buffer.from(token.split('.')[0] as string, 'base64url'))).kid as string;

async function issue({ socket }: AdminSidecar): Promise<string> {
  const { json, text } = await socket('POST', '/v1/tokens', { body: { subject: 'alice', client: 'web' } });
  assert.ok(json.token, text);
  return json.token as unknown as string;
}

async function states({ socket }: AdminSidecar): Promise<Record<string, string>> {
  const { json } = await socket('GET', '/v1/keys');
  const items = [...json.items] as unknown as { kid: string; state: string }[];
  return Object.fromEntries(items.map(({ kid, state }) => [kid, state]));
}

test('L17: keys outlive the process: another start signs with the same kid, and the private part stands nowhere in the open', async () => {
  await using database = await openTestDatabase();
  let first: string;
  {
    await using sidecar = await startAdminSidecar(withPostgres(database));
    first = await issue(sidecar);
    assert.equal((await sidecar.proxy('/x', first)).status, 200);
  }
  await using again = await startAdminSidecar(withPostgres(database));
  assert.equal(kidOf(await issue(again)), kidOf(first));
  assert.equal((await again.proxy('/x', first)).status, 200);
  const [row] = await database.sql<{ private_key: Buffer }[]>`select private_key from signing_key`;
  assert.throws(() => createPrivateKey({ key: row?.private_key as Buffer, format: 'der', type: 'pkcs8' }));
});

test("two replicas that start at once on an empty database sign with one key, and take each other's tokens", async () => {
  await using database = await openTestDatabase();
  const [a, b] = await Promise.all([1, 2].map(() => startAdminSidecar(withPostgres(database))));
  await using one = a as AdminSidecar;
  await using two = b as AdminSidecar;
  const [left, right] = await Promise.all([issue(one), issue(two)]);
  assert.equal(kidOf(left), kidOf(right));
  assert.equal((await two.proxy('/x', left)).status, 200);
  assert.equal((await one.proxy('/x', right)).status, 200);
});

test('L19: three rotations, three kids, and every token stays good on both replicas', async () => {
  await using database = await openTestDatabase();
  await using one = await startAdminSidecar(withPostgres(database, { publish_before: '0ms' }));
  await using two = await startAdminSidecar(withPostgres(database, { publish_before: '0ms' }));
  const tokens = [await issue(one)];
  for (let n = 0; n < 3; n += 1) {
    assert.equal((await one.socket('POST', '/v1/keys', { body: {} })).status, 201);
    await one.socket('GET', '/v1/keys');
    tokens.push(await issue(one));
    assert.equal((await two.proxy('/x', tokens.at(-1))).status, 200, 'from the first moment on');
  }
  assert.equal(new Set(tokens.map(kidOf)).size, 4);
  for (const token of tokens) {
    assert.equal((await one.proxy('/x', token)).status, 200);
    assert.equal((await two.proxy('/x', token)).status, 200);
  }
  assert.deepEqual(Object.values(await states(two)).sort(), ['active', 'retiring', 'retiring', 'retiring']);
});

test('zero 401 for good tokens while keys rotate under load', async () => {
  await using database = await openTestDatabase();
  await using one = await startAdminSidecar(withPostgres(database, { publish_before: '0ms' }));
  await using two = await startAdminSidecar(withPostgres(database, { publish_before: '0ms' }));
  const statuses = new Map<number, number>();
  const kids = new Set<string>();
  let over = false;
  const load = async (from: AdminSidecar, to: AdminSidecar) => {
    while (!over) {
      const token = await issue(from);
      kids.add(kidOf(token));
      for (const sidecar of [to, from]) {
        const { status } = await sidecar.proxy('/x', token);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    }
  };
  const loads = [load(one, two), load(two, one), load(one, two), load(two, one)];
  try {
    for (let n = 0; n < 6; n += 1) {
      const by = n % 2 ? one : two;
      assert.equal((await by.socket('POST', '/v1/keys', { body: {} })).status, 201);
      await by.socket('GET', '/v1/keys');
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
  } finally {
    over = true;
    await Promise.all(loads);
  }
  assert.deepEqual([...statuses.keys()], [200], JSON.stringify([...statuses]));
  assert.ok((statuses.get(200) ?? 0) > 100 && kids.size >= 4, `${statuses.get(200)} requests, ${kids.size} keys`);
});

test('a banned key is refused at once, replaced at once, and published nowhere', async () => {
  await using database = await openTestDatabase();
  await using one = await startAdminSidecar(withPostgres(database));
  await using two = await startAdminSidecar(withPostgres(database));
  const token = await issue(one);
  assert.equal((await two.proxy('/x', token)).status, 200);
  const { status, json } = await one.socket('POST', `/v1/keys/${kidOf(token)}/ban`);
  assert.equal(status, 200);
  assert.equal(json.applied, 'all');
  assert.equal((await one.proxy('/x', token)).status, 401);
  const next = await issue(one);
  assert.notEqual(kidOf(next), kidOf(token));
  assert.equal((await one.proxy('/x', next)).status, 200);
  assert.equal(
    (await two.proxy('/x', next)).status,
    200,
    'the replacement verifies elsewhere from the first moment on',
  );
  await eventually(async () => (await two.proxy('/x', token)).status === 401, 10_000);
  assert.equal((await states(two))[kidOf(token)], 'banned');
});

test('rotate prints a timeline; a second one is a conflict; activate and retire do what they say', async () => {
  await using database = await openTestDatabase();
  await using sidecar = await startAdminSidecar(withPostgres(database));
  const old = kidOf(await issue(sidecar));
  const { json } = await sidecar.socket('POST', '/v1/keys', { body: { issuer: 'self' } });
  const pending = (
    [...(json.items ?? json.keys!)] as unknown as { kid: string; state: string; signs_from: string }[]
  ).find(({ state }) => state === 'pending');
  assert.ok(pending);
  assert.equal(json.next_step_at, pending.signs_from);
  assert.equal((await sidecar.socket('POST', '/v1/keys', { body: {} })).status, 409);
  assert.equal((await sidecar.socket('POST', '/v1/keys', { body: { issuer: 'corp' } })).status, 404);
  assert.equal((await sidecar.socket('POST', '/v1/keys/none/ban')).status, 404);
  assert.equal((await sidecar.socket('POST', `/v1/keys/${old}/activate`)).status, 409);
  assert.equal((await sidecar.socket('POST', `/v1/keys/${pending.kid}/activate`)).status, 200);
  assert.deepEqual(await states(sidecar), { [old]: 'retiring', [pending.kid]: 'active' });
  assert.equal((await sidecar.socket('POST', `/v1/keys/${old}/retire`)).status, 200);
  assert.equal((await states(sidecar))[old], 'retired');
});

test('2.3.9: a wrong KEK stops the start, and no row changes', async () => {
  await using database = await openTestDatabase();
  {
    await using sidecar = await startAdminSidecar(withPostgres(database));
    await issue(sidecar);
  }
  const dump = async () =>
    JSON.stringify([
      await database.sql`select t::text, xmin from sealing t`,
      await database.sql`select t::text, xmin from data_key t order by 1`,
      await database.sql`select t::text, xmin from signing_key t order by 1`,
    ]);
  const before = await dump();
  await assert.rejects(startAdminSidecar(withPostgres(database, {}, randomBytes(32).toString('base64'))), {
    kind: 'misconfigured',
    message: /^sealing\.kek is not the key that sealed this database/,
  });
  assert.equal(await dump(), before);
});

test('a key planted in the database is neither published nor accepted', async () => {
  await using database = await openTestDatabase();
  await using sidecar = await startAdminSidecar(withPostgres(database));
  const good = kidOf(await issue(sidecar));
  await database.sql`
    insert into signing_key (issuer, kid, algorithm, public_jwk, private_key, state, created_at, activate_at, retire_at)
    select issuer, reverse(kid), algorithm, public_jwk || jsonb_build_object('kid', reverse(kid)), private_key, 'retiring',
      created_at, activate_at, created_at + interval '10 years' from signing_key`;
  const planted = [...good].reverse().join('');
  await sidecar.socket('GET', '/v1/keys');
  const told = () => sidecar.log().some(({ event, kid }) => event === 'signing_key_unusable' && kid === planted);
  await eventually(told, 10_000);
  assert.equal((await sidecar.proxy('/x', await issue(sidecar))).status, 200);
});

test('C19: data keys show id, count, keys; rotating makes a new one and re-seals the signing keys', async () => {
  await using database = await openTestDatabase();
  await using sidecar = await startAdminSidecar(withPostgres(database));
  const kid = kidOf(await issue(sidecar));
  const { json: before } = await sidecar.socket('GET', '/v1/data-keys');
  assert.equal(before.total_keys, 1);
  const { status, json } = await sidecar.socket('POST', '/v1/data-keys');
  assert.equal(status, 201);
  assert.notEqual(json.active_key_id, before.active_key_id);
  const progress = async () =>
    (await sidecar.socket('GET', '/v1/data-keys')).json.resealing as unknown as {
      running: boolean;
      done: number;
      total: number;
      unreadable: string[];
    };
  // It begins a little after the answer.
  await eventually(async () => {
    const { running, total } = await progress();
    return !running && total >= 1;
  }, 20_000);
  const { done, total, unreadable } = await progress();
  assert.equal(done, total);
  assert.deepEqual([...unreadable], []);
  await using again = await startAdminSidecar(withPostgres(database));
  assert.equal(kidOf(await issue(again)), kid);
});

test('without postgres keys and data keys answer 501', async () => {
  await using sidecar = await startAdminSidecar();
  for (const path of ['/v1/keys', '/v1/data-keys']) {
    const { status, json } = await sidecar.socket('GET', path);
    assert.deepEqual([status, json.code], [501, 'not_configured']);
  }
});

test('metrics tell the age of the key that signs, keys by state, and the seals of the active data key', async () => {
  await using database = await openTestDatabase();
  await using sidecar = await startAdminSidecar(withPostgres(database));
  await issue(sidecar);
  await sidecar.socket('GET', '/v1/data-keys');
  const { text } = await sidecar.observe('GET', '/metrics');
  assert.match(text, /^doorward_signing_keys\{issuer="self",state="active"\} 1$/m);
  assert.match(text, /^doorward_signing_key_age_seconds \d/m);
  assert.match(text, /^doorward_data_key_seals 1000$/m);
});
