// Stand-ins for the two base images of the Dockerfile, made of Debian's packages, because registries of images may be out of
// reach: the one with Node, npm and the few programs that the RUN lines use, the other with what distroless/cc is made of.
import { execFile } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const LIBRARIES = ['base-files', 'libc6', 'libgcc-s1', 'libstdc++6', 'netbase', 'tzdata'];
const SHELL = [
  'dash',
  'coreutils',
  'sed',
  'libatomic1',
  'libselinux1',
  'libpcre2-8-0',
  'libacl1',
  'libattr1',
  'libgmp10',
];
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

/** Root file systems of the two bases. */
export interface BaseTrees {
  /** For `node:…-bookworm-slim`: with a shell, Node and npm. */
  readonly node: string;
  /** For `gcr.io/distroless/cc-debian12:nonroot`: libraries, certificates, one user. */
  readonly distroless: string;
}

/** Makes both below `folder` from the packages of this system's release. */
export async function makeBaseTrees(folder: string): Promise<BaseTrees> {
  const packages = join(folder, 'packages');
  mkdirSync(packages);
  await run('apt-get', ['download', '-qq', ...LIBRARIES, ...SHELL], { cwd: packages });
  const trees = { node: join(folder, 'node'), distroless: join(folder, 'distroless') };
  await unpack(packages, [...LIBRARIES, ...SHELL], trees.node);
  await unpack(packages, LIBRARIES, trees.distroless);
  await addNode(trees.node);
  writeFileSync(
    join(trees.distroless, 'etc/passwd'),
    'root:x:0:0::/root:/none\nnonroot:x:65532:65532::/home/nonroot:/none\n',
  );
  return trees;
}

async function unpack(packages: string, names: readonly string[], tree: string): Promise<void> {
  // As in Debian itself: /bin and /lib are links, or packages of either layout would not meet.
  for (const name of ['bin', 'lib', 'lib64', 'sbin']) {
    mkdirSync(join(tree, 'usr', name), { recursive: true });
    symlinkSync(`usr/${name}`, join(tree, name));
  }
  const files = readdirSync(packages);
  for (const name of names) {
    const file = files.find((candidate) => candidate.startsWith(`${name}_`));
    if (file === undefined) throw new Error(`apt-get downloaded no ${name}`);
    // dpkg-deb would put a folder in the place of a link; tar keeps it.
    await run('sh', [
      '-c',
      'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"',
      'sh',
      join(packages, file),
      tree,
    ]);
  }
  for (const name of ['tmp', 'etc/ssl/certs', 'proc', 'dev', 'sys']) mkdirSync(join(tree, name), { recursive: true });
  chmodSync(join(tree, 'tmp'), 0o1777);
  if (existsSync(CERTIFICATES)) cpSync(CERTIFICATES, join(tree, CERTIFICATES));
}

/** Node as it runs this test, and the npm of this machine with its registry and authorities. */
async function addNode(tree: string): Promise<void> {
  const bin = join(tree, 'usr/local/bin');
  mkdirSync(bin, { recursive: true });
  cpSync(realpathSync(process.execPath), join(bin, 'node'));
  const { stdout: cli } = await run('sh', ['-c', 'realpath "$(command -v npm)"']);
  const filter = (path: string) => !/\/npm\/(?:docs|man)$/.test(path);
  const npm = join(tree, 'usr/local/lib/node_modules/npm');
  cpSync(dirname(dirname(cli.trim())), npm, { recursive: true, dereference: true, filter });
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(bin, 'npm'));
  mkdirSync(join(tree, 'usr/local/etc'), { recursive: true });
  const { stdout: registry } = await run('npm', ['config', 'get', 'registry']);
  writeFileSync(join(tree, 'usr/local/etc/npmrc'), `registry=${registry.trim()}\ncafile=${CERTIFICATES}\n`);
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
}

/** Names of the base images that a Dockerfile starts from, with the values of its ARG lines put in. */
export function basesOf(dockerfile: string): string[] {
  const text = readFileSync(dockerfile, 'utf8');
  const values = new Map([...text.matchAll(/^ARG (\w+)=(\S+)$/gm)].map(([, name, value]) => [name, value]));
  return [...text.matchAll(/^FROM (\S+)/gm)].map(([, name]) =>
    (name as string).replace(/\$\{(\w+)\}/g, (_, argument: string) => values.get(argument) ?? ''),
  );
}
