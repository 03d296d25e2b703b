// There is one entry per kind, issuer and id, and the last writer wins. What must not weaken an entry looked at what its own
// replica knew: what another had revoked while Redis was away, or in the same moment, it took the place of.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Agent, request } from 'undici';
import { openOAuthWorld } from '../identity/world.ts';
import { startRedis } from '../support/redis-server.ts';
import type { TestSidecar } from '../support/sidecar.ts';

/** Two replicas with PostgreSQL, Redis gone: what one revokes the other has not heard of. */
async function apart() {
  const opened = new AsyncDisposableStack();
  const redis = opened.use(await startRedis());
  const world = opened.use(
    await openOAuthWorld({
      redis: { url: { value: redis.url }, timeout: '500ms' },
      revocation: { on_store_down: 'known', known_for: '1h' },
    }),
  );
  const other = await world.replica({ proxy: { listen: '127.0.0.1:0', endpoints: { oauth: true } } });
  await redis.stop('SIGKILL');
  return {
    world,
    other,
    async entry(id: string) {
      const [row] = await world.database.sql`
        select until, not_before, reason from revocation where revoked_id = ${id} and undone_at is null`;
      return [row?.until === null ? 'forever' : 'some time', row?.not_before === null, row?.reason];
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

let it: Awaited<ReturnType<typeof apart>>;
before(async () => {
  it = await apart();
});
after(() => it[Symbol.asyncDispose]());

/** Over the socket: only the first replica's own token gets into the table of operators that all share. */
async function call(sidecar: TestSidecar, method: 'POST' | 'PATCH', path: string, body: object): Promise<number> {
  const dispatcher = new Agent({ connect: { socketPath: sidecar.socketPath } });
  const headers = { 'content-type': 'application/json' };
  const answer = await request(`http://localhost${path}`, { method, dispatcher, headers, body: JSON.stringify(body) });
  await answer.body.dump();
  await dispatcher.close();
  return answer.statusCode;
}

test('ending the grants of somebody whom another replica has shut out does not let him in', async () => {
  const shut = { kind: 'subject', id: 'alice', until: 'forever', reason: 'leaver' };
  const { status, body } = await it.world.admin('POST', '/v1/revocations', shut);
  assert.deepEqual([status, (body as { applied: string }).applied], [201, 'pending']);
  assert.equal(await call(it.other, 'POST', '/v1/grants/end', { subject: 'alice' }), 200);
  assert.deepEqual(await it.entry('alice'), ['forever', true, 'leaver']);
});

test('disabling a client that another replica has revoked, and enabling it, leaves what was revoked', async () => {
  const client = await it.world.addClient();
  const leaked = { kind: 'client', id: client.id, reason: 'leaked' };
  assert.equal((await it.world.admin('POST', '/v1/revocations', { ...leaked, until: 'forever' })).status, 201);
  const path = `/v1/clients/${client.id}`;
  assert.equal(await call(it.other, 'PATCH', path, { disabled: true }), 200);
  assert.deepEqual(await it.entry(client.id), ['forever', true, 'leaked']);
  assert.equal(await call(it.other, 'PATCH', path, { disabled: false }), 200);
  assert.deepEqual(await it.entry(client.id), ['forever', true, 'leaked']);
});

test('revoking a client that another replica has disabled does not end that', async () => {
  const client = await it.world.addClient();
  const path = `/v1/clients/${client.id}`;
  assert.equal((await it.world.admin('PATCH', path, { disabled: true })).status, 200);
  const leaked = { kind: 'client', id: client.id, until: '1h', reason: 'leaked' };
  assert.equal(await call(it.other, 'POST', '/v1/revocations', leaked), 201);
  const [until, isWhole] = await it.entry(client.id);
  assert.deepEqual([until, isWhole], ['forever', true]);
});
