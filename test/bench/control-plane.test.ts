// The bench of row L26 itself: the operations that it times really happen. How long they take decides nothing here.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

test('L26: the bench times every token operation, and a revocation until another replica refuses', async () => {
  const bench = join(import.meta.dirname, 'control-plane.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [bench, '--seconds', '0.2']);
  const counts = new Map(
    [...stdout.matchAll(/^\| (\S.*?) +\| +(\d+) \|/gm)].map(([, what = '', count]) => [what, Number(count)]),
  );
  for (const what of ['client_credentials', 'authorization_code', 'refresh_token']) {
    assert.ok((counts.get(`token: ${what}`) ?? 0) > 0, stdout);
  }
  for (const what of ['introspect', 'revocation: call on A to first refusal on B']) {
    assert.ok((counts.get(what) ?? 0) > 0, stdout);
  }
});
