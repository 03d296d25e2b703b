// What a user installs: the packed tarball in another folder, run by its `doorward` bin, serving a request. Node strips no
// types under node_modules, so this is the built program and not the sources.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openTestDatabase, postgresConfig } from './support/postgres-server.ts';
import { recordingUpstream } from './support/recording-upstream.ts';
import { configFor, tokenFor } from './support/sidecar.ts';
import { written } from './support/written.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
// The Node that runs this test has to be the one that runs npm and the bin.
const env = {
  ...process.env,
  PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
  npm_config_audit: 'false',
  npm_config_fund: 'false',
};

/** Packs what git tracks, with the dependencies of this checkout. */
async function pack(folder: string): Promise<string> {
  const source = join(folder, 'source');
  const { stdout } = await run('git', ['ls-files', '-z'], { cwd: root, maxBuffer: 16 * 1024 * 1024 });
  const tracked = stdout.split('\0').filter((file) => /^(?:src|config)\/|^[^/]+\.(?:json|md)$|^LICENSE$/.test(file));
  for (const file of tracked) cpSync(join(root, file), join(source, file), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(source, 'node_modules'));
  await run('npm', ['pack', '--pack-destination', folder], { cwd: source, env });
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  assert.ok(tarball !== undefined);
  return join(folder, tarball);
}

/** Installs it as a user would, without development dependencies. */
async function install(tarball: string, folder: string): Promise<string> {
  const home = join(folder, 'home');
  mkdirSync(home);
  writeFileSync(join(home, 'package.json'), '{"private":true}');
  await run('npm', ['install', '--omit=dev', '--ignore-scripts', '--prefer-offline', tarball], { cwd: home, env });
  return home;
}

async function end(child: ChildProcess): Promise<number | null> {
  const ended = once(child, 'exit') as Promise<[number | null]>;
  child.kill('SIGTERM');
  const [code] = await ended;
  return code;
}

async function statusOf(url: string, token?: string): Promise<number> {
  const response = await fetch(url, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
  await response.body?.cancel();
  return response.status;
}

const scratch = mkdtempSync(join(tmpdir(), 'doorward-package-'));
const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(scratch, { recursive: true, force: true });
});
let home: Promise<string> | undefined;

/** The packed program, installed once, and a folder to run it in. */
async function installed() {
  home ??= pack(scratch).then((tarball) => install(tarball, scratch));
  const at = await home;
  const folder = mkdtempSync(join(scratch, 'run-'));
  return {
    folder,
    bin: join(at, 'node_modules/.bin/doorward'),
    program: join(at, 'node_modules/doorward'),
    start(bin: string, args: readonly string[]) {
      const child = spawn(bin, args, { env, cwd: folder });
      children.push(child);
      return child;
    },
  };
}

test('the packed program, installed elsewhere, tells its version, checks a file, and serves under run and dev', async () => {
  await using upstream = await recordingUpstream();
  const { bin, folder, program, start } = await installed();
  assert.deepEqual(
    readdirSync(program).filter((name) => ['src', 'test', 'node_modules', '.ci'].includes(name)),
    [],
  );
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  assert.equal((await run(bin, ['--version'], { env })).stdout.trim(), version);
  const file = join(folder, 'sidecar.yaml');
  writeFileSync(file, JSON.stringify(configFor(upstream.url)));
  assert.match((await run(bin, ['check', '--config', file], { env })).stdout, /all/);

  const running = start(bin, ['run', '--config', file]);
  const [, proxy] = await written(running, /"proxy":"([^"]+)".*"event":"listening"/);
  assert.deepEqual([await statusOf(proxy as string), await statusOf(proxy as string, tokenFor())], [401, 200]);
  assert.equal(await end(running), 0);

  const dev = start(bin, ['dev', '--upstream', upstream.url]);
  const [, token, url] = await written(dev, /export TOKEN=(\S+)\s+curl -i (http\S+) /);
  assert.deepEqual([await statusOf(url as string), await statusOf(url as string, token as string)], [401, 200]);
  assert.equal(await end(dev), 0);
});

test('the packed program has what each command loads only when it runs', async () => {
  await using upstream = await recordingUpstream();
  const { bin, folder, program } = await installed();
  // The compiler left import() of sources as it was in functions with `await using`, while it lowered that.
  const left = readdirSync(join(program, 'dist'), { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.js') && /import\('[^']+\.ts'\)/.test(readFileSync(join(program, 'dist', name), 'utf8')),
  );
  assert.deepEqual(left, []);
  const file = join(folder, 'sidecar.yaml');
  writeFileSync(file, JSON.stringify(configFor(upstream.url)));
  assert.match((await run(bin, ['attack', '--config', file], { env, cwd: folder })).stdout, /bypass rate 0 %/);
});

test('the packed program brings every SQL and Lua file, migrates an empty PostgreSQL and serves operators from it', async () => {
  await using upstream = await recordingUpstream();
  await using database = await openTestDatabase({ migrated: false });
  const { bin, folder, program, start } = await installed();
  for (const room of ['stores/postgres/migrations', 'stores/redis/lua']) {
    const shipped = readdirSync(join(program, 'dist', room)).filter((name) => /\.(?:sql|lua)$/.test(name));
    const { stdout } = await run('git', ['ls-files', `src/${room}`], { cwd: root });
    assert.deepEqual(
      shipped.sort(),
      stdout
        .trim()
        .split('\n')
        .map((path) => basename(path))
        .sort(),
      room,
    );
    for (const name of shipped)
      assert.equal(
        readFileSync(join(program, 'dist', room, name), 'utf8'),
        readFileSync(join(root, 'src', room, name), 'utf8'),
      );
  }
  const file = join(folder, 'sidecar.yaml');
  writeFileSync(file, JSON.stringify(configFor(upstream.url, postgresConfig(database, { migrate: 'never' }))));
  const call = async (...args: string[]) => (await run(bin, [...args, '--config', file], { env, cwd: folder })).stdout;
  assert.match(await call('migrate'), /^applied 1 foundation\n/);
  const status = JSON.parse(await call('migrate', '--status', '--json'));
  assert.deepEqual([status.pending, status.applied[0].name], [[], 'foundation']);

  const running = start(bin, ['run', '--config', file]);
  await written(running, /"event":"listening"/);
  const token = (await call('operator', 'add', 'ci', '--role', 'viewer')).trim();
  assert.match(token, /^dwa_/);
  assert.match(await call('operator', 'list'), /ci +viewer/);
  assert.equal(await end(running), 0);
});
