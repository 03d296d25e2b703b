// When a line is written and when it is not: what flaps, what lasts, what changes its reasons. Real faults: test/faults/health-log.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReadinessFacts } from '../../src/admin/readiness.ts';
import { HealthLog } from '../../src/app/health-log.ts';
import { openLog } from '../../src/telemetry/log.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** A log that looks once for each step of a second. */
function watched() {
  const lines: string[] = [];
  const clock = new ManualClock();
  const health = new HealthLog(openLog('debug', { write: (line: string) => void lines.push(line) }), clock);
  return {
    look(facts: ReadinessFacts) {
      health.look(facts);
      clock.advance(1000);
    },
    /** What was written since it was last asked. */
    said: () =>
      lines.splice(0).map((line) => {
        const { time, ...rest } = JSON.parse(line) as Record<string, unknown>;
        assert.equal(typeof time, 'string');
        return rest;
      }),
  };
}

const healthy: ReadinessFacts = {
  draining: false,
  revocationsLoaded: true,
  issuersConfigured: 1,
  issuersWithKeys: 1,
  configurationValid: true,
  components: {
    store: { status: 'up', detail: { backend: 'redis', warnings: [] } },
    revocations: { status: 'up', detail: { state: 'ready' } },
  },
};
const with_ = (components: ReadinessFacts['components']) => ({
  ...healthy,
  components: { ...healthy.components, ...components },
});
const away = with_({ store: { status: 'down', detail: { backend: 'redis', warnings: [] } } });
const warned = (...warnings: string[]) =>
  with_({ store: { status: 'degraded', detail: { backend: 'redis', warnings } } });

test('a store that comes and goes every second is one line, until it has stayed for three', () => {
  const it = watched();
  it.look(healthy);
  assert.deepEqual(it.said(), [{ level: 'info', event: 'ready' }]);
  for (let n = 0; n < 60; n += 1) it.look(n % 2 === 0 ? away : healthy);
  assert.deepEqual(it.said(), [{ level: 'warn', store: 'redis', event: 'store_down' }]);
  it.look(healthy);
  it.look(healthy);
  assert.deepEqual(it.said(), []);
  it.look(healthy);
  assert.deepEqual(it.said(), [{ level: 'info', store: 'redis', away_ms: 59_000, event: 'store_up' }]);
  for (let n = 0; n < 10; n += 1) it.look(healthy);
  assert.deepEqual(it.said(), []);
});

test('only warnings that lose revocations are errors; each is said once, and when it is over', () => {
  const it = watched();
  it.look(healthy);
  it.said();
  const all = ['redis_eviction_policy', 'redis_evicted_keys', 'redis_memory', 'redis_role', 'redis_min_replicas'];
  for (let n = 0; n < 5; n += 1) it.look(warned(...all));
  assert.deepEqual(
    it.said().map(({ level, event, warning }) => [level, event, warning]),
    [
      ['error', 'store_warning', 'redis_eviction_policy'],
      ['error', 'store_warning', 'redis_evicted_keys'],
      ['error', 'store_warning', 'redis_memory'],
      ['warn', 'store_warning', 'redis_role'],
      ['warn', 'store_warning', 'redis_min_replicas'],
    ],
  );
  for (let n = 0; n < 4; n += 1) it.look(warned('redis_memory'));
  assert.equal(it.said().length, 4);
});

test('revocations that were known and are not any more are an error, and not one while nothing was ever loaded', () => {
  const it = watched();
  const unknown = with_({ revocations: { status: 'degraded', detail: { state: 'unknown' } } });
  it.look({ ...unknown, revocationsLoaded: false });
  assert.deepEqual(it.said(), [{ level: 'warn', reasons: ['revocations_never_loaded'], event: 'not_ready' }]);
  it.look(unknown);
  assert.deepEqual(it.said(), [{ level: 'error', event: 'revocations_unknown' }]);
  for (let n = 0; n < 4; n += 1) it.look(healthy);
  assert.deepEqual(it.said(), [
    { level: 'info', not_ready_ms: 1000, event: 'ready' },
    { level: 'info', unknown_ms: 1000, event: 'revocations_known' },
  ]);
});

test('other reasons for not being ready are said anew, the same ones are not, and draining says it all', () => {
  const it = watched();
  for (let n = 0; n < 3; n += 1) it.look({ ...healthy, issuersWithKeys: 0 });
  for (let n = 0; n < 3; n += 1) it.look({ ...healthy, issuersWithKeys: 0, trafficServed: false, draining: true });
  assert.deepEqual(
    it.said().map(({ level, reasons }) => [level, reasons]),
    [
      ['warn', ['no_issuer_with_keys']],
      ['info', ['draining']],
    ],
  );
});
