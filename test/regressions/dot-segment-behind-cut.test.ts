// Found by the fuzzer: `..%3f` is no dot segment as it stands, but is one for a server that decodes before it splits off the
// query, and `..%20` for one that drops trailing blanks. Such a path left its prefix where a parent had another policy.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertForwarded, assertRefused, head, world } from '../attacks/world.ts';

test('attack 2: a dot segment that shows only when an encoded ?, # or blank is read is refused', async () => {
  const routes = {
    open: { match: { prefix: '/a/b' }, auth: 'none', relax: ['double_encoding'] },
    site: { match: { prefix: '/' } },
  };
  await using at = await world({ routes });
  for (const end of ['..%3f', '..%23', '.%3fx', '..%20', '..%3fx=y/c', '..%20/c', '..%253f', '%2e.%3F']) {
    await assertRefused(at, head(`GET /a/b/${end}`), 400, { what: end });
  }
  for (const path of ['/a/b/c..%3f', '/a/b/...', '/a/b/.x%20', '/a/b/c%20d']) {
    assert.equal((await assertForwarded(at, head(`GET ${path}`))).url, path);
  }
});
