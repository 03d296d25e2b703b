// The unit of deploy/systemd: what systemd's own tools say of it, and its command lines run under the restrictions that it asks
// for. systemd itself is no process 1 here, so they are put up by hand: user, capabilities, file system, /proc; the filter of
// system calls is compared with what the program calls.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseDuration } from '../../src/core/units.ts';
import { scratchFolder } from '../cli/processes.ts';
import { freePort } from '../support/free-port.ts';
import { recipe } from '../support/fronts.ts';
import { startNginx } from '../support/nginx.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startRedis } from '../support/redis-server.ts';
import { testIssuerBlock, tokenFor } from '../support/sidecar.ts';
import { ensureCommand } from '../support/system-packages.ts';
import { checkedConfig } from './checked.ts';

const systemd = fileURLToPath(new URL('../../deploy/systemd/', import.meta.url));
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const unit = readFileSync(join(systemd, 'doorward.service'), 'utf8');
const CREDENTIAL = '/run/credentials/doorward.service/redis-url';
const NOBODY = 65534;

ensureCommand('systemd-analyze', '--version', 'systemd');

/** Values of a directive, in order. */
const directive = (name: string) =>
  [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value]) => value as string);

/** The value of a directive that stands once. */
function only(name: string): string {
  const [value, ...more] = directive(name);
  if (value === undefined || more.length > 0) throw new Error(`${name} does not stand once`);
  return value;
}

/** The command line of a directive as systemd would run it, for this checkout and this configuration. */
function command(name: string, config: string): string[] {
  const words = only(name)
    .replace(/\$\{CONFIG\}/g, config)
    .split(' ');
  return words.map((word) =>
    word.replace('/opt/doorward/bin/node', process.execPath).replace('/opt/doorward/dist/main.js', main),
  );
}

function written(folder: { file(name: string): string }, text: string): string {
  const file = folder.file('doorward.service');
  // systemd-analyze looks whether the programs are there.
  writeFileSync(file, text.replaceAll('/opt/doorward/bin/node', process.execPath));
  return file;
}

test('systemd-analyze verify has nothing to say of the unit, and would have of a wrong one', () => {
  using folder = scratchFolder();
  const verify = (text: string) => {
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', written(folder, text)]);
    return { status, said: `${stdout}${stderr}` };
  };
  assert.deepEqual(verify(unit), { status: 0, said: '' });
  assert.match(verify(unit.replace('ProtectHome=yes', 'ProtectHomes=yes')).said, /ProtectHomes/);
});

test('systemd-analyze security rates the exposure of the unit at most 2.0 of 10, and without its hardening above', () => {
  using folder = scratchFolder();
  const rate = (text: string) =>
    spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=20', written(folder, text)]).status;
  assert.equal(rate(unit), 0);
  assert.notEqual(rate(unit.replace(/^(?:Protect|Restrict|SystemCall|Private|Capability).*$/gm, '')), 0);
});

test('the configuration holds for production, and its drain fits before systemd kills', async () => {
  const files = { [CREDENTIAL]: 'redis://127.0.0.1:6379' };
  const { config } = await checkedConfig(join(systemd, 'sidecar.yaml'), {}, files);
  const { delay, timeout } = config.proxy.drain;
  assert.ok(delay + timeout < (parseDuration(`${only('TimeoutStopSec')}s`) as number));
  assert.ok(CREDENTIAL.endsWith(only('LoadCredential').split(':')[0] as string));
  // V8 could not start: its JIT writes code and runs it.
  assert.deepEqual(directive('MemoryDenyWriteExecute'), []);
});

/** System calls of a set of systemd, with those of the sets inside it. */
function systemCalls(set: string): string[] {
  const lines = execFileSync('systemd-analyze', ['syscall-filter', set], { encoding: 'utf8' }).split('\n');
  return lines
    .map((line) => line.trim())
    .filter((line) => line !== '' && line !== set && !line.startsWith('#'))
    .flatMap((line) => (line.startsWith('@') ? systemCalls(line) : [line]));
}

/** What the SystemCallFilter lines of the unit let through. */
function allowedCalls(): Set<string> {
  const allowed = new Set<string>();
  for (const line of directive('SystemCallFilter')) {
    const sets = line.replace('~', '').split(' ').flatMap(systemCalls);
    for (const call of sets) line.startsWith('~') ? allowed.delete(call) : allowed.add(call);
  }
  return allowed;
}

