// Builds the image of deploy/image/Dockerfile with a real engine (buildah, which needs no daemon), on the stand-ins of
// base-images.ts, and runs programs in what came out as a container would: its own root, read-only, an unprivileged user.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensureCommand } from '../support/system-packages.ts';
import { basesOf, makeBaseTrees } from './base-images.ts';

const run = promisify(execFile);

/** The part of an image's configuration that says how it is run. */
export interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly ExposedPorts: Readonly<Record<string, unknown>>;
  readonly Volumes: Readonly<Record<string, unknown>>;
  readonly Labels: Readonly<Record<string, string>>;
  readonly StopSignal: string;
  readonly Healthcheck: { readonly Test: readonly string[] };
}

/** A built image. */
export interface Image {
  readonly config: ImageConfig;
  /** Its root file system. */
  readonly tree: string;
  /** Starts a command in it as the image's user, with `mounts` (path inside to folder outside) and everything else read-only. */
  start(command: readonly string[], mounts: Readonly<Record<string, string>>): ChildProcess;
}

/** Builds `dockerfile` with `context`; the caller gives a folder that it removes afterwards by {@link removeImage}. */
export async function buildImage(folder: string, dockerfile: string, context: string): Promise<Image> {
  ensureCommand('buildah', '--version');
  if (process.getuid?.() !== 0) throw new Error('building and running the image needs root');
  const buildah = async (...args: string[]) => {
    const store = ['--storage-driver', 'vfs', '--root', join(folder, 'store'), '--runroot', join(folder, 'runroot')];
    const { stdout } = await run('buildah', [...store, ...args], { maxBuffer: 64 * 1024 * 1024 });
    return stdout.trim();
  };
  const trees = await makeBaseTrees(folder);
  const [node, distroless] = basesOf(dockerfile);
  await importTree(buildah, trees.node, node as string);
  await importTree(buildah, trees.distroless, distroless as string);
  const cache = (await run('npm', ['config', 'get', 'cache'])).stdout.trim();
  mkdirSync(cache, { recursive: true });
  const built = ['build', '--pull-never', '--isolation', 'chroot', '--format', 'docker', '--layers=false'];
  await buildah(...built, '--volume', `${cache}:/root/.npm`, '--file', dockerfile, '--tag', 'doorward', context);
  const container = await buildah('from', '--pull-never', 'doorward');
  const tree = await buildah('mount', container);
  const { Docker } = JSON.parse(await buildah('inspect', '--type', 'image', 'doorward'));
  const config = Docker.config as ImageConfig;
  return { config, tree, start: (command, mounts) => startIn(tree, config, command, mounts) };
}

async function importTree(buildah: (...args: string[]) => Promise<string>, tree: string, name: string): Promise<void> {
  const container = await buildah('from', 'scratch');
  await buildah('copy', '--quiet', container, tree, '/');
  await buildah('config', '--env', 'PATH=/usr/local/bin:/usr/bin:/bin', container);
  await buildah('commit', '--quiet', container, name);
  await buildah('rm', container);
}

// In mount and process namespaces of its own: what is mounted goes with the process, and nothing outside is seen.
const SCRIPT = `set -e
root=$1 user=$2; shift 2
mount --bind "$root" "$root"
while [ "$1" != -- ]; do mkdir -p "$root$1"; mount --bind "$2" "$root$1"; shift 2; done; shift
mount -t proc proc "$root/proc"
mount -o remount,ro,bind "$root"
exec chroot --userspec="$user" "$root" "$@"`;

function startIn(
  tree: string,
  { Env, User }: ImageConfig,
  command: readonly string[],
  mounts: Readonly<Record<string, string>>,
): ChildProcess {
  const args = ['--mount', 'sh', '-c', SCRIPT, 'sh', tree, User, ...Object.entries(mounts).flat(), '--', ...command];
  const env = Object.fromEntries(Env.map((line) => line.split(/=(.*)/s).slice(0, 2)));
  // The PATH of the image must not choose our programs; the paths of unshare and sh are ours, what they start is named whole.
  return spawn('/usr/bin/unshare', args, { env: { ...env, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
}

/** A folder for {@link buildImage}. */
export function imageFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'doorward-image-'));
  mkdirSync(join(folder, 'runroot'));
  return folder;
}

/** Takes all of it away; nothing of a vfs store stays mounted. */
export function removeImage(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}
