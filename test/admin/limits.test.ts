// Looking at a limit and resetting it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mintKey } from '../support/minting.ts';
import { FOREIGN, startAdminSidecar } from './admin-sidecar.ts';

const KEY = '/v1/limits/tight/self%2Fweb';

test('C20: request N+1 is denied, the operator sees count and reset, and after a reset it is allowed', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue({ client: 'web' });
  const statuses = [];
  for (let at = 0; at < 3; at += 1) statuses.push((await it.proxy('/limited', token)).status);
  assert.deepEqual(statuses, [200, 200, 429]);
  const { json } = await it.admin('GET', KEY);
  assert.deepEqual([json.limit, json.key, json.allowed], ['tight', 'self/web', false]);
  const [rate] = [...json.rates];
  assert.deepEqual([rate?.limit, rate?.window_ms, rate?.remaining], [2, 3_600_000, 0]);
  assert.ok(Number(rate?.reset_ms) > 3_590_000);
  assert.deepEqual((await it.admin('DELETE', KEY)).json, { limit: 'tight', key: 'self/web', was_counted: true });
  assert.equal((await it.proxy('/limited', token)).status, 200);
});

test('H15: looking at a limit charges nothing', async () => {
  await using it = await startAdminSidecar();
  for (let at = 0; at < 5; at += 1) await it.admin('GET', KEY);
  const { json } = await it.admin('GET', KEY);
  assert.deepEqual(
    [...json.rates].map((rate) => rate.remaining),
    [2],
  );
  assert.equal((await it.admin('DELETE', KEY)).json.was_counted, false);
});

test('an unknown limit is 404, and a key that cannot be one of the limit is refused with the form it needs', async () => {
  await using it = await startAdminSidecar();
  assert.equal((await it.admin('GET', '/v1/limits/nothing/x')).status, 404);
  assert.equal((await it.admin('DELETE', '/v1/limits/__proto__/x')).status, 404);
  const bad = await it.admin('GET', '/v1/limits/tight/nowhere%2Fweb');
  assert.equal(bad.status, 422);
  assert.match(String(bad.json.detail), /issuer\/id/);
});

test('a mistyped limit, address, route or issuer is refused, and not shown as a caller who asked for nothing', async () => {
  await using it = await startAdminSidecar((config) => ({
    ...config,
    limits: {
      ...config.limits,
      per_ip: { key: 'ip', rate: '100/1m' },
      per_route: { key: ['route', 'ip'], rate: '100/1m' },
    },
  }));
  const look = async (name: string, key: string) => {
    const { status, json } = await it.admin('GET', `/v1/limits/${name}/${encodeURIComponent(key)}`);
    return status === 200 ? 200 : `${status} ${json.detail}`;
  };
  assert.equal(await look('per_iip', '192.0.2.7'), '404 sidecar.yaml has no limit of this name (nearest name per_ip)');
  const address = '422 ip needs an IP address, such as 192.0.2.7 or 2001:db8::7';
  for (const text of ['nonsense', '192.0.2.300', '192.0.2', '127.1', '2001:db8::g', '192.0.2.7/24', '::/64/64'])
    assert.equal(await look('per_ip', text), address, text);
  assert.equal((await it.admin('DELETE', '/v1/limits/per_ip/nonsense')).status, 422);
  for (const text of ['192.0.2.7', '2001:db8::7', '::ffff:192.0.2.7', '2001:db8:0:0::/64'])
    assert.equal(await look('per_ip', text), 200, text);
  assert.equal(
    await look('per_route', 'limted,192.0.2.7'),
    '422 route needs the name of a route (nearest name limited)',
  );
  assert.equal(await look('per_route', 'limited,192.0.2.7'), 200);
  assert.match(
    (await look('tight', 'https://other.test/web')) as string,
    /^422 client needs issuer\/id with an issuer of self, corp, or its URL$/,
  );
  assert.match((await look('tight', 'self/')) as string, /^422 /);
});

test('an issuer is named by its block or by its URL, as why and revoke list print it', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue({ client: 'web' });
  assert.equal((await it.proxy('/limited', token)).status, 200);
  const left = async (key: string) => {
    const { json } = await it.admin('GET', `/v1/limits/tight/${encodeURIComponent(key)}`);
    return [...json.rates].map((rate) => rate.remaining);
  };
  assert.deepEqual(await left('self/web'), [1]);
  assert.deepEqual(await left('http://doorward.localhost/web'), [1]);
  assert.deepEqual(await left('http://doorward.localhost/other'), [2]);
  assert.deepEqual(await left(`${FOREIGN}web`), [2], 'an issuer that ends with a slash');
});

test('what fits two issuers is refused: their blocks tell them apart', async () => {
  await using it = await startAdminSidecar((config) => ({
    ...config,
    issuers: {
      ...config.issuers,
      below: { issuer: `${FOREIGN}team`, audience: ['api'], keys: { inline: { keys: [{ ...mintKey('ES256').jwk }] } } },
    },
  }));
  const key = encodeURIComponent(`${FOREIGN}team/web`);
  const { status, json } = await it.admin('GET', `/v1/limits/tight/${key}`);
  assert.deepEqual([status, json.detail], [422, 'client fits several issuers: name the block'] as unknown[]);
  assert.equal((await it.admin('GET', '/v1/limits/tight/below%2Fweb')).status, 200);
});
