// Disabling a client refuses its tokens for ever, by an entry of the revocation log. Whoever revoked the client besides (until the
// last token ends, as it is by default) took that entry's place: replicas that know clients by the log alone let it in afterwards.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openOAuthWorld } from '../identity/world.ts';
import { eventually } from '../rows/eventually.ts';

test('a client that is revoked while it is disabled stays refused for ever, and nothing revoked comes back with it', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const { access_token: token } = (await world.as(client, 'token', { grant_type: 'client_credentials' })).json;
  assert.equal(await world.call(token), 200);
  const path = `/v1/clients/${client.id}`;
  const entry = async () => {
    const { body } = await world.admin('GET', '/v1/revocations?kind=client');
    // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
    const [found] = (body as any).items;
    return [found?.until, found?.not_before !== undefined];
  };
  assert.equal((await world.admin('PATCH', path, { disabled: true })).status, 200);
  assert.deepEqual(await entry(), ['forever', false]);
  const revoked = { kind: 'client', id: client.id, reason: 'leaked' };
  for (const weaker of [{}, { until: '1h' }, { until: 'forever', not_before: 'now' }]) {
    const { status, body } = await world.admin('POST', '/v1/revocations', { ...revoked, ...weaker });
    assert.deepEqual([status, (body as { until: string }).until], [201, 'forever']);
    assert.deepEqual(await entry(), ['forever', false], JSON.stringify(weaker));
  }
  assert.equal((await world.admin('PATCH', path, { disabled: false })).status, 200);
  assert.deepEqual(await entry(), ['forever', true]);
  assert.equal(await world.call(token), 401, 'what an operator revoked does not come back');
  const forever = { ...revoked, until: 'forever' };
  assert.equal((await world.admin('PATCH', path, { disabled: true })).status, 200);
  assert.equal((await world.admin('POST', '/v1/revocations', forever)).status, 201);
  assert.equal((await world.admin('PATCH', path, { disabled: false })).status, 200);
  assert.deepEqual(await entry(), ['forever', false], 'what an operator refused for ever stays so');
});

test('no entry that refuses a disabled client is taken back; enabling it does that', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const path = `/v1/clients/${client.id}`;
  assert.equal((await world.admin('PATCH', path, { disabled: true })).status, 200);
  // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
  const entries = async () => ((await world.admin('GET', '/v1/revocations?kind=client')).body as any).items;
  const undo = async () => (await world.admin('DELETE', `/v1/revocations/${(await entries())[0].id}`)).status;
  assert.equal(await undo(), 409);
  const mine = { kind: 'client', id: client.id, reason: 'leaked', until: 'forever' };
  assert.equal((await world.admin('POST', '/v1/revocations', mine)).status, 201);
  assert.equal(await undo(), 409, 'one of an operator, which stands for both');
  assert.equal((await entries()).length, 1);
  assert.equal((await world.admin('PATCH', path, { disabled: false })).status, 200);
  assert.equal(await undo(), 204);
  assert.deepEqual(await entries(), []);
  const asked = await world.as(client, 'token', { grant_type: 'client_credentials' });
  assert.equal(await world.call(asked.json.access_token), 200);
});

test('an entry of an operator that stands for a disabled client too is not ended by another; words of the control plane mean nothing elsewhere', async () => {
  await using world = await openOAuthWorld();
  const client = await world.addClient();
  const path = `/v1/clients/${client.id}`;
  const revoke = async (body: object) =>
    ((await world.admin('POST', '/v1/revocations', body)).body as { until: string }).until;
  const mine = { kind: 'client', id: client.id, reason: 'leaked' };
  assert.equal(await revoke({ ...mine, until: 'forever' }), 'forever');
  assert.notEqual(
    await revoke({ ...mine, until: '1h' }),
    'forever',
    'of a client that is not disabled it may be shortened',
  );
  assert.equal((await world.admin('PATCH', path, { disabled: true })).status, 200);
  assert.equal(await revoke({ ...mine, until: 'forever' }), 'forever');
  assert.equal(await revoke({ ...mine, until: '1h' }), 'forever', 'it is all that refuses the disabled client');
  assert.equal((await world.admin('PATCH', path, { disabled: false })).status, 200);
  // Not within the second in which it was enabled.
  await eventually(async () => {
    const asked = await world.as(client, 'token', { grant_type: 'client_credentials' });
    return (await world.call(asked.json.access_token)) === 200;
  }, 10_000);
  const alice = { kind: 'subject', id: 'alice', reason: 'client_disabled', until: 'forever' };
  assert.equal(await revoke(alice), 'forever');
  assert.notEqual(await revoke({ ...alice, until: '1h' }), 'forever', 'no client');
});
