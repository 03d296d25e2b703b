// What the log says while Redis is away, empty, another one or badly set up: each fault is done to a real server, and read in the
// log of a sidecar that nobody sends a request.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Redis } from 'ioredis';
import { revocationEntryId } from '../../src/stores/contracts/entry-id.ts';
import { keyspace } from '../../src/stores/redis/keyspace.ts';
import { eventually } from '../rows/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { startSidecar, type TestSidecar, testIssuer, tokenFor } from '../support/sidecar.ts';

const PATIENCE_MS = 60_000;

const before = (url: string) => ({ redis: { url: { value: url }, timeout: '2s', prefix: 't' } });

/** The lines that are about health, with what they say, without time and durations. */
function said(sidecar: TestSidecar): string[] {
  const shown = /^(store_|revocations_|ready|not_ready)/;
  return sidecar
    .logged()
    .filter(({ event }) => shown.test(String(event)))
    .map(({ level, event, warning, reasons, entries, added }) =>
      [level, event, warning, reasons, entries, added].filter((part) => part !== undefined).join(' '),
    );
}

/** A client of the server itself, which ends with the test also where the test fails. */
function adminOf(url: string) {
  const redis = new Redis(url);
  return Object.assign(redis, { [Symbol.dispose]: () => redis.disconnect() });
}

const hears = (sidecar: TestSidecar, line: string) =>
  eventually(() => said(sidecar).includes(line), PATIENCE_MS).catch(() =>
    assert.fail(`never: ${line}; but ${said(sidecar).join('; ')}`),
  );

