// Answers of upstreams on one connection: however the bytes are cut, the client is told the same; and a head that is accepted
// has one framing, no hop-by-hop field and nothing that could break out of its line.
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { Connection } from '../../../src/proxy/outbound/http1/connection.ts';
import type { ResponseHead } from '../../../src/proxy/outbound/http1/response-head.ts';
import type { Target } from '../engine.ts';
import { randomFrom } from '../random.ts';

/** What a reader is told, in order; bodies joined. */
interface Told {
  heads: ResponseHead[];
  body: string;
  ending: string;
}

const owner = { connected: () => {}, unreachable: () => {}, freed: () => {}, closed: () => {} };

function tell(bytes: Buffer, cuts: readonly number[], method: string): Told {
  const told: Told = { heads: [], body: '', ending: '' };
  const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const connection = new Connection(socket as unknown as Socket, owner, 'connect');
  connection.send('GET / HTTP/1.1\r\n\r\n', method, false, {
    onConnect: () => {},
    onHead: (head) => void told.heads.push(head),
    onData: (part, from, to) => {
      told.body += part.toString('latin1', from, to);
    },
    onEnd: () => {
      told.ending += 'end';
    },
    onFailure: ({ reason }) => {
      told.ending += reason;
    },
    onPause: () => {},
    onDrain: () => {},
  });
  for (const [at, from] of cuts.entries()) {
    const to = cuts[at + 1] ?? bytes.length;
    if (to === from) continue;
    // One buffer for all reads, as the real one: what stands in it must not outlive the call.
    const shared = Buffer.alloc(to - from + 16, '\r\n');
    bytes.copy(shared, 0, from, to);
    if (!socket.destroyed) connection.take(shared, to - from);
    shared.fill('Z');
  }
  connection.destroy();
  return told;
}

const OURS =
  /^(?:connection|keep-alive|proxy-authenticate|proxy-connection|te|trailer|transfer-encoding|upgrade|ratelimit|ratelimit-policy)$/i;

/** The first byte of an input says how the rest is cut, and what was asked. */
export const target: Target = {
  name: 'answer',
  files: /src\/proxy\/outbound\/http1\/(?:connection|chunked|response-head)\.ts/,
  seeds: [
    'aHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    'bHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
    'cHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\nConnection: close, x\r\nX: y\r\n\r\n',
    'dHTTP/1.0 200\r\nKeep-Alive: timeout=5\r\n\r\nuntil close',
    'eHTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nContent-Type: a/b \r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
  ],
  words: [
    '\r\n', '\r\n\r\n', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 101 X\r\n\r\n', 'Content-Length: 1\r\n', 'Content-Length: 0\r\n', 'Transfer-Encoding: chunked\r\n', 'Connection: close\r\n',
    'Connection: x\r\n', 'RateLimit: "x";r=1\r\n', 'Trailer: x\r\n', ': ', '\n', '\r', '\0', 'HTTP/1.0', ' ', '\t', '0\r\n\r\n', 'content-length:', 'Upgrade: h2c\r\n', '100 Continue', '\x7f',
  ], // biome-ignore format: a word list
  maxBytes: 600,
  check(input) {
    const bytes = input.subarray(1);
    const kind = input[0] ?? 0;
    const method = kind % 7 === 0 ? 'HEAD' : 'GET';
    const random = randomFrom(kind);
    const cuts = [
      0,
      ...Array.from({ length: 1 + random.below(6) }, () => random.below(bytes.length + 1)).sort((a, b) => a - b),
    ];
    const whole = tell(bytes, [0], method);
    const split = tell(bytes, cuts, method);
    const single = tell(
      bytes,
      Array.from({ length: Math.max(bytes.length, 1) }, (_, at) => at),
      method,
    );
    assert.deepEqual(split.heads, whole.heads);
    assert.deepEqual([split.body, split.ending], [whole.body, whole.ending]);
    assert.deepEqual([single.heads, single.body, single.ending], [whole.heads, whole.body, whole.ending]);
    assert.ok(whole.heads.length <= 1 && ['', 'end', 'upstream_invalid'].includes(whole.ending));
    for (const { fields, status, framing, reasonPhrase } of whole.heads) {
      assert.ok(status >= 200 && status <= 999);
      assert.doesNotMatch(fields.join('\x01') + reasonPhrase, /[\r\n\0\x7f]/);
      for (let at = 0; at < fields.length; at += 2) assert.doesNotMatch(fields[at] as string, OURS);
      const lengths = fields.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'content-length');
      assert.ok(lengths.length <= 1 && (framing !== 'chunked' || lengths.length === 0));
      if (typeof framing === 'number') assert.ok(whole.body.length <= framing);
    }
  },
};
