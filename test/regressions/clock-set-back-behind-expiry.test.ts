// Found by an hour of chaos: the clock of a replica was set back to before a revoked token had expired. By that clock it was good
// again, and what had refused it was forgotten everywhere.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminTokenPath } from '../../src/admin/operator-token.ts';
import { systemClock } from '../../src/core/clock.ts';
import { eventually } from '../rows/eventually.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar, testIssuerBlock, tokenFor } from '../support/sidecar.ts';

const LIFETIME_S = 3;

test('a revoked token that has expired stays refused when the clock is set back to before its end', async () => {
  await using redis = await startRedis();
  await using upstream = await recordingUpstream();
  let backMs = 0;
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() - backMs };
  const settings = {
    redis: { url: { value: redis.url }, timeout: '5s' },
    issuers: { test: { ...testIssuerBlock, clock_tolerance: '0s' } },
  };
  await using sidecar = await startSidecar(upstream.url, settings, {}, clock);
  const iat = Math.floor(Date.now() / 1000);
  const exp = iat + LIFETIME_S;
  const ask = async (token: string) =>
    (await fetch(sidecar.proxyUrl, { headers: { authorization: `Bearer ${token}` } })).status;
  const authorization = `Bearer ${readFileSync(adminTokenPath(sidecar.stateDir), 'utf8').trim()}`;
  const admin = (path: string, init: RequestInit = {}) =>
    fetch(new URL(path, sidecar.adminUrl), {
      ...init,
      headers: { authorization, 'content-type': 'application/json' },
    });
  const token = tokenFor({ jti: 'stolen', iat, exp });
  const revoked = await admin('/v1/revocations', { method: 'POST', body: JSON.stringify({ token, reason: 'test' }) });
  assert.equal(revoked.status, 201);
  const entries = async () => ((await (await admin('/v1/revocations')).json()) as { items: unknown[] }).items.length;
  await eventually(async () => (await entries()) === 0, 20_000);
  // Until it has left the index, too.
  await eventually(
    async () => (await (await fetch(`${sidecar.observeUrl}/metrics`)).text()).includes('doorward_revocation_entries 0'),
    20_000,
  );
  backMs = Date.now() - (iat + 1) * 1000;
  const good = tokenFor({ jti: 'good', iat, exp: exp + 3600 });
  for (const untilMs = performance.now() + 2500; performance.now() < untilMs; ) {
    assert.equal(await ask(token), 401);
    assert.equal(await ask(good), 200);
    // Below the rate of proxy.bad_tokens.
    await sleep(250);
  }
  assert.equal(sidecar.logged().filter(({ event }) => event === 'clock_set_back').length, 1);
});