/** Made at the admin port: `POST /v1/revocations`. */
async function revoke(sidecar: TestSidecar, id: string): Promise<void> {
  const token = readFileSync(sidecar.adminTokenFile, 'utf8').trim();
  const made = await fetch(`${sidecar.adminUrl}/v1/revocations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ kind: 'subject', issuer: testIssuer, id, reason: 'test' }),
  });
  assert.equal(((await made.json()) as { applied: string }).applied, 'all');
}

// Mostly waiting: at once they take as long as the longest.
describe('the log about Redis and readiness', { concurrency: true }, () => {
  test('the start says that stores are in memory, and when it is ready', async () => {
    await using upstream = await recordingUpstream();
    await using sidecar = await startSidecar(upstream.url);
    assert.deepEqual(said(sidecar), ['warn store_memory', 'info ready']);
  });

  test('a Redis that is killed and comes back empty: away, back, another one, the log lost and put back', async () => {
    await using redis = await startRedis();
    await using upstream = await recordingUpstream();
    await using sidecar = await startSidecar(upstream.url, before(redis.url));
    await revoke(sidecar, 'mallory');
    assert.deepEqual(said(sidecar), ['info ready']);
    await redis.stop();
    await hears(sidecar, 'warn store_down');
    await redis.start();
    await hears(sidecar, 'info store_up');
    await hears(sidecar, 'info revocations_rebuilt 1 1');
    assert.deepEqual(said(sidecar).toSorted(), [
      'info ready',
      'info revocations_rebuilt 1 1',
      'info store_up',
      'warn revocations_lost 1',
      'warn store_down',
      'warn store_replaced',
    ]);
    const times = sidecar.logged().filter(({ event }) => event === 'store_up' || event === 'revocations_rebuilt');
    assert.ok(
      times.every(({ away_ms, took_ms }) => Number.isInteger(away_ms ?? took_ms)),
      JSON.stringify(times),
    );
  });

  test('FLUSHALL: the log of revocations is lost and put back, and Redis was never away', async () => {
    await using redis = await startRedis();
    await using upstream = await recordingUpstream();
    await using sidecar = await startSidecar(upstream.url, before(redis.url));
    for (const id of ['mallory', 'trudy']) await revoke(sidecar, id);
    using admin = adminOf(redis.url);
    await admin.flushall();
    await hears(sidecar, 'info revocations_rebuilt 2 2');
    assert.deepEqual(said(sidecar), ['info ready', 'warn revocations_lost 2', 'info revocations_rebuilt 2 2']);
  });

  test('an entry that Redis lost without a trace, as by eviction, is said as lost once it is found out, and put back', async () => {
    await using redis = await startRedis();
    await using upstream = await recordingUpstream();
    await using sidecar = await startSidecar(upstream.url, before(redis.url));
    for (const id of ['mallory', 'trudy']) await revoke(sidecar, id);
    using admin = adminOf(redis.url);
    const removed = await admin.hdel(keyspace('t').entries, revocationEntryId('subject', testIssuer, 'trudy'));
    assert.equal(removed, 1);
    await admin.save();
    // It comes back with the same numbers, from what it has saved, and as another server: a reason to look again.
    await redis.stop();
    await redis.start();
    await hears(sidecar, 'info revocations_rebuilt 2 1');
    assert.ok(said(sidecar).includes('warn revocations_lost 2'), String(said(sidecar)));
  });

  test('an eviction policy that loses revocations is an error in the log, and its end is said', async () => {
    await using redis = await startRedis('--maxmemory-policy', 'allkeys-lru');
    await using upstream = await recordingUpstream();
    await using sidecar = await startSidecar(upstream.url, before(redis.url));
    await hears(sidecar, 'error store_warning redis_eviction_policy');
    using admin = adminOf(redis.url);
    await admin.config('SET', 'maxmemory-policy', 'noeviction');
    // Connections that are made anew ask at once instead of within the minute.
    await admin.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await hears(sidecar, 'info store_warning_over redis_eviction_policy');
    const warnings = said(sidecar).filter((line) => line.includes('store_warning'));
    assert.equal(warnings.length, 2, String(warnings));
  });

  test('a start with Redis away says so, and why it is not ready, and when it is', async () => {
    await using redis = await startRedis();
    await redis.stop();
    await using upstream = await recordingUpstream();
    await using sidecar = await startSidecar(upstream.url, before(redis.url));
    assert.deepEqual(said(sidecar), ['warn store_down', 'warn not_ready revocations_never_loaded']);
    await redis.start();
    await hears(sidecar, 'info ready');
    await hears(sidecar, 'info store_up');
    assert.equal(said(sidecar).length, 4, String(said(sidecar)));
  });

  test('why Redis is away: nobody listens, a wrong password, a user that may not do what is needed', async () => {
    await using redis = await startRedis('--requirepass', 'right');
    await using upstream = await recordingUpstream();
    using admin = adminOf(redis.url.replace('//', '//:right@'));
    await admin.call('ACL', 'SETUSER', 'weak', 'on', '>pw', '~*', '&*', '+@all', '-eval', '-evalsha');
    const refused = await freePort();
    const cases: readonly [object, string][] = [
      [{ url: { value: redis.url }, password: { value: 'wrong' } }, 'WRONGPASS'],
      [{ url: { value: redis.url } }, 'NOAUTH'],
      [{ url: { value: `redis://127.0.0.1:${refused}` } }, 'ECONNREFUSED'],
      [{ url: { value: redis.url }, user: 'weak', password: { value: 'pw' } }, 'NOPERM'],
    ];
    for (const [settings, problem] of cases) {
      await using sidecar = await startSidecar(upstream.url, { redis: { ...settings, timeout: '1s', prefix: 't' } });
      const down = () => sidecar.logged().find(({ event }) => event === 'store_down');
      // One that answers and refuses is found out by what is asked of it.
      if (problem === 'NOPERM') await fetch(sidecar.proxyUrl, { headers: { authorization: `Bearer ${tokenFor()}` } });
      await eventually(() => down() !== undefined, PATIENCE_MS);
      assert.equal(down()?.problem, problem);
      assert.doesNotMatch(sidecar.logText(), /wrong|"pw"/);
    }
  });

  test('draining is said as not ready, and is nothing to warn of', async () => {
    await using upstream = await recordingUpstream();
    await using sidecar = await startSidecar(upstream.url, { proxy: { drain: { delay: '2s', timeout: '2s' } } });
    await sidecar.drain();
    assert.deepEqual(said(sidecar), ['warn store_memory', 'info ready', 'info not_ready draining']);
  });
});
