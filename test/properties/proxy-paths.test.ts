// Property of paths, on the real program: whatever is forwarded is byte for byte what was sent, and it never lies outside the
// route that judged it under any reading that we know lenient servers to have.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ask, head, world } from '../attacks/world.ts';

const piece = fc.constantFrom(
  '/', '//', '.', '..', '%2e', '%2E', '%2f', '%5c', '\\', '%25', '%252e', '%252f', ';', ';x=1', '%3b', '%00', '%c0%ae', '#', '%23', '?', '%3f', '%', '%zz',
  'admin', 'ADMIN', '%61dmin', 'public', 'a', 'b', '~', '%20', '.', '\xe9', '@', ':', '*', '&', '=', '+', "'", '(', '[', '|', '"', '<',
); // biome-ignore format: one line reads better
const target = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));

/** What the most lenient of servers would make of a path: decoded to the end, folded, dot segments resolved. */
function leniently(path: string): string {
  let text = path;
  for (let round = 0; round < 5; round += 1)
    text = text.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  const cut = text
    .replace(/[?#].*$/s, '')
    .replace(/\\/g, '/')
    .replace(/;[^/]*/g, '')
    .toLowerCase();
  const parts: string[] = [];
  for (const part of cut.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.' && part !== '') parts.push(part.replace(/[. ]+$/, ''));
  }
  return `/${parts.join('/')}`;
}

for (const relax of [[], ['encoded_slash', 'double_slash', 'double_encoding']]) {
  test(`what is forwarded is byte for byte what was sent, and never a protected path (relax: ${relax.join(', ') || 'none'})`, async () => {
    const routes = {
      admin: { match: { prefix: '/admin' } },
      inner: { match: { prefix: '/public/admin' } },
      public: { match: { prefix: '/public' }, auth: 'none', relax },
      site: { match: { prefix: '/' }, auth: 'none', relax },
    };
    await using at = await world({ routes });
    let forwarded = 0;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('/', '/public/', '/public', '/a/'), target, async (start, rest) => {
        at.upstream.clear();
        const sent = start + rest;
        const { status } = await ask(at.port, head(`GET ${sent}`, ['Connection: close']), 1000);
        assert.ok([200, 400, 401].includes(status), `${status} for ${sent}`);
        for (const { url } of at.upstream.seen) {
          forwarded += 1;
          assert.equal(url, sent);
          assert.doesNotMatch(leniently(sent.split('?')[0] as string), /^\/(?:public\/)?admin(?:\/|$)/, sent);
        }
      }),
      { numRuns: 400, seed: 7 },
    );
    assert.ok(forwarded > 20, `${forwarded} were forwarded`);
  });
}
