// `run`, `dev` and `demo` as processes: signals, exit codes, and every printed line doing what it says.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { scratchFolder, start } from './processes.ts';

const CONFIG = `version: 1
proxy: {listen: "127.0.0.1:0", drain: {delay: 0s, timeout: 1s}}
admin: {listen: "127.0.0.1:0"}
observe: {listen: "127.0.0.1:0"}
upstreams: {app: {url: "http://127.0.0.1:1"}}
routes: {all: {match: {prefix: /}, auth: none}}
`;

test('run serves until SIGTERM, reloads on SIGHUP, drains and exits with 0', async () => {
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  writeFileSync(file, CONFIG);
  await using sidecar = start(['run'], { cwd: folder.path });
  const [, proxy] = await sidecar.until(/"proxy":"([^"]+)".*"event":"listening"/);
  assert.equal((await fetch(`${proxy}/`)).status, 502);
  writeFileSync(file, CONFIG.replace('prefix: /', 'prefix: /moved'));
  sidecar.signal('SIGHUP');
  await sidecar.until(/"event":"config_reloaded"/);
  assert.equal((await fetch(`${proxy}/`)).status, 404);
  sidecar.signal('SIGTERM');
  const { code, err } = await sidecar.ended;
  assert.deepEqual([code, err], [0, '']);
});

test('run with a file that does not hold exits 3 with one problem a line, and with a busy port exits 1', async () => {
  using folder = scratchFolder();
  writeFileSync(folder.file('bad.yaml'), `${CONFIG}surprise: 1\nname: "A B"\n`);
  const bad = await start(['run', '-c', 'bad.yaml'], { cwd: folder.path }).ended;
  assert.deepEqual([bad.code, bad.out, bad.err.trim().split('\n').length], [3, '', 2]);
  await using upstream = await recordingUpstream();
  writeFileSync(folder.file('busy.yaml'), CONFIG.replace('127.0.0.1:0', `127.0.0.1:${upstream.port}`));
  const busy = await start(['run', '-c', 'busy.yaml'], { cwd: folder.path }).ended;
  assert.deepEqual([busy.code, busy.err], [1, `127.0.0.1:${upstream.port} is in use\n`]);
});

test('W22: dev and demo do not start where NODE_ENV says production', async () => {
  using folder = scratchFolder();
  const options = { cwd: folder.path, env: { NODE_ENV: 'production' } };
  for (const args of [['dev', '--upstream', 'http://127.0.0.1:1'], ['demo']]) {
    const { code, out, err } = await start(args, options).ended;
    assert.deepEqual([code, out], [3, '']);
    assert.match(err, /NODE_ENV is production/);
  }
});

test('W22: run --production starts with nothing that is made for trying out, and reloads to nothing of it', async () => {
  await using redis = await startRedis();
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  const fit = `${CONFIG.replace('{prefix: /}, auth: none', '{prefix: /api}')}name: shop
redis: {url: {env: REDIS_URL}}
issuers: {corp: {issuer: "https://id.example.com/", audience: [api], keys: {url: "http://127.0.0.1:1/"}}}
`;
  const options = { cwd: folder.path, env: { REDIS_URL: redis.url } };
  const told = fit.replace('proxy: {', 'proxy: {error_detail: reason, ');
  writeFileSync(file, told);
  assert.equal((await start(['check'], options).ended).code, 0);
  const refused = await start(['run', '--production'], options).ended;
  assert.deepEqual([refused.code, refused.out], [3, '']);
  assert.equal(refused.err, 'sidecar.yaml:2:23 proxy.error_detail: tells callers why they were refused\n');
  writeFileSync(file, fit);
  await using sidecar = start(['run', '--production'], options);
  const [, proxy] = await sidecar.until(/"proxy":"([^"]+)".*"event":"listening"/);
  writeFileSync(file, told);
  sidecar.signal('SIGHUP');
  await sidecar.until(
    /"problems":\["[^"]*proxy.error_detail: tells callers why they were refused"\].*"event":"config_reload_refused"/,
  );
  assert.doesNotMatch(await (await fetch(`${proxy}/api`)).text(), /credential_missing/);
  sidecar.signal('SIGTERM');
  assert.equal((await sidecar.ended).code, 0);
});

test('run --production refuses shadow mode without an end, and starts past it: a day of the calendar is no outage', async () => {
  await using redis = await startRedis();
  using folder = scratchFolder();
  const file = folder.file('sidecar.yaml');
  const text = (shadow: string) => `${CONFIG.replace('auth: none', `mode: shadow${shadow}`)}name: shop
redis: {url: {env: REDIS_URL}}
issuers: {corp: {issuer: "https://id.example.com/", audience: [api], keys: {url: "http://127.0.0.1:1/"}}}
`;
  const options = { cwd: folder.path, env: { REDIS_URL: redis.url } };
  writeFileSync(file, text(''));
  const refused = await start(['run', '--production'], options).ended;
  assert.deepEqual([refused.code, refused.out], [3, '']);
  assert.match(refused.err, /^sidecar\.yaml:6:42 routes\.all\.mode: is shadow without an end/);
  writeFileSync(file, text(', shadow_until: 2026-01-01'));
  await using sidecar = start(['run', '--production'], options);
  await sidecar.until(/"enforced":\["routes\.all"\].*"event":"shadow_ended"/);
  const [, proxy] = await sidecar.until(/"proxy":"([^"]+)".*"event":"listening"/);
  assert.equal((await fetch(`${proxy}/`)).status, 401);
});

