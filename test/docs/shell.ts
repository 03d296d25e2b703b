// Runs the blocks of a page as a reader would type them: one shell, in order, stopping at the first failure. A network and a
// process namespace of its own let every page use the ports it names, and end whatever it left running.
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandBlock } from './pages.ts';

/** Where a page is run. */
export interface Place {
  /** The reader's folder, clean. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  /** Shell text that makes what the page says is there already; what it sets in PLACEHOLDERS replaces words of blocks. */
  readonly world?: string;
}

/** What a block printed, both streams as a terminal shows them. */
export interface Printed {
  readonly block: CommandBlock;
  readonly output: string;
}

const PATIENCE_MS = 280_000;
const MARK = '\u001e';

/** Runs the blocks; rejects with what the failing one printed. */
export async function runBlocks(
  blocks: readonly CommandBlock[],
  { folder, env, world = '' }: Place,
): Promise<Printed[]> {
  const scripts = join(folder, '.page');
  mkdirSync(scripts);
  const steps = blocks.map(({ text, until }, number) => {
    writeFileSync(join(scripts, `${number}.sh`), `${text}\n`);
    writeFileSync(join(scripts, `${number}.until`), until ?? '');
    const step = until === undefined ? `source .page/${number}.filled` : `foreground ${number}`;
    return `printf '${MARK}${number}\\n'\nfill ${number}\n${step}`;
  });
  const script = join(scripts, 'all.sh');
  writeFileSync(script, [PRELUDE, world, `printf '${MARK}'`, ...steps, `printf '${MARK}end\\n'`, ''].join('\n'));
  const { code, output } = await inNamespaces(script, folder, env);
  const parts = output.split(MARK);
  // What came by the other stream may be read after the end.
  if (code !== 0 || !parts.at(-1)?.startsWith('end\n'))
    throw new Error(`ended with ${code}: ${shown(parts.at(-1), blocks)}`);
  const printed = parts.slice(-1 - blocks.length, -1);
  return blocks.map((block, number) => ({ block, output: (printed[number] as string).slice(`${number}\n`.length) }));
}

/** The part of the output that belongs to the block which failed, with its line. */
function shown(part: string | undefined, blocks: readonly CommandBlock[]): string {
  const block = blocks[Number(/^\d+/.exec(part ?? '')?.[0] ?? Number.NaN)];
  return block === undefined ? `before the first block\n${part}` : `line ${block.line}\n${block.text}\n----\n${part}`;
}

// Words in capitals that a page leaves to the reader (REQUEST_ID) are filled from the variables of that name. What stays in the
// foreground gets SIGINT with its whole group, as a terminal sends it; with 130 a program says that this ended it. `npm ci` says what it
// would do, so that package.json and package-lock.json agree, and gives the dependencies of the tests; .ci/run begins with the real one.
const PRELUDE = `set -eo pipefail
ip link set lo up
PLACEHOLDERS=''
fill() {
  local line
  local text; text=$(cat .page/$1.sh)
  for line in $PLACEHOLDERS; do text=$(sed -E "s/(^|[^A-Z_\\$])$line\\b/\\1\${!line//\\//\\\\/}/g" <<< "$text"); done
  printf '%s\\n' "$text" > .page/$1.filled
}
npm() {
  if [ "$1" != ci ]; then command npm "$@"; return; fi
  command npm "$@" --dry-run --offline
  test -e node_modules || ln -s "$CLONE/node_modules" node_modules
}
foreground() {
  local pid status=0
  set -m
  (source .page/$1.filled) > .page/$1.out 2>&1 & pid=$!
  set +m
  until grep -qF -- "$(cat .page/$1.until)" .page/$1.out; do
    kill -0 $pid 2> /dev/null || { cat .page/$1.out; echo 'it ended by itself'; return 1; }
    sleep 0.1
  done
  kill -INT -- -$pid
  wait $pid || status=$?
  cat .page/$1.out
  test $status = 0 || test $status = 130
}
`;

async function inNamespaces(script: string, folder: string, env: Readonly<Record<string, string>>) {
  const asRoot = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const child = spawn(
    'unshare',
    [...asRoot, '--net', '--pid', '--fork', '--kill-child', '--mount-proc', 'bash', script],
    // A group of its own, so that a page that hangs can be ended whole.
    { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => (output += text));
  }
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  // Not `exit`: what was written last may still be in the pipe then.
  child.once('error', reject).once('close', resolve);
  const timer = setTimeout(() => process.kill(-(child.pid as number), 'SIGKILL'), PATIENCE_MS);
  const code = await promise.finally(() => clearTimeout(timer));
  return { code, output };
}
