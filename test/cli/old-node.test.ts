// What somebody sees whose Node is too old for the program: the versions, not a SyntaxError.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
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
