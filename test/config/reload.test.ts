import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { holdConfig } from '../../src/config/reload.ts';
import { configEnvironment } from '../support/config-keys.ts';
import { SMALLEST, temporaryFolder } from '../support/config-text.ts';

function held(text: string, env: Record<string, string> = { ...configEnvironment }) {
  const folder = temporaryFolder();
  const file = folder.write('sidecar.yaml', text);
  const load = () => loadConfig({ file, env });
  const holder = holdConfig(load(), load);
  return { ...folder, holder, env, write: (next: string) => folder.write('sidecar.yaml', next) };
}

test('attack 112: a changed live setting takes effect as a whole new configuration', () => {
  using it = held(`${SMALLEST}limits: {per_ip: {key: ip, rate: 20/1m}}\n`);
  const before = it.holder.current();
  it.write(`${SMALLEST}limits: {per_ip: {key: ip, rate: 30/1m}}\n`);
  assert.deepEqual(it.holder.reload(), { ok: true, changed: true, restartNeeded: [] });
  assert.equal(before.config.limits.per_ip?.rate?.[0]?.limit, 20);
  assert.equal(it.holder.current().config.limits.per_ip?.rate?.[0]?.limit, 30);
});

test('a bad file keeps the last good configuration and says every problem', () => {
  using it = held(SMALLEST);
  const before = it.holder.current();
  it.write(`${SMALLEST}wrong: 1\nproxy: {keep_alive: 5}\n`);
  const outcome = it.holder.reload();
  assert.ok(!outcome.ok);
  assert.deepEqual(
    outcome.problems.map(({ path }) => path),
    ['wrong', 'proxy.keep_alive'],
  );
  assert.equal(it.holder.current(), before);
  it.write(`${SMALLEST}log: {level: warn}\n`);
  assert.ok(it.holder.reload().ok);
  assert.equal(it.holder.current().config.log.level, 'warn');
});

test('an unchanged meaning keeps the same configuration object, with the new lines beside it', () => {
  using it = held(SMALLEST);
  const { config } = it.holder.current();
  it.write(`# a comment\n${SMALLEST}`);
  assert.deepEqual(it.holder.reload(), { ok: true, changed: false, restartNeeded: [] });
  assert.equal(it.holder.current().config, config);
  const source = it.holder.current().sources.get('upstreams.app.url');
  assert.deepEqual(source?.kind === 'file' && source.line, 3);
});

test('restart settings keep their old values and are named; live ones beside them take effect', () => {
  using it = held(`name: shop\n${SMALLEST}redis: {url: {env: REDIS_URL}}\n`);
  it.write(`name: store\n${SMALLEST}redis: {url: {env: REDIS_URL}, timeout: 80ms}
proxy: {listen: "0.0.0.0:8181", bad_tokens: 5/1m}
`);
  assert.deepEqual(it.holder.reload(), {
    ok: true,
    changed: true,
    restartNeeded: ['name', 'proxy.listen', 'redis.timeout'],
  });
  const { config, sources } = it.holder.current();
  assert.equal(config.name, 'shop');
  assert.equal(config.proxy.listen, '0.0.0.0:8080');
  assert.equal(config.redis?.timeout, 50);
  assert.equal(config.proxy.bad_tokens.limit, 5);
  assert.deepEqual(sources.get('proxy.listen'), { kind: 'default' });
});

test('only restart settings changed: nothing changes, but the restart is asked for, again and again', () => {
  using it = held(SMALLEST);
  it.write(`${SMALLEST}proxy: {listen: "0.0.0.0:8181"}\n`);
  const expected = { ok: true, changed: false, restartNeeded: ['proxy.listen'] } as const;
  assert.deepEqual(it.holder.reload(), expected);
  assert.deepEqual(it.holder.reload(), expected);
});

test('redis that comes, goes or gets another password waits for a restart', () => {
  const withRedis = `name: shop\n${SMALLEST}redis: {url: {env: REDIS_URL}}\n`;
  using comes = held(`name: shop\n${SMALLEST}`);
  comes.write(withRedis);
  assert.deepEqual(comes.holder.reload(), { ok: true, changed: false, restartNeeded: ['redis'] });
  assert.equal(comes.holder.current().config.redis, undefined);

  using goes = held(withRedis);
  goes.write(`name: shop\n${SMALLEST}`);
  assert.deepEqual(goes.holder.reload(), { ok: true, changed: false, restartNeeded: ['redis'] });
  const kept = goes.holder.current();
  assert.equal(kept.secrets.get(kept.config.redis!.url!), configEnvironment.REDIS_URL);

  using rotated = held(withRedis, { REDIS_URL: 'redis://:old@redis' });
  rotated.env.REDIS_URL = 'redis://:new@redis';
  assert.deepEqual(rotated.holder.reload(), { ok: true, changed: false, restartNeeded: ['redis.url'] });
});

test('live settings that contradict a setting waiting for its restart are refused', () => {
  using it = held(SMALLEST);
  it.write(
    `${SMALLEST.replace('routes: {', 'routes: {own: {match: {prefix: /.doorward/x}}, ')}proxy: {reserved_prefix: /.other}\n`,
  );
  const outcome = it.holder.reload();
  assert.ok(!outcome.ok);
  const told = outcome.problems.map(({ place, path, message }) => `${basename(place)} ${path}: ${message}`);
  assert.deepEqual(told, [
    'sidecar.yaml:4:32 routes.own.match.prefix: is below proxy.reserved_prefix (/.doorward); with the settings that wait for a restart',
  ]);
});

test('a rotated live secret takes effect', () => {
  const text = SMALLEST.replace('audience: [api]', 'audience: [api], keys: {secret: {env: JWT_SECRET}}');
  using it = held(text);
  it.env.JWT_SECRET = `${configEnvironment.JWT_SECRET}2`;
  assert.deepEqual(it.holder.reload(), { ok: true, changed: true, restartNeeded: [] });
  const { config, secrets } = it.holder.current();
  assert.equal(secrets.get(config.issuers.corp!.keys.secret!), it.env.JWT_SECRET);
});
