// Properties of header handling, on the real program: no sequence of client fields ever yields an identity header, and no set
// of fields that node's parser accepts costs the upstream pool a slot (design 4.11).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { foldName } from '../../src/http/headers.ts';
import { ask, assertForwarded, bearer, head, valuesOf, world } from '../attacks/world.ts';
import { tokenFor } from '../support/sidecar.ts';

const identity = [
  'x-auth-subject',
  'x-auth-issuer',
  'x-auth-client',
  'x-auth-scopes',
  'x-auth-roles',
  'x-auth-tenant',
  'x-auth-token-id',
  'x-auth-assertion',
];
const TOKEN_CHARS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** An identity header in any spelling that some server folds to it. */
const lookAlike = fc
  .constantFrom(...identity)
  .chain((name) =>
    fc
      .tuple(
        ...[...name].map((char) => fc.constantFrom(...(char === '-' ? ['-', '_', '.'] : [char, char.toUpperCase()]))),
      )
      .map((chars) => chars.join('')),
  );
const anyName = fc.string({ unit: fc.constantFrom(...TOKEN_CHARS), minLength: 1, maxLength: 20 });
const known = fc.constantFrom(
  'connection', 'Connection', 'keep-alive', 'te', 'TE', 'trailer', 'upgrade', 'proxy-connection', 'expect', 'x-forwarded-for', 'forwarded',
  'cookie', 'accept', 'content-type', 'content-encoding', 'origin', 'access-control-request-method', 'sec-websocket-protocol', 'sec-websocket-key',
  'http2-settings', 'proxy-authorization', 'x-request-id', 'traceparent', 'date', 'via', 'max-forwards', 'range', 'if-match', '__proto__', 'constructor',
); // biome-ignore format: one line reads better
const value = fc.oneof(
  fc.string({
    unit: fc
      .integer({ min: 0x20, max: 0xff })
      .filter((code) => code !== 0x7f)
      .map((code) => String.fromCharCode(code)),
    maxLength: 40,
  }),
  fc.constantFrom(
    '',
    'close',
    'keep-alive',
    'upgrade',
    'x-auth-subject',
    'close, x-auth-subject, host',
    '100-continue',
    'websocket',
    'h2c',
    'chunked',
    ',',
    '\t',
  ),
);
const fieldOf = (name: fc.Arbitrary<string>) => fc.tuple(name, value).map(([first, second]) => `${first}: ${second}`);

test('no sequence of client fields yields an identity header upstream', async () => {
  await using at = await world();
  const fields = fc.array(fc.oneof(fieldOf(lookAlike), fieldOf(known), fieldOf(anyName)), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(fields, fc.boolean(), async (client, withToken) => {
      at.upstream.clear();
      const token = withToken ? [bearer(tokenFor())] : [];
      await ask(
        at.port,
        head(withToken ? 'GET /admin' : 'GET /public', [...client, ...token, 'Connection: close']),
        1000,
      );
      for (const seen of at.upstream.seen) {
        const names = seen.rawHeaders.filter((_, index) => index % 2 === 0).map(foldName);
        const ours = withToken
          ? ['client', 'issuer', 'scopes', 'subject', 'token-id'].map((word) => `x-auth-${word}`)
          : [];
        assert.deepEqual(names.filter((name) => identity.includes(name)).sort(), ours);
        if (withToken) assert.deepEqual(valuesOf(seen, 'x-auth-subject'), ['alice']);
      }
    }),
    { numRuns: 150 },
  );
});

test('after 200 arbitrary requests the upstream pool still serves', async () => {
  await using at = await world({ defaults: { response_timeout: '500ms' } });
  const fields = fc.array(fc.oneof(fieldOf(known), fieldOf(anyName), fieldOf(lookAlike)), { maxLength: 15 });
  const method = fc.constantFrom(
    'GET',
    'HEAD',
    'POST',
    'PUT',
    'DELETE',
    'OPTIONS',
    'PATCH',
    'PROPFIND',
    'QUERY',
    'M-SEARCH',
    'PURGE',
  );
  const body = fc.constantFrom('', 'Content-Length: 3', 'Transfer-Encoding: chunked');
  const bytesOf = { '': '', 'Content-Length: 3': 'abc', 'Transfer-Encoding: chunked': '3\r\nabc\r\n0\r\n\r\n' };
  const statuses = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(method, fields, body, async (verb, client, framing) => {
      const framed = framing === '' ? client : [...client, framing];
      const bytes =
        head(`${verb} /public`, [...framed, 'Connection: close']) + bytesOf[framing as keyof typeof bytesOf];
      const { status } = await ask(at.port, bytes, 1500);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      assert.ok(status !== 500 && status !== 504, `${status} for ${JSON.stringify(bytes)}`);
    }),
    { numRuns: 200 },
  );
  assert.ok((statuses.get(200) ?? 0) > 50, `enough of them are accepted: ${JSON.stringify([...statuses])}`);
  const after = await Promise.all(
    Array.from({ length: 150 }, () => ask(at.port, head('GET /public', ['Connection: close']))),
  );
  assert.deepEqual([...new Set(after.map(({ status }) => status))], [200], 'more at once than the pool has slots');
  await assertForwarded(at, head('GET /public'));
});
