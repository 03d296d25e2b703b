// Looking at a limit and resetting it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startAdminSidecar } from './admin-sidecar.ts';

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
