// Chunked bodies of upstreams: however the bytes are cut, the same body and the same end; and the reference reading agrees.
import assert from 'node:assert/strict';
import { BROKEN, ChunkedBody, MORE } from '../../../src/proxy/outbound/http1/chunked.ts';
import type { Target } from '../engine.ts';
import { randomFrom } from '../random.ts';

/** Feeds `bytes` in pieces that `seed` cuts; the body so far, and where it ended (MORE, BROKEN or a position). */
function readIn(bytes: Buffer, cuts: readonly number[]): { body: string; end: number } {
  const chunked = new ChunkedBody();
  let body = '';
  for (const [at, from] of cuts.entries()) {
    const to = cuts[at + 1] ?? bytes.length;
    // Behind `to` stand the bytes of others.
    const shared = Buffer.concat([Buffer.alloc(7, 'x'), bytes.subarray(from, to), Buffer.from('0\r\n\r\n')]);
    const end = chunked.read(shared, 7, 7 + to - from, (part, partFrom, partTo) => {
      body += part.toString('latin1', partFrom, partTo);
    });
    if (end === BROKEN) return { body, end };
    if (end !== MORE) return { body, end: from + end - 7 };
  }
  return { body, end: MORE };
}

/** The body by RFC 9112 section 7.1, from the whole text; undefined when it is not whole and sound. */
function reference(text: string): { body: string; end: number } | undefined {
  let at = 0;
  let body = '';
  for (;;) {
    const size = /^([0-9A-Fa-f]{1,12})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?\r\n/.exec(text.slice(at));
    if (size === null) return undefined;
    at += size[0].length;
    const length = Number.parseInt(size[1] as string, 16);
    if (length === 0) break;
    if (text.slice(at + length, at + length + 2) !== '\r\n') return undefined;
    body += text.slice(at, at + length);
    at += length + 2;
  }
  const trailers = /^(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n/.exec(text.slice(at));
  return trailers === null ? undefined : { body, end: at + trailers[0].length };
}

/** The first byte of an input says how the rest is cut. */
export const target: Target = {
  name: 'chunked',
  files: /src\/proxy\/outbound\/http1\/chunked/,
  seeds: [
    'a5\r\nhello\r\n0\r\n\r\n',
    'b1;x=y\r\na\r\n00\r\nt: u\r\n\r\nHTTP/1.1',
    'c5\nhello',
    'd0\r\n\r\n',
    'eFFFFFFFFFFFF\r\n',
  ],
  words: [
    '\r\n',
    '0\r\n\r\n',
    '1\r\na\r\n',
    ';',
    '\n',
    '\r',
    '\t',
    'ffffffffffff',
    '0000000000001',
    'x: y\r\n',
    ': y\r\n',
    'HTTP/1.1 200 OK\r\n\r\n',
  ],
  maxBytes: 300,
  check(input) {
    const bytes = input.subarray(1);
    const random = randomFrom(input[0] ?? 0);
    const cuts = [
      0,
      ...Array.from({ length: 1 + random.below(6) }, () => random.below(bytes.length + 1)).sort((a, b) => a - b),
    ];
    const whole = readIn(bytes, [0]);
    for (const split of [cuts, Array.from({ length: Math.max(bytes.length, 1) }, (_, at) => at)])
      assert.deepEqual(readIn(bytes, split), whole);
    const wanted = reference(bytes.toString('latin1'));
    if (wanted === undefined) assert.ok(whole.end === MORE || whole.end === BROKEN);
    else assert.deepEqual(whole, wanted);
  },
};
