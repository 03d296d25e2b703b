// Folders for secrets: made with what is missing above them, for us alone, and refused in the system's words.
import assert from 'node:assert/strict';
import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { makePrivateFolder } from '../../src/core/private-file.ts';
import { scratchFolder } from '../cli/processes.ts';

test('a private folder is made with what is missing above it, all of it with mode 0700', () => {
  using scratch = scratchFolder();
  assert.equal(makePrivateFolder(scratch.file('a/b/c')), true);
  for (const path of ['a', 'a/b', 'a/b/c']) assert.equal(statSync(scratch.file(path)).mode & 0o777, 0o700, path);
  assert.equal(makePrivateFolder(scratch.file('a/b/c')), false);
  symlinkSync(scratch.file('a'), scratch.file('link'));
  assert.equal(makePrivateFolder(scratch.file('link')), false);
});

test('a folder that cannot be made is the error of the system, also where Node would try forever', () => {
  using scratch = scratchFolder();
  writeFileSync(scratch.file('plain'), '');
  symlinkSync(scratch.file('nowhere'), scratch.file('dangling'));
  for (const [path, code] of [
    [scratch.file('plain'), 'EEXIST'],
    [scratch.file('plain/x'), 'ENOTDIR'],
    [scratch.file('dangling'), 'ENOENT'],
    ['/proc/x/y', 'ENOENT'],
    ['', 'ENOENT'],
  ] as const)
    assert.throws(() => makePrivateFolder(path), { code }, path);
});
