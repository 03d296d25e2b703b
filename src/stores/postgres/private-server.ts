// A PostgreSQL server of our own: made in a folder, listening on a Unix socket there and nowhere else, ended with us even
// when we are killed. For `postgres: {embedded: true}` and for tests; where the programs come from is embedded.ts's.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SidecarError } from '../../core/errors.ts';
import { makePrivateFolder } from '../../core/private-file.ts';

/** How a private server is set up. */
export interface PrivateServerOptions {
  /** Folder with `initdb` and `postgres`. */
  readonly binaries: string;
  /** Holds the database, its socket and nothing else; made when missing. */
  readonly folder: string;
  /** Password of the only user, `doorward`. */
  readonly password: string;
  /** `-c name=value` settings of the server. */
  readonly settings?: Readonly<Record<string, string>>;
  /** PostgreSQL refuses to run as root: whom it runs as then. */
  readonly runAs?: { readonly uid: number; readonly gid: number } | undefined;
  /** Removes the folder when it is disposed or we die; `stop` keeps it. */
  readonly temporary?: boolean;
}

/** A running server. */
export interface PrivateServer extends AsyncDisposable {
  /** For settings of a pool; names the folder of the socket. */
  readonly url: string;
  readonly folder: string;
  /** Ends it; `SIGKILL` loses what a crash loses. */
  stop(signal?: 'SIGINT' | 'SIGKILL'): Promise<void>;
  /** Starts it again in the same folder. */
  start(): Promise<void>;
}

const START_MS = 30_000;
const STOP_MS = 10_000;
const SOCKET = '.s.PGSQL.5432';

/**
 * The shell stays between us and the server: its standard input ends when we do, however we end, and then it ends the
 * server. `exec 3<&0` because a background command reads from nowhere.
 */
const KEEPER = `exec 3<&0
"$@" </dev/null 3<&- &
server=$!
(cat <&3 >/dev/null; kill -INT $server 2>/dev/null) &
wait $server
code=$?
[ -n "$DOORWARD_REMOVE" ] && [ ! -e "$DOORWARD_REMOVE/keep" ] && rm -rf "$DOORWARD_REMOVE"
exit $code`;

/** Makes the database where there is none, starts the server and resolves once it takes connections. */
export async function startPrivateServer(options: PrivateServerOptions): Promise<PrivateServer> {
  const { folder, password } = options;
  if (!existsSync(join(folder, 'PG_VERSION'))) initialise(options);
  let child: ChildProcess | undefined;
  const keep = join(folder, 'keep');
  const start = async () => {
    rmSync(keep, { force: true });
    await releaseLock(folder);
    child = await launchUntilFree(options);
  };
  const end = async (signal: 'SIGINT' | 'SIGKILL') => {
    const running = child;
    child = undefined;
    if (running !== undefined) await endServer(running, folder, signal);
  };
  const stop = async (signal: 'SIGINT' | 'SIGKILL' = 'SIGINT') => {
    writeFileSync(keep, '');
    await end(signal);
  };
  await start();
  return {
    url: `postgres://doorward:${password}@localhost:5432/postgres?host=${encodeURIComponent(folder)}`,
    folder,
    start,
    stop,
    [Symbol.asyncDispose]: () => end('SIGINT'),
  };
}

/** Where everything runs that PostgreSQL is: nothing of our environment, which may hold secrets. */
const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

function initialise({ binaries, folder, password, runAs }: PrivateServerOptions): void {
  makePrivateFolder(folder);
  if (runAs) chownSync(folder, runAs.uid, runAs.gid);
  const args = ['-D', folder, '-U', 'doorward', '-A', 'scram-sha-256', '-E', 'UTF8', '--locale=C', '--no-sync', '-N'];
  // Node's standard input is a socket, which cannot be opened by name; a shell's is a pipe, which can.
  const command = [join(binaries, 'initdb'), ...args, '--pwfile=/dev/stdin'];
  const made = spawnSync('/bin/sh', ['-c', 'cat | "$@"', 'sh', ...command], {
    cwd: '/',
    input: `${password}\n`,
    env: ENVIRONMENT,
    encoding: 'utf8',
    ...runAs,
  });
  if (made.status === 0) return;
  rmSync(join(folder, 'PG_VERSION'), { force: true });
  const why = made.error?.message ?? made.stderr.trim().split('\n').at(-1) ?? '';
  throw new SidecarError('misconfigured', 'not_configured', `the private PostgreSQL could not be made: ${why}`);
}