// ProtectSystem=strict, StateDirectory=, ProtectProc=invisible, ProcSubset=pid; then the user without any capability.
const RESTRICTIONS = `set -e
state=$1; shift
mount --make-rprivate /
mount --bind "$state" "$state"
mount -o remount,bind,ro /
mount -t proc -o hidepid=invisible,subset=pid proc /proc
umask 0077
exec setpriv --reuid ${NOBODY} --regid ${NOBODY} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"`;

test('behind nginx, under what the unit takes away, it serves, reloads by ExecReload, drains, and makes no filtered system call', async () => {
  ensureCommand('strace', '--version');
  await using redis = await startRedis();
  await using upstream = await recordingUpstream();
  using folder = scratchFolder();
  const [proxy, observe] = [await freePort(), await freePort()];
  const text = readFileSync(join(systemd, 'sidecar.yaml'), 'utf8')
    .replace('127.0.0.1:8080', `127.0.0.1:${proxy}`)
    .replace('127.0.0.1:9902', `127.0.0.1:${observe}`)
    .replace('http://127.0.0.1:3000', upstream.url)
    .replace(/corp: \{.*\}/, `corp: ${JSON.stringify(testIssuerBlock)}`)
    .replace('delay: 5s', 'delay: 0s')
    .replace(CREDENTIAL, folder.file('redis-url'));
  const config = folder.file('sidecar.yaml');
  writeFileSync(config, text);
  writeFileSync(folder.file('redis-url'), redis.url);
  chmodSync(folder.path, 0o755);
  const state = folder.file('state');
  mkdirSync(state);
  chownSync(state, NOBODY, NOBODY);

  const checked = spawnSync(command('ExecStartPre', config)[0] as string, command('ExecStartPre', config).slice(1));
  assert.equal(checked.status, 0, `${checked.stderr}`);
  const traced = ['strace', '-f', '-qq', '-c', '-S', 'name', '-o', join(state, 'calls')];
  const args = ['--mount', 'sh', '-c', RESTRICTIONS, 'sh', state, ...traced, ...command('ExecStart', config)];
  const env = {
    PATH: process.env.PATH,
    NODE_ENV: 'production',
    DOORWARD__STATE_DIR: state,
    DOORWARD__ADMIN__LISTEN: 'off',
  };
  const child = spawn('unshare', args, { env });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (log += chunk));
  const exit = once(child, 'exit');
  const logged = async (event: string) => {
    while (!log.includes(`"event":"${event}"`)) {
      assert.equal(child.exitCode, null, log);
      await sleep(20);
    }
  };
  try {
    await logged('listening');
    // strace is what we started; the program is its child.
    const [pid] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').split(' ');
    await using nginx = await startNginx((listen) =>
      recipe('nginx/proxy.conf', { 'listen 80': listen, '127.0.0.1:8080': `127.0.0.1:${proxy}` }),
    );
    const status = async (path: string, headers = {}) => (await fetch(`${nginx.url}${path}`, { headers })).status;
    const bearer = { authorization: `Bearer ${tokenFor()}` };
    assert.deepEqual([await status('/api'), await status('/api', bearer)], [401, 200]);

    writeFileSync(config, text.replace('prefix: /api', 'prefix: /moved'));
    execFileSync('sh', ['-c', only('ExecReload').replace('$MAINPID', pid as string)]);
    await logged('config_reloaded');
    assert.deepEqual([await status('/api', bearer), await status('/moved', bearer)], [404, 200]);

    process.kill(Number(pid), only('KillSignal') as NodeJS.Signals);
    assert.deepEqual(await exit, [0, null], log);
    const lines = readFileSync(join(state, 'calls'), 'utf8').trim().split('\n').slice(2, -2);
    const called = lines.map((line) => line.trim().split(/\s+/).at(-1) as string);
    assert.ok(called.includes('accept4') && called.includes('epoll_pwait'), called.join());
    const allowed = allowedCalls();
    assert.ok(!allowed.has('mount') && !allowed.has('setuid'));
    assert.deepEqual(
      called.filter((call) => !allowed.has(call)),
      [],
    );
  } finally {
    child.kill('SIGKILL');
  }
});