test('dev prints routes, a token and lines that work, and each refusal with its reason', async () => {
  using folder = scratchFolder();
  await using upstream = await recordingUpstream();
  await using dev = start(['dev', '--upstream', upstream.url], { cwd: folder.path });
  const [, proxy] = await dev.until(/curl -i (http:\S+)\/\n/);
  const [, token] = await dev.until(/export TOKEN=(\S+)/);
  assert.equal((await fetch(`${proxy}/`, { headers: { authorization: `Bearer ${token}` } })).status, 200);
  assert.equal((await fetch(`${proxy}/nothing`)).status, 401);
  await dev.until(/^401 credential_missing {2}GET \/nothing/m);
  assert.match(dev.out(), /^ROUTE +MATCH/m);
  const [, observe] = await dev.until(/^admin http:\S+ {3}observe (http:\S+)$/m);
  assert.equal((await fetch(`${observe}/readyz`)).status, 200);
  assert.equal(dev.err(), '', 'the application is there');
  dev.signal('SIGINT');
  assert.equal((await dev.ended).code, 0);
  assert.ok(!existsSync(folder.file('.doorward')));
});

test('dev says so when the application does not answer, and serves all the same', async () => {
  using folder = scratchFolder();
  await using dev = start(['dev', '--upstream', 'http://127.0.0.1:1'], { cwd: folder.path });
  await dev.until(/Ctrl-C ends/);
  for (let tries = 0; !dev.err().includes('\n') && tries < 1500; tries += 1) await sleep(20);
  assert.equal(dev.err(), 'http://127.0.0.1:1 does not answer (ECONNREFUSED): requests get 502 until it does\n');
  dev.signal('SIGINT');
  assert.equal((await dev.ended).code, 0);
});

test('every line that demo prints does what it says, in that order, and Ctrl-C leaves nothing behind', async () => {
  using folder = scratchFolder();
  await using demo = start(['demo'], { cwd: folder.path });
  await demo.until(/Ctrl-C ends/);
  const printed = [...demo.out().matchAll(/^# (.+)\n((?:curl|for) .+)$/gm)];
  const answers = printed.map(([, says = '', line = '']) => {
    const answer = execFileSync('bash', ['-c', line], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const statuses = /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? (answer.startsWith('{') ? '200' : answer.trim());
    assert.equal(statuses, /\b\d{3}(?: \d{3})*\b/.exec(says)?.[0], says);
    return [says.split(':')[0], answer] as const;
  });
  assert.deepEqual(
    answers.map(([says]) => says),
    [
      'accepted',
      'missing token',
      'a leaked token is revoked',
      'revoked token',
      'over the limit',
      'spoofed header',
      'the registered client billing asks for a token',
      'and uses it',
      'who did what',
    ],
  );
  assert.equal(demo.out().match(/^\s*(?:curl|for) /gm)?.length, answers.length, 'each line says what it answers');
  const seen = new Map(answers);
  const spoofed = JSON.parse(seen.get('spoofed header') as string).headers;
  assert.equal(spoofed['x-auth-subject'], 'alice');
  assert.ok(!Object.hasOwn(spoofed, 'x_auth_subject'));
  assert.match(JSON.parse(seen.get('and uses it') as string).headers['x-auth-client'], /^c_/);
  assert.match(seen.get('who did what') as string, /"revocation\.added"/);
  const file = folder.file('.doorward/demo.json');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const links = JSON.parse(readFileSync(file, 'utf8'));
  assert.deepEqual(Object.keys(links), ['proxy', 'admin', 'observe', 'token', 'admin_token']);
  const page = await fetch(`${links.proxy}/<b>`, {
    headers: { authorization: `Bearer ${links.token}`, accept: 'text/html' },
  });
  assert.match(await page.text(), /<h1>GET \/(&lt;|%3C)b/);
  assert.equal((await fetch(`${links.observe}/readyz`)).status, 200);
  const status = await fetch(`${links.admin}/v1/status`, { headers: { authorization: `Bearer ${links.admin_token}` } });
  assert.equal(status.status, 200);
  demo.signal('SIGINT');
  assert.deepEqual(await demo.ended.then(({ code, err }) => [code, err]), [0, '']);
  assert.ok(!existsSync(file));
  await assert.rejects(fetch(links.proxy, { signal: AbortSignal.any([AbortSignal.timeout(2000)]) }));
});

test('an error that nobody caught does not end the process', async () => {
  using folder = scratchFolder();
  writeFileSync(folder.file('sidecar.yaml'), CONFIG);
  writeFileSync(
    folder.file('defect.mjs'),
    `process.on('SIGUSR2', () => { Promise.reject(new Error('planted')); throw new Error('planted too'); });`,
  );
  const env = { NODE_OPTIONS: `--import=${folder.file('defect.mjs')}` };
  await using sidecar = start(['run'], { cwd: folder.path, env });
  const [, proxy] = await sidecar.until(/"proxy":"([^"]+)".*"event":"listening"/);
  sidecar.signal('SIGUSR2');
  await sidecar.until(/"event":"uncaught_exception"/);
  await sidecar.until(/"event":"unhandled_rejection"/);
  await sleep(10);
  assert.equal((await fetch(`${proxy}/`)).status, 502);
});
