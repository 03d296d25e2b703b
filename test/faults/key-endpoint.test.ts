// The key endpoint of an issuer away, or silent, of a sidecar under way: its last good keys serve for `stale_for`, then
// nothing that rests on them, verified before or not; and all comes back by itself.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../rows/eventually.ts';
import { mintKey, mintToken, startJwksServer } from '../support/minting.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { type Relay, startRelay } from '../support/relay.ts';
import { startSidecar } from '../support/sidecar.ts';

const SOON_MS = 30_000;
const ISSUER = 'https://keys-away.test/';
const key = mintKey('ES256', 'good');

const token = () => mintToken(key, ISSUER, Date.now(), { claims: { jti: crypto.randomUUID() } });

for (const [how, fail] of [
  [
    'away',
    (relay: Relay) => {
      relay.refuse();
      relay.reset();
    },
  ],
  ['silent', (relay: Relay) => relay.stall()],
] as const) {
  test(`a key endpoint that is ${how}: the last good keys serve for stale_for, then 503, also for what was verified before; and back`, async () => {
    await using server = await startJwksServer([key.jwk]);
    await using relay = await startRelay({ host: '127.0.0.1', port: Number(new URL(server.url).port) });
    await using upstream = await recordingUpstream();
    const url = `http://127.0.0.1:${relay.port}/jwks`;
    const keys = { url, refresh: '1s', cooldown: '1s', stale_for: '1h', timeout: '1s' };
    let passedMs = 0;
    const clock = { nowMs: () => Date.now(), monotonicMs: () => performance.now() + passedMs };
    const config = { issuers: { one: { issuer: ISSUER, audience: ['api'], keys } } };
    await using sidecar = await startSidecar(upstream.url, config, {}, clock);
    const ask = async (text: string) => {
      const answer = await fetch(sidecar.proxyUrl, { headers: { authorization: `Bearer ${text}` } });
      const body = await answer.text();
      return answer.status === 200 ? 200 : `${answer.status} ${(JSON.parse(body) as { code: string }).code}`;
    };
    const ready = async () => {
      const answer = await fetch(`${sidecar.observeUrl}/readyz`);
      return `${answer.status} ${((await answer.json()) as { status: string }).status}`;
    };
    const before = token();
    assert.equal(await ask(before), 200);
    assert.equal(await ready(), '200 degraded', 'stores in memory');

    fail(relay);
    const failures = () => sidecar.logged().filter(({ event }) => event === 'keys_refresh_failed').length;
    await eventually(() => failures() > 0, SOON_MS);
    assert.deepEqual([await ask(before), await ask(token())], [200, 200], 'the last good keys');

    passedMs = 2 * 3_600_000;
    // Only what was verified before is asked with: nothing looks for a key meanwhile.
    await eventually(async () => (await ask(before)) !== 200, SOON_MS);
    upstream.clear();
    assert.deepEqual(
      [await ask(before), await ask(token())],
      ['503 temporarily_unavailable', '503 temporarily_unavailable'],
    );
    assert.equal(upstream.seen.length, 0);
    assert.equal(await ready(), '503 not_ready', 'no issuer has keys');
    assert.equal((await fetch(`${sidecar.observeUrl}/healthz`)).status, 200);

    relay.heal();
    await eventually(async () => (await ready()) === '200 degraded', SOON_MS);
    assert.deepEqual([await ask(before), await ask(token())], [200, 200]);
  });
}
