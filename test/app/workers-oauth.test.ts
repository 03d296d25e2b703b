// The public OAuth endpoints and the control plane where several processes serve the proxy port: every worker gives tokens, and
// what an operator does counts in all of them; there is one audit log.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SidecarInput } from '../../src/config/schema.ts';
import { basicField } from '../identity/world.ts';
import { freePort } from '../support/free-port.ts';
import { openTestDatabase, postgresConfig, type TestDatabase } from '../support/postgres-server.ts';
import { eventually, type Loose, type Several, several } from './several.ts';

interface World extends AsyncDisposable {
  readonly it: Several;
  readonly database: TestDatabase;
  readonly client: { readonly id: string; readonly secret: string };
  /** A form to an endpoint, on a connection of its own. */
  post(
    name: string,
    form: Readonly<Record<string, string>>,
  ): Promise<{ readonly status: number; readonly json: Loose }>;
  accessToken(): Promise<string>;
}

async function world(more: Partial<SidecarInput> = {}): Promise<World> {
  const closing = new AsyncDisposableStack();
  const database = closing.use(await openTestDatabase());
  const listen = `127.0.0.1:${await freePort()}`;
  const issuer = `http://${listen}`;
  const roomy = { key: 'ip', rate: '100000/1m' };
  const it = closing.use(
    await several({
      ...postgresConfig(database, { timeout: '5s' }),
      issuers: { self: { issuer, audience: ['api'], sign: {} } },
      limits: { roomy },
      oauth: { limits: { token: 'roomy', revoke: 'roomy', failures: 'roomy' } },
      proxy: { listen, endpoints: { oauth: true } },
      ...more,
    }),
  );
  const added = await it.admin('POST', '/v1/clients', {
    name: 'load',
    grant_types: ['client_credentials'],
    scopes: ['read'],
  });
  assert.equal(added.status, 201, JSON.stringify(added.json));
  const client = { id: String(added.json.client_id), secret: String(added.json.client_secret) };
  const post: World['post'] = async (name, form) => {
    const answer = await fetch(`${issuer}/.doorward/oauth/${name}`, {
      method: 'POST',
      body: new URLSearchParams(form),
      headers: { authorization: basicField(client.id, client.secret), connection: 'close' },
    });
    const text = await answer.text();
    return { status: answer.status, json: text === '' ? undefined : JSON.parse(text) };
  };
  const accessToken = async () => {
    const { status, json } = await post('token', { grant_type: 'client_credentials' });
    assert.equal(status, 200, JSON.stringify(json));
    return String(json.access_token);
  };
  return { it, database, client, post, accessToken, [Symbol.asyncDispose]: () => closing.disposeAsync() };
}

test('every worker gives tokens that every worker accepts, and one audit log has them all', async () => {
  await using w = await world();
  const given = await Promise.all(Array.from({ length: 24 }, () => w.accessToken()));
  for (const token of given.slice(0, 4)) assert.deepEqual(new Set(await w.it.statuses(10, token)), new Set([200]));
  await eventually(async () => {
    const { json } = await w.it.admin('GET', '/v1/audit?type=token.issued&limit=100');
    return Number(json.items?.length) === 24;
  }, 'all events are in PostgreSQL');
  const { json } = await w.it.admin('GET', '/v1/audit?type=token.issued&limit=100');
  const items = [...(json.items as unknown as Iterable<Loose>)];
  assert.equal(new Set(items.map(({ writer }) => String(writer))).size, 1, 'one chain for all processes');
  const verified = await w.it.admin('GET', '/v1/audit/verify');
  assert.equal(verified.status, 200, JSON.stringify(verified.json));
});

test('a client that is disabled is refused in every process at once, and back when it is enabled', async () => {
  await using w = await world();
  const token = await w.accessToken();
  assert.deepEqual(new Set(await w.it.statuses(20, token)), new Set([200]));
  const path = `/v1/clients/${encodeURIComponent(w.client.id)}`;
  const disabled = await w.it.admin('PATCH', path, { disabled: true });
  assert.equal(disabled.status, 200, JSON.stringify(disabled.json));
  assert.deepEqual(new Set(await w.it.statuses(40, token)), new Set([401]));
  const asked = await Promise.all(
    Array.from({ length: 8 }, () => w.post('token', { grant_type: 'client_credentials' })),
  );
  assert.deepEqual(new Set(asked.map(({ status }) => status)), new Set([401]));
  assert.equal((await w.it.admin('PATCH', path, { disabled: false })).status, 200);
  assert.deepEqual(new Set(await w.it.statuses(40, token)), new Set([200]));
});

test('a client that revokes its token at one worker while Redis is away is refused by all of them', async () => {
  await using w = await world();
  const tokens = await Promise.all(Array.from({ length: 6 }, () => w.accessToken()));
  for (const token of tokens) assert.deepEqual(new Set(await w.it.statuses(8, token)), new Set([200]));
  await w.it.redis.stop();
  await eventually(async () => String((await w.it.ready()).json.status) === 'degraded', 'Redis is known to be away');
  for (const token of tokens) {
    assert.equal((await w.post('revoke', { token })).status, 200);
    assert.deepEqual(new Set(await w.it.statuses(12, token)), new Set([401]));
  }
  await w.it.redis.start();
  await eventually(async () => String((await w.it.ready()).json.components?.store?.status) === 'up', 'Redis is back');
  for (const token of tokens) assert.deepEqual(new Set(await w.it.statuses(8, token)), new Set([401]));
});

test('with no room for audit events no worker changes anything, as if there were one process', async () => {
  await using w = await world({ audit: { spool: '16KiB' } });
  const token = await w.accessToken();
  // PostgreSQL goes on with everything else.
  await w.database.sql`alter table doorward.audit_event rename to audit_event_away`;
  let given = 0;
  while ((await w.post('token', { grant_type: 'client_credentials' })).status === 200) {
    given += 1;
    assert.ok(given < 200, 'the spool was full long ago');
  }
  assert.equal((await w.post('revoke', { token })).status, 503);
  assert.deepEqual(new Set(await w.it.statuses(8, token)), new Set([200]), 'nothing was revoked');
  await w.database.sql`alter table doorward.audit_event_away rename to audit_event`;
  await eventually(async () => (await w.post('revoke', { token })).status === 200, 'there is room again');
  assert.deepEqual(new Set(await w.it.statuses(8, token)), new Set([401]));
});
