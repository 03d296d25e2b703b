// Programs that tests need from the system: found on the PATH, or installed with apt-get.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Makes sure that `command` answers to `versionFlag`; throws with the command to type when it cannot be installed. */
export function ensureCommand(command: string, versionFlag: string, systemPackage: string = command): void {
  const found = () => spawnSync(command, [versionFlag]).status === 0;
  if (found()) return;
  console.error(`${command} is missing`);
  installPackage(systemPackage);
  if (found()) return;
  throw new Error(`${command} is needed: install it (apt-get install ${systemPackage}) and run again`);
}

/** Installs a package of the system with apt-get; whether that worked is for the caller to find out. */
export function installPackage(systemPackage: string): void {
  console.error(`installing ${systemPackage} with apt-get`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const run = (...args: string[]) => spawnSync('apt-get', args, { stdio: 'inherit', env });
  run('update', '-qq');
  // Without recommendations: those of docker-compose alone are a whole engine.
  run('install', '-y', '-qq', '--no-install-recommends', systemPackage);
}

const POSTGRES_15 = '/usr/lib/postgresql/15/bin';

/** Makes sure that PostgreSQL 15, the oldest that is supported, is there; returns the folder of its programs. */
export function ensurePostgres15(): string {
  const found = () => existsSync(join(POSTGRES_15, 'postgres'));
  if (!found()) installPackage('postgresql-15');
  if (found()) return POSTGRES_15;
  throw new Error(
    `PostgreSQL 15 is needed in ${POSTGRES_15}: install it (apt-get install postgresql-15; where the system has none, from apt.postgresql.org) and run again`,
  );
}

const GO_LIBRARIES = '/usr/share/gocode/src';
const GO_PACKAGES = {
  'golang-github-masterminds-sprig-dev': 'github.com/Masterminds/sprig',
  'golang-gopkg-yaml.v3-dev': 'gopkg.in/yaml.v3',
};

/** Makes sure of Go and of the libraries that test/deploy/helm-render is built with; returns the GOPATH of both. */
export function ensureGo(): string {
  ensureCommand('go', 'version', 'golang-go');
  for (const [name, path] of Object.entries(GO_PACKAGES)) {
    const found = () => existsSync(join(GO_LIBRARIES, path));
    if (!found()) installPackage(name);
    if (!found()) throw new Error(`${name} is needed: install it (apt-get install ${name}) and run again`);
  }
  return join(GO_LIBRARIES, '..');
}

/**
 * Makes sure of everything that the whole suite needs, one after the other and before any test runs: test files run beside
 * each other, and two of them that install at once would meet apt's lock. Throws with all that is missing.
 */
export function ensureAll(): void {
  const needs: readonly (() => void)[] = [
    () => ensureCommand('redis-server', '--version'),
    () => void ensurePostgres15(),
    () => ensureCommand('pgbouncer', '--version'),
    () => ensureCommand('nginx', '-v'),
    () => ensureCommand('openssl', 'version'),
    () => ensureCommand('haproxy', '-v'),
    () => ensureCommand('apache2', '-v', 'apache2-bin'),
    () => ensureCommand('python3', '--version'),
    () => ensureCommand('buildah', '--version'),
    () => void ensureGo(),
    () => ensureCommand('docker-compose', 'version'),
    () => ensureCommand('promtool', '--version', 'prometheus'),
    () => ensureCommand('systemd-analyze', '--version', 'systemd'),
    () => ensureCommand('strace', '--version'),
  ];
  const missing = needs.flatMap((need) => {
    try {
      need();
      return [];
    } catch (error) {
      return [(error as Error).message];
    }
  });
  if (missing.length > 0) throw new Error(missing.join('\n'));
}
