// Found by an hour of chaos: the clock of a replica was set back to before a revoked token had expired. By that clock it was good
// again, and what had refused it was forgotten.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { adminTokenPath } from '../../src/admin/operator-token.ts';
import { systemClock } from '../../src/core/clock.ts';
import { eventually } from '../rows/eventually.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const HOUR_MS = 3_600_000;
/** Longer than entries are kept beyond their end. */
const PASSING_MS = 5 * HOUR_MS;

async function world() {
  const upstream = await recordingUpstream();
  const time = { passedMs: 0, aheadMs: 0 };
  const clock = {
    nowMs: () => systemClock.nowMs() + time.passedMs + time.aheadMs,
    monotonicMs: () => systemClock.monotonicMs() + time.passedMs,
  };
  const sidecar = await startSidecar(upstream.url, {}, {}, clock);
  const authorization = `Bearer ${readFileSync(adminTokenPath(sidecar.stateDir), 'utf8').trim()}`;
  const now = () => Math.floor(Date.now() / 1000);
  return {
    time,
    sidecar,
    token: (jti: string, lifetimeS: number) => tokenFor({ jti, iat: now(), exp: now() + lifetimeS }),
    ask: async (token: string) =>
      (await fetch(sidecar.proxyUrl, { headers: { authorization: `Bearer ${token}` } })).status,
    revoke: async (token: string) => {
      const body = JSON.stringify({ token, reason: 'test' });
      const headers = { authorization, 'content-type': 'application/json' };
      const answer = await fetch(new URL('/v1/revocations', sidecar.adminUrl), { method: 'POST', headers, body });
      assert.equal(answer.status, 201);
    },
    held: async () =>
      Number(
        /doorward_revocation_entries (\d+)/.exec(await (await fetch(`${sidecar.observeUrl}/metrics`)).text())?.[1],
      ),
    async [Symbol.asyncDispose]() {
      await sidecar[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

test('a revoked token that has expired stays refused when the clock is set back to before its end', async () => {
  await using it = await world();
  const [stolen, good] = [it.token('stolen', 1800), it.token('good', 24 * 3600)];
  await it.revoke(stolen);
  it.time.passedMs = PASSING_MS;
  await eventually(async () => (await it.held()) === 0, 20_000);
  it.time.aheadMs = -PASSING_MS;
  const said = () => it.sidecar.logged().filter(({ event }) => event === 'clock_set_back').length;
  assert.deepEqual([await it.ask(stolen), await it.ask(good)], [401, 200], 'at once');
  await eventually(() => said() === 1, 20_000);
  assert.deepEqual([await it.ask(stolen), await it.ask(good)], [401, 200], 'when it has been noticed');
});

test('good tokens are accepted once a clock that was an hour ahead from the start is set right', async () => {
  await using it = await world();
  it.time.aheadMs = HOUR_MS;
  const [revoked, good] = [it.token('revoked', 24 * 3600), it.token('good', 1800)];
  await it.revoke(revoked);
  it.time.aheadMs = 0;
  assert.deepEqual([await it.ask(revoked), await it.ask(good)], [401, 200]);
});
