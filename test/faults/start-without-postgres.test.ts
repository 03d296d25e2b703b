// A replica that starts while PostgreSQL is away, or takes connections and says nothing: it serves by what Redis knows, with what
// was revoked and counted by others, its control plane is 503, and it joins by itself. Real servers, a relay before PostgreSQL.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Agent, request } from 'undici';
import { eventually } from '../rows/eventually.ts';
import { openTestDatabase, postgresConfig } from '../support/postgres-server.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { type Relay, startRelay } from '../support/relay.ts';
import { startSidecar, type TestSidecar, tokenFor } from '../support/sidecar.ts';

const SOON = 20_000;
const ISSUER = 'https://id.test/';

/** Over the socket, which needs no operator of the database. */
async function call({ socketPath }: TestSidecar, method: 'GET' | 'POST' | 'PUT', path: string, body?: object) {
  const agent = new Agent({ connect: { socketPath }, headersTimeout: SOON, bodyTimeout: SOON });
  const json = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await request(`http://localhost${path}`, { method, dispatcher: agent, ...json });
  const text = await answer.body.text();
  await agent.close();
  return { status: answer.statusCode, json: text === '' ? {} : JSON.parse(text) };
}

const revoke = (at: TestSidecar, id: string) =>
  call(at, 'POST', '/v1/revocations', { kind: 'subject', issuer: ISSUER, id, until: 'forever', reason: 'leaked' });

async function ask({ proxyUrl }: TestSidecar, sub: string): Promise<number> {
  const headers = { authorization: `Bearer ${tokenFor({ sub })}` };
  const answer = await fetch(`${proxyUrl}/x`, { headers, signal: AbortSignal.timeout(SOON) });
  await answer.body?.cancel();
  return answer.status;
}

async function postgresOf({ observeUrl }: TestSidecar): Promise<{ ready: number; state: string }> {
  const answer = await fetch(`${observeUrl}/readyz`);
  const { components } = (await answer.json()) as { components: Record<string, { status: string }> };
  return { ready: answer.status, state: components.postgres?.status ?? 'none' };
}

for (const [how, fail] of [
  [
    'refuses connections',
    (relay: Relay) => {
      relay.refuse();
      relay.reset();
    },
  ],
  ['takes connections and says nothing', (relay: Relay) => relay.stall()],
] as const) {
  test(`a replica that starts while PostgreSQL ${how} serves from Redis, answers 503 to operators, and joins by itself`, async () => {
    await using redis = await startRedis();
    await using database = await openTestDatabase();
    await using upstream = await recordingUpstream();
    const at = new URL(database.settings.url);
    await using relay = await startRelay({ path: `${at.searchParams.get('host')}/.s.PGSQL.5432` });
    const url = `postgres://${at.username}:${at.password}@127.0.0.1:${relay.port}${at.pathname}`;
    const config = {
      redis: { url: { value: redis.url }, timeout: '5s' },
      ...postgresConfig(database, { url: { value: url }, timeout: '500ms' }),
      limits: { few: { key: 'subject', rate: '3/1h' } },
      defaults: { limits: ['few'] },
    };
    await using early = await startSidecar(upstream.url, config);
    const { status, json } = await revoke(early, 'revoked');
    assert.deepEqual([status, json.applied], [201, 'all']);
    assert.deepEqual([await ask(early, 'counted'), await ask(early, 'counted')], [200, 200]);

    fail(relay);
    await using late = await startSidecar(upstream.url, config);
    assert.deepEqual(await postgresOf(late), { ready: 200, state: 'down' });
    upstream.clear();
    assert.equal(await ask(late, 'revoked'), 401, 'Redis has the revocation');
    assert.equal(upstream.seen.length, 0);
    assert.deepEqual([await ask(late, 'counted'), await ask(late, 'counted')], [200, 429], 'and what others counted');
    for (const asked of [
      await revoke(late, 'not_yet'),
      await call(late, 'PUT', '/v1/clients/web?issuer=test', { disabled: true }),
      await call(late, 'GET', '/v1/clients'),
    ]) {
      assert.deepEqual([asked.status, asked.json.code], [503, 'temporarily_unavailable']);
    }
    assert.equal(await ask(late, 'not_yet'), 200, 'what could not be remembered did not happen');

    relay.heal();
    await eventually(async () => (await postgresOf(late)).state === 'up', SOON);
    await eventually(async () => (await revoke(late, 'not_yet')).status === 201, SOON);
    assert.deepEqual([await ask(late, 'not_yet'), await ask(early, 'not_yet')], [401, 401]);
    assert.equal((await call(late, 'PUT', '/v1/clients/web?issuer=test', { disabled: true })).status, 200);
  });
}
