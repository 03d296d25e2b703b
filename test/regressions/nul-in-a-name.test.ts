// PostgreSQL cannot hold a NUL. A client id with one was a defect (500, a stack in the log) that anybody could cause without its
// counting as a failed try; an entry of the revocation log with one kept all later entries from being remembered.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openRedis } from '../../src/stores/redis/backend.ts';
import { basicField, openOAuthWorld } from '../identity/world.ts';
import { eventually } from '../rows/eventually.ts';
import { mintKey, mintRaw } from '../support/minting.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar, testIssuer } from '../support/sidecar.ts';

const grant = { grant_type: 'client_credentials' };
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

test('a NUL from a stranger is a refusal like any other at the OAuth endpoints, and a failed try', async () => {
  await using world = await openOAuthWorld();
  const assertion = mintRaw(mintKey('ES256', 'k'), { alg: 'ES256' }, { sub: 'a\0b' });
  const tries = [
    [await world.post('token', { ...grant, client_id: 'a\0b', client_secret: 'x' }), 400, 'invalid_request'],
    [await world.post('token', { ...grant, 'a\0': 'x' }), 400, 'invalid_request'],
    [await world.post('token', grant, { authorization: basicField('a\0b', 'x') }), 401, 'invalid_client'],
    [
      await world.post('token', { ...grant, client_assertion_type: ASSERTION_TYPE, client_assertion: assertion }),
      401,
      'invalid_client',
    ],
  ] as const;
  for (const [reply, status, error] of tries)
    assert.deepEqual([reply.status, reply.json.error], [status, error], reply.text);
  await eventually(async () => {
    const rows = await world.database.sql`select reason from audit_event where type = 'client.auth_failed' order by 1`;
    return JSON.stringify(rows.map(({ reason }) => reason)) === '["basic_malformed","two_clients"]';
  }, 10_000);
  assert.ok(!world.sidecar.logText().includes('oauth_defect'));
});

test('a NUL from an operator, or in metadata of a client, is malformed and no defect', async () => {
  await using world = await openOAuthWorld();
  const calls: readonly (readonly [string, string, object?])[] = [
    ['GET', '/v1/clients/%00'],
    ['GET', '/v1/clients?tenant=%00'],
    ['DELETE', '/v1/operators/%00'],
    ['GET', '/v1/grants?subject=%00'],
    ['DELETE', '/v1/grants/%00'],
    ['DELETE', '/v1/revocations/%00'],
    ['POST', '/v1/grants/end', { subject: 'a\0b' }],
    ['POST', '/v1/grants/end', { session: 'a\0b' }],
    ['POST', '/v1/revocations', { kind: 'subject', issuer: 'self', id: 'a\0b' }],
    ['DELETE', '/v1/clients/initial-access-tokens/%00'],
    ['GET', '/v1/audit?subject=%00'],
  ];
  for (const [method, path, body] of calls) {
    const { status } = await world.admin(method, path, body);
    assert.ok(status === 400 || status === 422, `${method} ${path}: ${status}`);
  }
  const { body } = await world.admin('POST', '/v1/clients/initial-access-tokens', {});
  const metadata = { token_endpoint_auth_method: 'private_key_jwt', redirect_uris: ['https://a.example/cb'] };
  const registered = await fetch(world.url('register'), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${(body as { token: string }).token}` },
    body: JSON.stringify({ ...metadata, jwks_uri: 'https://a.example/\0' }),
  });
  assert.equal(registered.status, 400, await registered.text());
  assert.ok(!world.sidecar.logText().includes('_defect'));
});

test('an entry of the log that PostgreSQL cannot hold keeps no later one from being remembered', async () => {
  await using database = await openTestDatabase();
  await using redis = await startRedis();
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    ...postgresConfig(database),
    redis: { url: { value: redis.url }, timeout: '2s' },
  });
  const remembered = async (id: string) =>
    (await database.sql`select 1 from revocation where revoked_id = ${id}`).length === 1;
  await using elsewhere = openRedis({ url: redis.url, prefix: 'doorward', timeoutMs: 2000 });
  assert.ok(await elsewhere.ready(10_000));
  const revoke = (id: string) =>
    elsewhere.revocations.append({ kind: 'subject', issuer: testIssuer, id, untilMs: 'forever', reason: 'elsewhere' });
  await revoke('first');
  await eventually(() => remembered('first'), 20_000);
  await revoke('a\0b');
  await revoke('second');
  await eventually(() => remembered('second'), 20_000);
  assert.ok(!sidecar.logText().includes('unhandled_rejection'));
});
