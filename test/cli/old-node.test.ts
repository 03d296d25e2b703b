// What somebody sees whose Node is too old for the program: the versions, not a SyntaxError.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { run, scratchFolder } from './processes.ts';

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');

/** Runs `--version` with a Node that says it is another. */
async function runAs(version: string) {
  using folder = scratchFolder();
  const file = folder.file('version.mjs');
  const versions = `{ ...process.versions, node: '${version}' }`;
  writeFileSync(file, `Object.defineProperty(process, 'versions', { value: ${versions} });`);
  return await run(['--version'], { cwd: folder.path, env: { NODE_OPTIONS: `--import=${file}` } });
}

test('a Node that is too old is told which one is needed, and the oldest that will do runs', async () => {
  const { version, engines } = JSON.parse(read('package.json'));
  const oldest = engines.node.replace('>=', '');
  for (const [old, is] of [
    ['20.20.2', false],
    ['24.11.1', false],
    [`${oldest}.0`, true],
    ['30.0.0', true],
  ] as const) {
    const wanted = is
      ? { code: 0, out: `${version}\n`, err: '' }
      : { code: 1, out: '', err: `doorward needs Node ${oldest} or later; this is ${old}\n` };
    assert.deepEqual(await runAs(old), wanted, old);
  }
});

test('what looks at the version is itself read by an old Node: it imports nothing before', () => {
  assert.doesNotMatch(read('src/main.ts'), /^import |\busing\b/m);
});

// Where the system has a Node that is too old, it is asked as people ask it: the file that `npm install --global` links to.
const systemNode = '/usr/bin/node';
const systemVersion = existsSync(systemNode)
  ? execFileSync(systemNode, ['--version'], { encoding: 'utf8' }).trim()
  : '';
if (/^v(?:1\d|2[0-3])\./.test(systemVersion)) {
  test(`the Node ${systemVersion} of this system says so too`, () => {
    using folder = scratchFolder();
    // The build only takes types away, and main.ts has none.
    const file = folder.file('main.mjs');
    writeFileSync(file, read('src/main.ts'));
    const { status, stdout, stderr } = spawnSync(systemNode, [file, 'check'], { encoding: 'utf8' });
    assert.deepEqual(
      [status, stdout, stderr],
      [1, '', `doorward needs Node 24.12 or later; this is ${systemVersion.slice(1)}\n`],
    );
  });
}
