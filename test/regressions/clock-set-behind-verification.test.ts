// Found by an hour of chaos: a token was verified, the clock was set an hour ahead while Redis was asked, and then the entry
// against the token counted as expired. It passed, and was remembered as clear.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { adminTokenPath } from '../../src/admin/operator-token.ts';
import { systemClock } from '../../src/core/clock.ts';
import { eventually } from '../rows/eventually.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startRelay } from '../support/relay.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const HOUR_MS = 3_600_000;

test('a revoked token stays refused when the clock is set ahead between its verification and the check', async () => {
  await using redis = await startRedis();
  await using relay = await startRelay({ host: '127.0.0.1', port: redis.port });
  await using upstream = await recordingUpstream();
  let aheadMs = 0;
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + aheadMs };
  const settings = { redis: { url: { value: `redis://127.0.0.1:${relay.port}/0` }, timeout: '10s' } };
  await using sidecar = await startSidecar(upstream.url, settings, {}, clock);
  const token = tokenFor({ jti: 'stolen', exp: Math.floor(Date.now() / 1000) + 1800 });
  const ask = async () => (await fetch(sidecar.proxyUrl, { headers: { authorization: `Bearer ${token}` } })).status;
  const revoked = await fetch(new URL('/v1/revocations', sidecar.adminUrl), {
    method: 'POST',
    headers: {
      authorization: `Bearer ${readFileSync(adminTokenPath(sidecar.stateDir), 'utf8').trim()}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ token, reason: 'test' }),
  });
  assert.equal(revoked.status, 201);
  assert.equal(await ask(), 401);

  const before = relay.forwarded.up;
  relay.stall('down');
  const answer = ask();
  await eventually(() => relay.forwarded.up > before, 5000);
  aheadMs = HOUR_MS;
  relay.heal();
  assert.equal(await answer, 401);
  aheadMs = 0;
  assert.equal(await ask(), 401);
  assert.deepEqual(upstream.seen, []);
});
