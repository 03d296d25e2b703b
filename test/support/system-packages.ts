// Programs that tests need from the system: found on the PATH, or installed with apt-get, all that are missing in one go.
import { spawnSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { join } from 'node:path';

/** Something that a package of the system brings. */
interface Need {
  readonly systemPackage: string;
  /** Where the system has no such package. */
  readonly elsewhere?: string;
  readonly isMet: () => boolean;
}

const command = (name: string, versionFlag: string, systemPackage = name): Need => ({
  systemPackage,
  isMet: () => spawnSync(name, [versionFlag]).status === 0,
});
const file = (path: string, systemPackage: string): Need => ({ systemPackage, isMet: () => existsSync(path) });

const POSTGRES_15 = '/usr/lib/postgresql/15/bin';
const GO_PATH = '/usr/share/gocode';

const postgres15: Need = {
  ...file(join(POSTGRES_15, 'postgres'), 'postgresql-15'),
  elsewhere: 'where the system has none, from apt.postgresql.org',
};
const go: readonly Need[] = [
  command('go', 'version', 'golang-go'),
  file(join(GO_PATH, 'src/github.com/Masterminds/sprig'), 'golang-github-masterminds-sprig-dev'),
  file(join(GO_PATH, 'src/gopkg.in/yaml.v3'), 'golang-gopkg-yaml.v3-dev'),
];

const PYTHON_PACKAGES = '/usr/lib/python3/dist-packages';
const pythonJwt: readonly Need[] = [
  command('/usr/bin/python3', '--version', 'python3'),
  file(join(PYTHON_PACKAGES, 'jwt'), 'python3-jwt'),
  file(join(PYTHON_PACKAGES, 'cryptography'), 'python3-cryptography'),
];

const FAKE_CLOCK = '/usr/lib/*/faketime/libfaketime.so.1';
const fakeClock: Need = { systemPackage: 'libfaketime', isMet: () => globSync(FAKE_CLOCK).length > 0 };

/** Makes sure that `name` answers to `versionFlag`; throws with the command to type when it cannot be installed. */
export function ensureCommand(name: string, versionFlag: string, systemPackage: string = name): void {
  ensure([command(name, versionFlag, systemPackage)]);
}

/** Makes sure that PostgreSQL 15, the oldest that is supported, is there; returns the folder of its programs. */
export function ensurePostgres15(): string {
  ensure([postgres15]);
  return POSTGRES_15;
}

/** Makes sure of Go and of the libraries that test/deploy/helm-render is built with; returns the GOPATH of both. */
export function ensureGo(): string {
  ensure(go);
  return GO_PATH;
}

/** Makes sure of the system's own Python with PyJWT, which examples/apps/python needs; returns that Python. */
export function ensurePythonJwt(): string {
  ensure(pythonJwt);
  return '/usr/bin/python3';
}

/** Makes sure of libfaketime; returns the library that a program is to be started with (LD_PRELOAD). */
export function ensureFakeClock(): string {
  ensure([fakeClock]);
  return globSync(FAKE_CLOCK)[0] as string;
}

/** Makes sure of what the picture of the dashboard is taken with, and of the typeface of Grafana; no test needs them. */
export function ensureCamera(): void {
  ensure([
    command('chromium', '--version'),
    command('pngquant', '--version'),
    file('/usr/share/fonts/opentype/inter/Inter-Regular.otf', 'fonts-inter'),
  ]);
}

/**
 * Makes sure of everything that the whole suite needs, before any test runs: test files run beside each other, and two of
 * them that install at once would meet apt's lock. Throws with all that is missing.
 */
export function ensureAll(): void {
  ensure([
    command('redis-server', '--version'),
    postgres15,
    command('pgbouncer', '--version'),
    command('nginx', '-v'),
    command('openssl', 'version'),
    command('haproxy', '-v'),
    command('caddy', 'version'),
    command('apache2', '-v', 'apache2-bin'),
    command('python3', '--version'),
    ...pythonJwt,
    command('buildah', '--version'),
    ...go,
    command('docker-compose', 'version'),
    command('promtool', '--version', 'prometheus'),
    command('systemd-analyze', '--version', 'systemd'),
    command('strace', '--version'),
    fakeClock,
  ]);
}

function ensure(needs: readonly Need[]): void {
  const missing = needs.filter(({ isMet }) => !isMet());
  if (missing.length === 0) return;
  install(missing.map(({ systemPackage }) => systemPackage));
  const lacking = missing.filter(({ isMet }) => !isMet());
  if (lacking.length === 0) return;
  const words = lacking.map(
    ({ systemPackage, elsewhere }) =>
      `${systemPackage} is needed: install it (apt-get install ${systemPackage}${elsewhere ? `; ${elsewhere}` : ''}) and run again`,
  );
  throw new Error(words.join('\n'));
}

function install(packages: readonly string[]): void {
  console.error(`installing with apt-get: ${packages.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const run = (...args: string[]) => spawnSync('apt-get', args, { stdio: 'inherit', env }).status === 0;
  run('update', '-qq');
  // Without recommendations: those of docker-compose alone are a whole engine.
  const options = ['install', '-y', '-qq', '--no-install-recommends'];
  // One that apt does not know spoils a whole call.
  if (!run(...options, ...packages)) for (const one of packages) run(...options, one);
}
