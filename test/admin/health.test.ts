// Health, readiness, metrics and status: what kubelet, Prometheus and operators see, with the store there and away.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readinessOf } from '../../src/admin/readiness.ts';
import { startRedis } from '../support/redis-server.ts';
import { type Answer, startAdminSidecar } from './admin-sidecar.ts';

const PASSWORD = 'correct-horse-battery-staple';

async function until(ask: () => Promise<Answer>, holds: (answer: Answer) => boolean): Promise<Answer> {
  for (let tries = 0; tries < 300; tries += 1) {
    const answer = await ask();
    if (holds(answer)) return answer;
    await sleep(20);
  }
  throw new Error('never came to hold');
}

const storeOf = ({ json }: Answer) => String(json.components.store?.status);

test('only four facts make a replica unfit; anything else is degraded and serves', () => {
  const good = {
    draining: false,
    revocationsLoaded: true,
    issuersConfigured: 1,
    issuersWithKeys: 1,
    configurationValid: true,
    components: { store: { status: 'up' as const } },
  };
  const verdict = (change: object) => {
    const { ready, body } = readinessOf({ ...good, ...change });
    return [ready, body.status, ...body.reasons];
  };
  assert.deepEqual(verdict({}), [true, 'ready']);
  assert.deepEqual(verdict({ components: { store: { status: 'down' } } }), [true, 'degraded']);
  assert.deepEqual(verdict({ draining: true }), [false, 'not_ready', 'draining']);
  assert.deepEqual(verdict({ revocationsLoaded: false }), [false, 'not_ready', 'revocations_never_loaded']);
  assert.deepEqual(verdict({ issuersWithKeys: 0 }), [false, 'not_ready', 'no_issuer_with_keys']);
  assert.deepEqual(verdict({ issuersWithKeys: 0, issuersConfigured: 0 }), [true, 'ready']);
  assert.deepEqual(verdict({ configurationValid: false }), [false, 'not_ready', 'no_valid_configuration']);
});

test('L12 C25: with Redis stopped the store is reported down without its password, readiness degrades, liveness holds', async () => {
  await using redis = await startRedis('--user', 'sidecar', 'on', `>${PASSWORD}`, '~*', '&*', '+@all');
  const env = { REDIS_URL: `redis://sidecar:${PASSWORD}@127.0.0.1:${redis.port}/0` };
  await using it = await startAdminSidecar(({ issuers, ...config }) => {
    const corp = issuers?.corp;
    return {
      ...config,
      name: 'health',
      redis: { url: { env: 'REDIS_URL' } },
      issuers: corp === undefined ? {} : { corp },
      defaults: { issuers: ['corp'] },
    };
  }, env);
  const ready = () => it.observe('GET', '/readyz');
  const healthy = await until(ready, (answer) => storeOf(answer) !== 'down');
  assert.equal(healthy.status, 200);
  assert.deepEqual(Object.keys(healthy.json.components), ['store', 'revocations', 'issuers', 'upstreams']);
  await redis.stop();
  const away = await until(ready, (answer) => storeOf(answer) === 'down');
  assert.deepEqual([away.status, away.json.status], [200, 'degraded']);
  assert.equal((await it.observe('GET', '/healthz')).status, 200);
  await redis.start();
  await until(ready, (answer) => storeOf(answer) !== 'down');
  const everything = [healthy.text, away.text, (await it.admin('GET', '/v1/status')).text, it.logText()].join();
  assert.doesNotMatch(everything, new RegExp(PASSWORD));
});

test('W20: liveness says status, version and timestamp, and depends on nothing', async () => {
  await using it = await startAdminSidecar();
  const { status, json } = await it.observe('GET', '/healthz');
  assert.deepEqual([status, json.status, json.version], [200, 'alive', '0.1.0']);
  assert.ok(Math.abs(Date.parse(String(json.timestamp)) - Date.now()) < 60_000);
});

test('L25 W21: the scrape shows every metric, with figures of what happened and no id among the labels', async () => {
  await using it = await startAdminSidecar();
  const token = await it.issue({ subject: 'subject-in-no-label' });
  await it.proxy('/', token);
  await it.proxy('/');
  await it.admin('POST', '/v1/tokens/introspect', { body: { token } });
  await it.admin('POST', '/v1/revocations', { body: { token } });
  const { headers, text } = await it.observe('GET', '/metrics');
  assert.match(String(headers['content-type']), /^text\/plain; version=0\.0\.4/);
  const names = [
    'decisions_total', 'overhead_seconds', 'upstream_seconds', 'rate_limit_total', 'store_seconds', 'store_up', 'degraded',
    'revocation_entries', 'revocation_propagation_seconds', 'jwks_age_seconds', 'jwks_refresh_total', 'token_cache_total',
    'streams_open', 'streams_closed_total', 'config_reload_success', 'config_hash', 'config_restart_needed',
    'signing_key_age_seconds', 'redis_connections_active', 'token_operations_total', 'token_sign_seconds',
    'admin_requests_total',
  ]; // biome-ignore format: a list reads better
  for (const name of names) assert.match(text, new RegExp(`^# TYPE doorward_${name} `, 'm'), name);
  assert.match(text, /^process_cpu_seconds_total /m);
  for (const operation of ['issue', 'introspect', 'revoke']) {
    assert.match(text, new RegExp(`^doorward_token_operations_total\\{operation="${operation}"\\} 1$`, 'm'));
  }
  assert.match(text, /^doorward_decisions_total\{outcome="allow",reason="ok",route="all"\} 1$/m);
  assert.match(text, /^doorward_decisions_total\{outcome="deny",reason="credential_missing",route="all"\} 1$/m);
  assert.match(text, /^doorward_revocation_entries 1$/m);
  assert.match(text, /^doorward_admin_requests_total\{status="201"\} 2$/m);
  assert.doesNotMatch(text, /subject-in-no-label|127\.0\.0\.1/);
});

test('H14 H15: status tells version, uptime, configuration, routes, components and counts', async () => {
  await using it = await startAdminSidecar();
  await it.proxy('/', await it.issue());
  const { status, json } = await it.admin('GET', '/v1/status');
  assert.equal(status, 200);
  assert.equal(json.version, '0.1.0');
  assert.ok(Number(json.uptime_seconds) >= 0);
  assert.match(String(json.config.hash), /^[0-9a-f]{64}$/);
  assert.deepEqual([...json.routes].map((route) => route.name).sort(), ['all', 'limited']);
  assert.equal(json.components.store?.status, 'degraded');
  assert.deepEqual([json.counts.tokens_cached, json.counts.revocations], [1, 0]);
});

test('a drain fails readiness at once, answers when nothing is in flight, and the admin port stays', async () => {
  await using it = await startAdminSidecar();
  const drained = await it.socket('POST', '/v1/drain?wait=10s');
  assert.deepEqual([drained.status, drained.json.state], [200, 'drained']);
  const { status, json } = await it.observe('GET', '/readyz');
  assert.equal(status, 503);
  assert.deepEqual([...(json.reasons as never)], ['draining']);
  assert.equal((await it.observe('GET', '/healthz')).status, 200);
  assert.equal((await it.admin('POST', '/v1/drain?wait=soon')).status, 422);
});