function launch({ binaries, folder, settings = {}, runAs, temporary }: PrivateServerOptions): ChildProcess {
  const set = { listen_addresses: '', unix_socket_directories: folder, unix_socket_permissions: '0700', ...settings };
  const flags = Object.entries(set).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const server = [join(binaries, 'postgres'), '-D', folder, '-p', '5432', ...flags];
  const child = spawn('/bin/sh', ['-c', KEEPER, 'sh', ...server], {
    cwd: '/',
    env: { ...ENVIRONMENT, ...(temporary && { DOORWARD_REMOVE: folder }) },
    stdio: ['pipe', 'ignore', 'pipe'],
    // In a group of its own: a Ctrl-C is ours to act upon, after what is in flight has ended.
    detached: true,
    ...runAs,
  });
  child.unref();
  return child;
}

/** After a crash the processes of the old server hold its memory for a moment longer. */
async function launchUntilFree(options: PrivateServerOptions): Promise<ChildProcess> {
  const deadline = performance.now() + STOP_MS;
  for (;;) {
    const child = launch(options);
    try {
      await ready(child, options.folder);
      return child;
    } catch (error) {
      if (!/shared memory/.test((error as Error).message) || performance.now() > deadline) throw error;
    }
    await sleep(100);
  }
}

async function ready(child: ChildProcess, folder: string): Promise<void> {
  let said = '';
  const { stderr, stdin } = child;
  stdin?.on('error', () => undefined);
  (stdin as unknown as { unref?: () => void })?.unref?.();
  (stderr as unknown as { unref?: () => void })?.unref?.();
  stderr?.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-4000);
  });
  const deadline = performance.now() + START_MS;
  while (performance.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) break;
    if (said.includes('ready to accept connections') && (await accepts(join(folder, SOCKET)))) return;
    await sleep(10);
  }
  child.stdin?.end();
  const why = /(?:FATAL|PANIC): .*/.exec(said)?.[0] ?? 'no reason given';
  throw new SidecarError('misconfigured', 'not_configured', `the private PostgreSQL does not start: ${why}`);
}

async function accepts(path: string): Promise<boolean> {
  const socket = connect({ path });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function endServer(child: ChildProcess, folder: string, signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  // Otherwise nothing would hold the process while it waits.
  child.ref();
  const ended = once(child, 'exit');
  const pid = lockHolder(folder);
  if (signal === 'SIGKILL' && pid !== undefined) process.kill(pid, 'SIGKILL');
  else child.stdin?.end();
  const patience = AbortSignal.timeout(STOP_MS);
  await Promise.race([ended, once(patience, 'abort')]);
  child.stdin?.end();
}

/** The process that `postmaster.pid` names, if it lives. */
function lockHolder(folder: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(join(folder, 'postmaster.pid'), 'utf8'), 10);
    if (!(pid > 0)) return undefined;
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EPERM') return -1;
    return undefined;
  }
}

/** Waits for a server that is still ending; drops the lock of one that is gone and whose number another program got. */
async function releaseLock(folder: string): Promise<void> {
  const deadline = performance.now() + STOP_MS;
  for (let pid = lockHolder(folder); pid !== undefined; pid = lockHolder(folder)) {
    if (!isPostgres(pid)) return rmSync(join(folder, 'postmaster.pid'), { force: true });
    if (performance.now() > deadline) {
      throw new SidecarError('misconfigured', 'not_configured', `another PostgreSQL (${pid}) runs in ${folder}`);
    }
    await sleep(50);
  }
}

function isPostgres(pid: number): boolean {
  if (existsSync('/proc/self/comm')) {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'postgres';
    } catch {
      return false;
    }
  }
  return /postgres/.test(spawnSync('ps', ['-p', String(pid), '-o', 'comm='], { encoding: 'utf8' }).stdout ?? '');
}
