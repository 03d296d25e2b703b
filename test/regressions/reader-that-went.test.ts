// `doorward token --help | head -1` ended with the stack of EPIPE: whoever read the output had gone.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const MAIN = resolve(import.meta.dirname, '../../src/main.ts');

test('a command whose reader has gone ends quietly, and with its own exit code', async () => {
  // `true` has ended before Node has begun to write.
  const script = `"${process.execPath}" "${MAIN}" --help | true; exit "\${PIPESTATUS[0]}"`;
  const { stderr } = await promisify(execFile)('bash', ['-c', script]);
  assert.equal(stderr, '');
});
