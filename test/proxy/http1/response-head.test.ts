// The strict reading of an answer's head: what is accepted, how long the body is, and everything that two programs could read
// in two ways and that is therefore refused (RFC 9112 sections 4 to 6).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mayBecomeHead, readResponseHead } from '../../../src/proxy/outbound/http1/response-head.ts';

const read = (lines: readonly string[], method = 'GET') => readResponseHead(lines.join('\r\n'), method);
const ok = (...fields: string[]) => read(['HTTP/1.1 200 OK', ...fields]);

test('names keep their spelling, values lose blanks around them, repeated fields stay apart', () => {
  const head = ok('Set-Cookie: a=1', 'set-cookie:b=2', 'X-Empty:', 'X-Pad: \t v w \t', 'Content-Length: 3');
  assert.deepEqual(head?.fields, [
    ...['Set-Cookie', 'a=1', 'set-cookie', 'b=2', 'X-Empty', '', 'X-Pad', 'v w', 'Content-Length', '3'],
  ]);
  assert.equal(head.framing, 3);
});

test('a head may have no reason phrase, with or without the space before it', () => {
  assert.equal(read(['HTTP/1.1 200'])?.reasonPhrase, '');
  assert.equal(read(['HTTP/1.1 200 '])?.reasonPhrase, '');
  assert.equal(read(['HTTP/1.1 404 Not \xe9'])?.reasonPhrase, 'Not \xe9');
});

test('hop-by-hop fields and those named by Connection go no further, and ours cannot be set by an upstream', () => {
  const head = ok(
    'Connection: X-Own, close',
    'X-Own: 1',
    'Keep-Alive: timeout=5',
    'Upgrade: h2c',
    'RateLimit: a',
    'A: b',
  );
  assert.deepEqual(head?.fields, ['A', 'b']);
  assert.equal(head.persistent, false);
  assert.equal(head.keepAliveMs, 5000);
});

test('the body is as long as RFC 9112 section 6.3 says', () => {
  const cases: [string[], string, unknown][] = [
    [['HTTP/1.1 200 OK', 'Content-Length: 0'], 'GET', 'none'],
    [['HTTP/1.1 200 OK', 'Content-Length: 12'], 'HEAD', 'none'],
    [['HTTP/1.1 204 No Content', 'Content-Length: 12'], 'GET', 'none'],
    [['HTTP/1.1 304 Not Modified', 'Content-Length: 12'], 'GET', 'none'],
    [['HTTP/1.1 103 Early Hints'], 'GET', 'none'],
    [['HTTP/1.1 200 OK', 'transfer-encoding: CHUNKED'], 'GET', 'chunked'],
    [['HTTP/1.1 200 OK'], 'GET', 'until_close'],
    [['HTTP/1.0 200 OK', 'Content-Length: 5'], 'GET', 5],
  ];
  for (const [lines, method, framing] of cases) assert.equal(read(lines, method)?.framing, framing, lines.join('|'));
});

test('which answers leave the connection open', () => {
  assert.equal(ok('Content-Length: 1')?.persistent, true);
  assert.equal(ok()?.persistent, false);
  assert.equal(ok('Content-Length: 1', 'Connection: Close')?.persistent, false);
  assert.equal(read(['HTTP/1.0 200 OK', 'Content-Length: 1'])?.persistent, false);
  assert.equal(read(['HTTP/1.0 200 OK', 'Content-Length: 1', 'Connection: keep-alive'])?.persistent, true);
});

for (const [what, lines] of Object.entries({
  'another version': ['HTTP/2.0 200 OK'],
  'another protocol': ['HTTQ/1.1 200 OK'],
  'a short status': ['HTTP/1.1 20 OK'],
  'a status below 100': ['HTTP/1.1 099 No'],
  'two spaces': ['HTTP/1.1  200 OK'],
  'a control in the reason': ['HTTP/1.1 200 O\x00K'],
  'a space before the colon': ['HTTP/1.1 200 OK', 'Content-Length : 3'],
  'a folded line': ['HTTP/1.1 200 OK', 'A: b', ' c: d'],
  'a line without colon': ['HTTP/1.1 200 OK', 'garbage'],
  'an empty name': ['HTTP/1.1 200 OK', ': v'],
  'a lone line feed': ['HTTP/1.1 200 OK', 'A: b\nContent-Length: 3'],
  'a lone carriage return': ['HTTP/1.1 200 OK', 'A: b\rContent-Length: 3'],
  'a NUL in a value': ['HTTP/1.1 200 OK', 'A: b\0'],
  'a signed length': ['HTTP/1.1 200 OK', 'Content-Length: +3'],
  'a hexadecimal length': ['HTTP/1.1 200 OK', 'Content-Length: 0x3'],
  'an empty length': ['HTTP/1.1 200 OK', 'Content-Length:'],
  'a list of lengths': ['HTTP/1.1 200 OK', 'Content-Length: 3, 3'],
  'a length of sixteen digits': ['HTTP/1.1 200 OK', 'Content-Length: 1000000000000000'],
  'two equal lengths': ['HTTP/1.1 200 OK', 'Content-Length: 3', 'Content-Length: 3'],
  'a length beside chunked': ['HTTP/1.1 200 OK', 'Content-Length: 3', 'Transfer-Encoding: chunked'],
  'chunked twice': ['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
  'a coding before chunked': ['HTTP/1.1 200 OK', 'Transfer-Encoding: gzip, chunked'],
  'an unknown coding': ['HTTP/1.1 200 OK', 'Transfer-Encoding: xchunked'],
  'chunked in HTTP/1.0': ['HTTP/1.0 200 OK', 'Transfer-Encoding: chunked'],
})) {
  test(`refused: ${what}`, () => assert.equal(read(lines), undefined));
}

test('the beginning of a good head may become one, whatever the cut; a stray line break may not', () => {
  const whole = 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\n\r\n';
  for (let at = 0; at < whole.length; at += 1)
    assert.ok(mayBecomeHead(whole.slice(0, at)), JSON.stringify(whole.slice(0, at)));
  for (const bad of ['\r\nHTTP', 'HTTP/2', 'SSH-2.0', 'HTTP/1.1 200 OK\nA: b', 'HTTP/1.1 200 OK\rA', '\n']) {
    assert.equal(mayBecomeHead(bad), false, JSON.stringify(bad));
  }
});

test('no text makes the reader throw, and what it lets through holds no line break', () => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      'HTTP/1.1 200 OK',
      '\r\n',
      '\n',
      '\r',
      ': ',
      'Content-Length',
      'Connection',
      '3',
      'close',
      ',',
      '\0',
    ),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = Buffer.from(`HTTP/1.1 200 OK\r\n${pieces.join('')}`).toString('latin1');
      for (const one of readResponseHead(text, 'GET')?.fields ?? []) assert.doesNotMatch(one, /[\r\n\0]/);
    }),
    { numRuns: 2000 },
  );
});
