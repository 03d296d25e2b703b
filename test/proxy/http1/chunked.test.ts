// Chunked bodies: the same bytes whatever the reads, and nothing that another decoder could read in another way (RFC 9112
// section 7.1).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BROKEN, ChunkedBody, MORE } from '../../../src/proxy/outbound/http1/chunked.ts';

/** Decodes `text`, cut at `cuts`; answers the body and where it ended, counted over all parts. */
function decode(text: string, cuts: readonly number[] = []) {
  const body = new ChunkedBody();
  const ends = [...cuts.filter((cut) => cut < text.length), text.length].sort((a, b) => a - b);
  let out = '';
  let from = 0;
  for (const end of ends) {
    // Room on both sides, filled with what would end a line: only the part between counts.
    const bytes = Buffer.from(`\r\n0\r\n\r\n${text.slice(from, end)}\r\n0\r\n\r\n`, 'latin1');
    const at = body.read(bytes, 7, 7 + end - from, (part, partFrom, partTo) => {
      out += part.toString('latin1', partFrom, partTo);
    });
    if (at === BROKEN) return { out, end: BROKEN };
    if (at !== MORE) return { out, end: from + at - 7 };
    from = end;
  }
  return { out, end: MORE };
}

test('chunks, extensions and trailers: the body is what the chunks hold', () => {
  const text = '5\r\nhello\r\n6 ;a="b c"\r\n world\r\nA;x\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nrest';
  assert.deepEqual(decode(text), { out: 'hello world0123456789', end: text.length - 4 });
});

test('the cut of the reads changes nothing', () => {
  const bodies = fc.array(fc.string({ minLength: 1, maxLength: 40 }), { maxLength: 6 });
  fc.assert(
    fc.property(bodies, fc.array(fc.nat(400), { maxLength: 12 }), (parts, cuts) => {
      const bytes = parts.map((part) => Buffer.from(part).toString('latin1'));
      const text = `${bytes.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`;
      assert.deepEqual(decode(text, cuts), { out: bytes.join(''), end: text.length });
    }),
  );
});

for (const [what, text] of Object.entries({
  'a size that is no number': 'x\r\n',
  'an empty size': '\r\n',
  'a sign': '+5\r\nhello\r\n',
  'a prefix': '0x5\r\nhello\r\n',
  'a blank before the size': ' 5\r\nhello\r\n',
  'a blank behind the size': '5 \r\nhello\r\n',
  'a size of thirteen digits': '0000000000005\r\nhello\r\n',
  'a lone line feed behind the size': '5\nhello\r\n',
  'a lone line feed behind the chunk': '5\r\nhello\n',
  'a chunk longer than its size': '5\r\nhello!\r\n',
  'a NUL in an extension': '5;\0\r\nhello\r\n',
  'a lone carriage return in an extension': '5;a\rb\r\nhello\r\n',
  'an endless extension': `5;${'a'.repeat(5000)}`,
  'a trailer without name': '0\r\n: x\r\n\r\n',
  'a folded trailer': '0\r\nA: b\r\n c\r\n\r\n',
  'endless trailers': `0\r\n${'A: b\r\n'.repeat(4000)}\r\n`,
})) {
  test(`refused: ${what}`, () => assert.equal(decode(text).end, BROKEN));
}

test('a body that has not ended asks for more', () => {
  for (const text of ['', '5', '5\r', '5\r\nhel', '5\r\nhello\r\n', '0\r\n', '0\r\nA: b\r\n']) {
    assert.equal(decode(text).end, MORE, JSON.stringify(text));
  }
});
