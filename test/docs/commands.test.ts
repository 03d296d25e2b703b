// Every command of every page is run as it stands, in order, in a clean folder, with the program installed as the first page says.
// What cannot be run here is listed in not-run.ts, block by block, with its reason.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ensureCommand } from '../support/system-packages.ts';
import { notRun } from './not-run.ts';
import { isAsShown, type Page, parsePage, readPages } from './pages.ts';
import { runBlocks } from './shell.ts';
import { worldOf } from './worlds.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'doorward-docs-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

const pages = readPages();
const INSTALLING = 'docs/getting-started.md';
const home = join(scratch, 'home');
// With the npm that runs this test, and the Node that the machine has: the reader's, whatever it is.
const npm = process.env.PATH?.split(':').find((folder) => existsSync(join(folder, 'npm')));
const system = `${npm}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
const env = {
  HOME: home,
  LANG: 'C.UTF-8',
  // What the first page says: `doorward`, which it installs, and a Node that will do.
  PATH: `${home}/.local/bin:${dirname(process.execPath)}:${system}`,
  npm_config_update_notifier: 'false',
  // A clone, whatever the folder of the page is: for worlds/, and for `git clone`.
  CLONE: join(scratch, 'clone'),
  // Some hundred starts of the program: a third of each is compiling.
  NODE_COMPILE_CACHE: join(scratch, 'compiled'),
};

/** Makes the repository that pages clone: what git tracks or would track here, without most tests, whose folders others write to. */
async function makeRepository(): Promise<void> {
  const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    maxBuffer: 16 * 1024 * 1024,
  });
  const wanted = /^(?:src|config|deploy|docs|examples|\.ci)\/|^test\/(?:run\.ts$|core\/|fuzz\/|support\/)|^[^/]+$/;
  for (const file of stdout.split('\0').filter((name) => wanted.test(name)))
    cpSync(join(root, file), join(env.CLONE, file), { recursive: true });
  const author = ['-c', 'user.name=test', '-c', 'user.email=test@localhost'];
  for (const args of [
    ['init', '--quiet'],
    ['add', '--all'],
    [...author, 'commit', '--quiet', '--message', 'all'],
  ])
    await run('git', args, { cwd: env.CLONE, env });
  symlinkSync(join(root, 'node_modules'), join(env.CLONE, 'node_modules'));
}

/** The reader's folder: a clone, or one with a clone in it, or one where the page says how to get it. */
async function makeFolder({ name, needs }: Page): Promise<string> {
  const folder = join(scratch, name.replaceAll('/', '-'));
  if (needs.includes('clone')) {
    await run('git', ['clone', '--quiet', env.CLONE, folder], { env });
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    return folder;
  }
  mkdirSync(folder);
  if (!needs.includes('repository')) symlinkSync(env.CLONE, join(folder, 'doorward'));
  return folder;
}

async function runPage(page: Page): Promise<void> {
  const folder = await makeFolder(page);
  await using world = await worldOf(page.needs);
  const blocks = page.blocks.filter((block) => block.notRun === undefined);
  const own = page.name === INSTALLING ? { PATH: system } : {};
  const printed = await runBlocks(blocks, { folder, env: { ...env, ...own, ...world.env }, world: world.script });
  for (const { block, output } of printed) {
    if (block.expected === undefined || isAsShown(block.expected, output)) continue;
    assert.fail(`${page.name}:${block.line} prints\n${output}\nand not\n${block.expected}`);
  }
}

before(async () => {
  for (const [name, flag, from] of [
    ['unshare', '--version', 'util-linux'],
    ['ip', '-V', 'iproute2'],
    ['mount', '--version', 'mount'],
    ['systemd-analyze', '--version', 'systemd'],
    ['curl', '--version', 'curl'],
    ['jq', '--version', 'jq'],
    ['nginx', '-v', 'nginx'],
    ['promtool', '--version', 'prometheus'],
  ] as const)
    ensureCommand(name, flag, from);
  mkdirSync(home);
  mkdirSync(env.CLONE);
  await makeRepository();
});

// It installs what the other pages use, so it comes first and alone.
test(INSTALLING, { timeout: 300_000 }, () => runPage(pages.find(({ name }) => name === INSTALLING) as Page));

describe('the commands of the other pages', { concurrency: 3, timeout: 600_000 }, () => {
  for (const page of pages)
    if (page.name !== INSTALLING && page.blocks.some((block) => block.notRun === undefined))
      test(page.name, { timeout: 300_000 }, () => runPage(page));
});

test('what is not run is known, block by block, with its reason', () => {
  const left = pages.flatMap(({ name, blocks }) =>
    blocks
      .filter((block) => block.notRun !== undefined)
      .map(({ notRun: reason, text }) => [name, reason, text.split('\n')[0]] as const),
  );
  assert.deepEqual(left, notRun);
});

test('every link leads somewhere, and every page of docs/ can be reached from the first', () => {
  const linked: string[] = [];
  for (const { name, text } of pages)
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? join(root, name) : join(root, dirname(name), path);
      assert.ok(existsSync(file), `${name}: ${target}`);
      linked.push(file);
      if (anchor !== undefined) assert.ok(anchorsOf(file).includes(anchor), `${name}: ${target}`);
    }
  for (const { name } of pages)
    if (name !== 'README.md') assert.ok(linked.includes(join(root, name)), `nothing links to ${name}`);
});

/** The anchors that a Markdown file has, as its headings give them. */
const anchorsOf = (file: string) =>
  [...readFileSync(file, 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

test('commands stand in fenced blocks, where they are run', () => {
  for (const { name, text } of pages) {
    const outside = text.replace(/^```[\s\S]*?^```$/gm, '');
    assert.doesNotMatch(outside, /^ {4,}(?:doorward|npm|npx|curl|docker|kubectl|helm|node|git|openssl) /m, name);
  }
});

test('a page that prints something else, or a command that fails, is found', async () => {
  const page = (text: string) => ({ ...parsePage('planted.md', text), name: `docs/planted-${text.length}.md` });
  await runPage(page('```sh\necho one two\n```\n\n```text\none …\n```\n'));
  await assert.rejects(
    runPage(page('```sh\necho one two three\n```\n```text\none …w\n```\n')),
    /prints\none two three/,
  );
  await assert.rejects(runPage(page('```sh\necho one\n```\n```sh\nfalse\n```\n')), /ended with 1: line 4\nfalse/);
});

test('a file is saved under its name, and what stays in the foreground is ended when it has said what it is to say', async () => {
  const page = (text: string) => ({
    ...parsePage('planted.md', text),
    name: `docs/planted-foreground-${text.length}.md`,
  });
  const foreground = '```sh foreground until=ready $1\n';
  await runPage(
    page(
      `\`\`\`yaml file=a.yaml\n$HOME: 'b'\n\`\`\`\n${foreground}cat a.yaml; echo 'ready $1'; sleep 1000\n\`\`\`\n\`\`\`text\n$HOME: 'b'\nready $1\n\`\`\`\n`,
    ),
  );
  await assert.rejects(runPage(page(`${foreground}echo never\n\`\`\`\n`)), /never\nit ended by itself/);
  const failing = `${foreground}trap 'exit 7' INT; echo 'ready $1'; while true; do sleep 0.1; done\n\`\`\`\n`;
  await assert.rejects(runPage(page(failing)), /ended with 1/);
});

test('what a block shows is compared line by line, with … for what changes', () => {
  const table: readonly [string, string, boolean][] = [
    ['a\nb', 'a\nb\n', true],
    ['a', 'a\nb\n', false],
    ['a\n…\nd', 'a\nb\nc\nd\n', true],
    ['a\n…', 'a\n', true],
    ['{"id":"…","x":1}', '{"id":"q.*","x":1}\n', true],
    ['a.c', 'abc\n', false],
    ['', '', true],
  ];
  for (const [expected, output, wanted] of table) assert.equal(isAsShown(expected, output), wanted, expected);
});
