// Programs from the system that the bench drives. Finds them, tries to install what is missing, and says plainly what it
// could not get. redis-server is found by test/support/redis-server.ts.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Package that brings each program. */
const packages = { nginx: 'nginx-light', haproxy: 'haproxy', wrk: 'wrk', taskset: 'util-linux' } as const;

/** A program that the bench needs from the system. */
export type Tool = keyof typeof packages;

const find = (tool: string): string | undefined =>
  [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', '/sbin']
    .map((folder) => join(folder, tool))
    .find((file) => existsSync(file));

/** Absolute paths of `tools`; installs missing ones with apt-get, and throws with the command to type when that fails. */
export function ensureTools(tools: readonly Tool[]): ReadonlyMap<Tool, string> {
  const missing = tools.filter((tool) => find(tool) === undefined);
  if (missing.length > 0) install(missing.map((tool) => packages[tool]));
  const lacking = tools.filter((tool) => find(tool) === undefined);
  if (lacking.length > 0) {
    const names = lacking.map((tool) => packages[tool]).join(' ');
    throw new Error(`the bench needs ${lacking.join(', ')}: install (apt-get install ${names}) and run again`);
  }
  return new Map(tools.map((tool) => [tool, find(tool) as string]));
}

function install(names: readonly string[]): void {
  console.error(`missing: installing ${names.join(' ')} with apt-get`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const run = (...args: string[]) => spawnSync('apt-get', args, { stdio: ['ignore', 2, 2], env });
  run('update', '-qq');
  run('install', '-y', '-qq', '--no-install-recommends', ...names);
}

/** Folder of this bench. */
export const benchDir = dirname(fileURLToPath(import.meta.url));

/** Installs the Fastify stack's own packages when they are absent. */
export function ensureFastifyStack(): void {
  const folder = join(benchDir, 'fastify-stack');
  if (existsSync(join(folder, 'node_modules', 'fastify'))) return;
  console.error('installing the Fastify stack (npm ci in test/bench/fastify-stack)');
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status } = spawnSync('npm', args, { cwd: folder, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('npm ci failed in test/bench/fastify-stack: it needs the registry once');
}

/** First line that names a version in what `program` prints. */
export function versionOf(program: string, flag: string): string {
  const { stdout, stderr } = spawnSync(program, [flag], { encoding: 'utf8' });
  return /\d+\.\d+(\.\d+)*/.exec(`${stdout}\n${stderr}`)?.[0] ?? 'unknown';
}
