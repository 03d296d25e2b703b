// The shipped configurations of fronts without traffic: each front's own check where it can be installed, the published message
// types for Envoy, Kubernetes' schema for Ingresses; and what all of them must agree on with Doorward.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { sidecarSchema } from '../../src/config/schema.ts';
import { freePort } from '../support/free-port.ts';
import { shipped } from '../support/fronts.ts';
import { nginxConfig } from '../support/nginx.ts';
import { ensureCommand } from '../support/system-packages.ts';

function temporary() {
  const dir = mkdtempSync(join(tmpdir(), 'doorward-fronts-'));
  return { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) };
}

function check(command: string, args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  assert.equal(status, 0, `${stdout}${stderr}`);
}

for (const name of ['proxy.conf', 'auth_request.conf']) {
  test(`nginx -t takes nginx/${name}`, async () => {
    ensureCommand('nginx', '-v');
    using at = temporary();
    const text = shipped(`nginx/${name}`).replace('listen 80', `listen 127.0.0.1:${await freePort()}`);
    writeFileSync(join(at.dir, 'nginx.conf'), nginxConfig(at.dir, text));
    check('nginx', ['-t', '-p', at.dir, '-e', join(at.dir, 'error.log'), '-c', join(at.dir, 'nginx.conf')]);
  });
}

test('haproxy -c takes haproxy/haproxy.cfg as it is', () => {
  ensureCommand('haproxy', '-v');
  using at = temporary();
  writeFileSync(join(at.dir, 'haproxy.cfg'), shipped('haproxy/haproxy.cfg'));
  check('haproxy', ['-c', '-f', join(at.dir, 'haproxy.cfg')]);
});

for (const name of ['proxy.Caddyfile', 'forward_auth.Caddyfile']) {
  test(`caddy validate takes caddy/${name} as it is`, () => {
    ensureCommand('caddy', 'version');
    using at = temporary();
    writeFileSync(join(at.dir, 'Caddyfile'), shipped(`caddy/${name}`));
    check('caddy', ['validate', '--adapter', 'caddyfile', '--config', join(at.dir, 'Caddyfile')]);
  });
}

/** Where each front that asks lists what it copies to the application. */
const lists: Readonly<Record<string, RegExp>> = {
  'nginx/auth_request.conf': /proxy_set_header (X-Auth-[\w-]+)\s+\$doorward/g,
  'ingress-nginx/auth-url.yaml': /(X-Auth-[\w-]+)/g,
  'caddy/forward_auth.Caddyfile': /(?<=copy_headers.*)(X-Auth-[\w-]+)/g,
  'traefik/dynamic-forward-auth.yaml': /- (X-Auth-[\w-]+)/g,
  'envoy/ext_authz.yaml': /exact: (x-auth-[\w-]+)/g,
};

for (const [name, pattern] of Object.entries(lists)) {
  test(`attack 19: ${name} lists every identity header of the defaults: one that it leaves out comes from the client`, () => {
    const listed = [...shipped(name).matchAll(pattern)].map(([, header]) => (header as string).toLowerCase());
    const known = sidecarSchema.shape.identity_headers.parse(undefined);
    const all = Object.keys(known).map((header) => header.toLowerCase());
    assert.deepEqual(listed.sort(), all.sort());
  });
}

const keepAliveOf = (example: string) => {
  const file = new URL(`../../config/examples/${example}.yaml`, import.meta.url).pathname;
  return loadConfig({ file, env: {} }).config.proxy.keep_alive;
};

/** How long each front keeps idle connections to Doorward, in seconds, and the example that it goes with. */
const idle: readonly (readonly [file: string, pattern: RegExp, factor: number, example: string])[] = [
  ['nginx/proxy.conf', /keepalive_timeout (\d+)s/, 1, 'nginx'],
  ['nginx/auth_request.conf', /keepalive_timeout (\d+)s/, 1, 'auth-request'],
  // Half of the idle ones at each purge: the last is gone after the second.
  ['haproxy/haproxy.cfg', /pool-purge-delay (\d+)s/, 2, 'haproxy'],
  ['caddy/proxy.Caddyfile', /keepalive (\d+)s/, 1, 'caddy'],
  ['caddy/forward_auth.Caddyfile', /keepalive (\d+)s/, 1, 'forward-auth'],
  ['traefik/dynamic-proxy.yaml', /idleConnTimeout: (\d+)s/, 1, 'caddy'],
  ['envoy/proxy.yaml', /idle_timeout: ([1-9]\d*)s/, 1, 'caddy'],
  ['envoy/ext_authz.yaml', /idle_timeout: ([1-9]\d*)s/, 1, 'ext-authz'],
];

for (const [file, pattern, factor, example] of idle) {
  test(`${file} gives idle connections up before ${example}.yaml does`, () => {
    const seconds = Number(pattern.exec(shipped(file))?.[1]) * factor;
    assert.ok(seconds * 1000 + 5000 <= keepAliveOf(example), `${seconds} s, and ${keepAliveOf(example)} ms`);
  });
}

test('attack 34: no shipped front believes forwarded fields, or lets requests in when Doorward fails', () => {
  const traefik = parse(shipped('traefik/dynamic-forward-auth.yaml')).http.middlewares.doorward.forwardAuth;
  assert.equal(traefik.trustForwardHeader, false);
  const { entryPoints } = parse(shipped('traefik/traefik.yaml'));
  assert.equal(entryPoints.web.forwardedHeaders, undefined);
  assert.doesNotMatch(shipped('envoy/ext_authz.yaml').replace(/#.*/g, ''), /failure_mode_allow/);
  for (const name of ['proxy', 'forward_auth']) {
    assert.doesNotMatch(shipped(`caddy/${name}.Caddyfile`).replace(/#.*/g, ''), /trusted_proxies/);
  }
});
