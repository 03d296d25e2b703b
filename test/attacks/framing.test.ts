// Attacks 44 to 46 and 53 to 56: where a message ends is never open to two readings.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { sendRaw } from '../support/raw-client.ts';
import { tokenFor } from '../support/sidecar.ts';
import {
  ask,
  assertForwarded,
  assertProblem,
  assertRefused,
  bearer,
  eventually,
  head,
  valuesOf,
  warmWorld,
  world,
} from './world.ts';

const smuggled = 'GET /public/smuggled HTTP/1.1\r\nHost: app\r\n\r\n';

const framings: Record<string, readonly string[]> = {
  'CL and TE': ['Content-Length: 5', 'Transfer-Encoding: chunked'],
  'TE and CL': ['Transfer-Encoding: chunked', 'Content-Length: 5'],
  'chunked, identity': ['Transfer-Encoding: chunked, identity'],
  'identity, chunked': ['Transfer-Encoding: identity, chunked'],
  'gzip, chunked': ['Transfer-Encoding: gzip, chunked'],
  identity: ['Transfer-Encoding: identity'],
  xchunked: ['Transfer-Encoding: xchunked'],
  'vertical tab': ['Transfer-Encoding: \x0bchunked'],
  'chunked twice': ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
  'quoted chunked': ['Transfer-Encoding: "chunked"'],
  'empty TE': ['Transfer-Encoding: '],
};
for (const [name, fields] of Object.entries(framings)) {
  test(`attack 44: ${name} is refused and the connection closed`, async () => {
    await using at = await warmWorld();
    for (const path of ['/public', '/admin']) {
      const bytes = `${head(`POST ${path}`, fields)}0\r\n\r\n${smuggled}`;
      await assertRefused(at, bytes, 400, { closed: true, what: name });
    }
  });
}

test('attack 44: Transfer-Encoding from an HTTP/1.0 client is refused and the connection closed', async () => {
  await using at = await warmWorld();
  const bytes = `${head('POST /public', ['Transfer-Encoding: chunked', 'Connection: keep-alive'], 'HTTP/1.0')}0\r\n\r\n${smuggled}`;
  await assertRefused(at, bytes, 400, { closed: true });
});

for (const value of ['', '+5', '-5', '5,5', '5 5', '0x5', '5\x0b', '1e1', '99999999999999999999', '5, 6']) {
  test(`attack 45: Content-Length ${JSON.stringify(value)} is refused and the connection closed`, async () => {
    await using at = await warmWorld();
    await assertRefused(at, `${head('POST /public', [`Content-Length: ${value}`])}hello${smuggled}`, 400, {
      closed: true,
    });
  });
}

test('attack 45: a repeated Content-Length is refused, in every spelling, and never emitted', async () => {
  await using at = await warmWorld();
  for (const second of ['Content-Length: 5', 'content-length: 6', 'CONTENT-LENGTH: 5']) {
    const bytes = `${head('POST /public', ['Content-Length: 5', second])}hello${smuggled}`;
    await assertRefused(at, bytes, 400, { closed: true, what: second });
  }
  for (const [fields, body] of [
    [['cOnTeNt-LeNgTh: 5', 'Content_Length: 7'], 'hello'],
    [['Transfer-Encoding: chunked'], '5\r\nhello\r\n0\r\n\r\n'],
  ] as const) {
    const seen = await assertForwarded(at, `${head('POST /public', fields)}${body}`);
    assert.equal(seen.body, 'hello');
    const framing = [...valuesOf(seen, 'content-length'), ...valuesOf(seen, 'transfer-encoding')];
    assert.equal(framing.length, 1, String(framing));
  }
});

const broken: Record<string, string> = {
  'bare LF between fields': 'GET /public HTTP/1.1\r\nHost: app\nX: y\r\n\r\n',
  'bare LF everywhere': 'GET /public HTTP/1.1\nHost: app\n\n',
  'bare CR in a value': 'GET /public HTTP/1.1\r\nHost: app\r\nX: a\rb\r\n\r\n',
  'NUL in a value': 'GET /public HTTP/1.1\r\nHost: app\r\nX: a\0b\r\n\r\n',
  'obs-fold': 'GET /public HTTP/1.1\r\nHost: app\r\nX: a\r\n b\r\n\r\n',
  'empty field name': 'GET /public HTTP/1.1\r\nHost: app\r\n: b\r\n\r\n',
  'no colon': 'GET /public HTTP/1.1\r\nHost: app\r\nnonsense\r\n\r\n',
  'bracket in a name': 'GET /public HTTP/1.1\r\nHost: app\r\nX[1]: b\r\n\r\n',
  'HTTP/0.9': 'GET /public\r\n\r\n',
  'HTTP/0.9 by name': 'GET /public HTTP/0.9\r\nHost: app\r\n\r\n',
  'HTTP/2.0': 'GET /public HTTP/2.0\r\nHost: app\r\n\r\n',
  'HTTP/2.0 with a body': 'POST /public HTTP/2.0\r\nHost: app\r\nContent-Length: 5\r\n\r\nhello',
  'HTTP/2 preface': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'HTTP/1.2': 'GET /public HTTP/1.2\r\nHost: app\r\n\r\n',
  'HTTP/3.0': 'GET /public HTTP/3.0\r\nHost: app\r\n\r\n',
  'TLS hello': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
};
for (const [name, bytes] of Object.entries(broken)) {
  test(`attack 46: ${name} is refused and the connection closed`, async () => {
    await using at = await warmWorld();
    await assertRefused(at, bytes + smuggled, 400, { closed: true, what: name });
  });
}

const chunks: Record<string, string> = {
  'LF in a chunk extension': '5;a\nb\r\nhello\r\n0\r\n\r\n',
  'LF after the size': '5\nhello\r\n0\r\n\r\n',
  'no CRLF after the data': '5\r\nhello0\r\n\r\n',
  'a size with a sign': '+5\r\nhello\r\n0\r\n\r\n',
  'a size with 0x': '0x5\r\nhello\r\n0\r\n\r\n',
  'a size over 2^64': '10000000000000005\r\nhello\r\n0\r\n\r\n',
  'an empty size': '\r\nhello\r\n0\r\n\r\n',
  'a bare CR after the data': '5\r\nhello\r0\r\n\r\n',
};
for (const [name, body] of Object.entries(chunks)) {
  test(`attack 46: a chunked body with ${name} ends the exchange and completes no request upstream`, async () => {
    await using at = await warmWorld();
    const { responses, closed } = await sendRaw(
      at.port,
      head('POST /public', ['Transfer-Encoding: chunked']) + body + smuggled,
      {
        responses: 2,
      },
    );
    assert.ok(
      responses.every(({ status }) => status >= 400),
      'neither half a body nor what follows it is served',
    );
    assert.equal(closed, true);
    assert.deepEqual(at.upstream.seen, [], 'the upstream never had a whole request');
    assert.ok(!at.upstream.bytes().includes('smuggled'));
  });
}

test('attack 53: Expect: 100-continue with a denied request gets the final status at once, and no body is read', async () => {
  await using at = await world();
  const fields = ['Expect: 100-continue', `Content-Length: ${smuggled.length}`];
  const answer = await assertRefused(at, head('POST /admin', fields), 401);
  assert.ok(!answer.text.includes('100 Continue'));
  const eager = await sendRaw(at.port, head('POST /admin', fields) + smuggled, { responses: 2, timeoutMs: 1500 });
  assert.deepEqual(
    eager.responses.map(({ status }) => status),
    [401],
  );
  assert.equal(at.upstream.bytes(), '', 'the body was not taken for a request');
  const odd = await assertRefused(at, head('GET /public', ['Expect: 200-maybe']), 417);
  assert.equal(odd.status, 417);
});

test('attack 53: an accepted request with Expect gets 100 only after the decision', async () => {
  await using at = await world();
  const socket = connect(at.port, '127.0.0.1');
  socket.setEncoding('latin1');
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.write(head('POST /admin', ['Expect: 100-continue', 'Content-Length: 5', bearer(tokenFor())]));
  await eventually(() => text.startsWith('HTTP/1.1 100 Continue\r\n\r\n'));
  socket.write('hello');
  await eventually(() => text.includes('HTTP/1.1 200 '));
  socket.destroy();
  assert.equal(at.upstream.seen[0]?.body, 'hello');
  assert.deepEqual(valuesOf(at.upstream.seen[0] as never, 'expect'), []);
});

test('attack 54: slow heads get 408, large ones 431, and many fields are all seen or refused', async () => {
  await using at = await world({ proxy: { header_timeout: '300ms' } });
  const slow = await ask(at.port, 'GET /public HTTP/1.1\r\nHost: app\r\n', 4000);
  assertProblem(slow, 408, 'slow head');
  assert.ok(slow.closed);
  const many = Array.from({ length: 1000 }, (_, at) => `x-filler-${at}: some value`);
  await assertRefused(at, head('GET /public', many), 431, { closed: true });
  await assertRefused(at, head('GET /public', [`x: ${'a'.repeat(1_048_576)}`]), 431, { closed: true });
  await assertRefused(at, head(`GET /public/${'a'.repeat(1_048_576)}`), [414, 431], { closed: true });
  const small = Array.from({ length: 2100 }, () => 'a:');
  await assertRefused(at, head('GET /admin', small), 401, { what: 'no field beyond 2000 is dropped in silence' });
  const answer = await ask(at.port, head('GET /admin', [...small, bearer(tokenFor())]));
  assert.notEqual(answer.status, 401, 'the field behind them is seen');
});

test('attack 54: a chunked body without end is 413 at body_size, and the upstream request is given up', async () => {
  await using at = await world({ defaults: { body_size: '64KiB' } });
  const socket = connect(at.port, '127.0.0.1');
  socket.on('error', () => {});
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  let sent = 0;
  socket.write(head('POST /public', ['Transfer-Encoding: chunked']));
  const chunk = `1000\r\n${'a'.repeat(4096)}\r\n`;
  const timer = setInterval(() => {
    if (!socket.writable) return;
    sent += 4096;
    socket.write(chunk);
  }, 1);
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(timer);
  assert.match(text, /^HTTP\/1\.1 413 /);
  assert.ok(sent < 4_000_000, `${sent} bytes were taken`);
  assert.deepEqual(at.upstream.seen, []);
});

/** An upstream that does to each connection what the test says. */
async function brokenUpstream(onRequest: (socket: Socket, number: number, head: string) => void) {
  let requests = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1');
      if (!/^[A-Z]+ /.test(text)) return;
      requests += 1;
      onRequest(socket, requests, text);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    requests: () => requests,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

test('attack 55: a POST is never sent again, a GET once and only on a connection that had served', async () => {
  const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
  for (const [method, body, expected] of [
    ['POST', 'Content-Length: 1', 502],
    ['DELETE', 'X: y', 502],
    ['GET', 'X: y', 200],
  ] as const) {
    await using upstream = await brokenUpstream(
      (socket, number) => void (number === 2 ? socket.destroy() : socket.write(ok)),
    );
    await using at = await world({ upstreams: { app: { url: upstream.url } } });
    await ask(at.port, head('GET /public'));
    const answer = await ask(at.port, head(`${method} /public`, [body]) + (method === 'POST' ? 'x' : ''));
    assert.equal(answer.status, expected, method);
    assert.equal(upstream.requests(), expected === 200 ? 3 : 2, method);
  }
  await using dead = await brokenUpstream((socket) => void socket.destroy());
  await using at = await world({ upstreams: { app: { url: dead.url } } });
  assertProblem(await ask(at.port, head('GET /public')), 502, 'fresh connection');
  assert.equal(dead.requests(), 1, 'a fresh connection that fails is not tried again');
});

for (const [name, bytes] of Object.entries({
  'Content-Length': 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf',
  chunked: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
})) {
  test(`attack 55: an upstream that dies within a ${name} body is a reset, never a whole answer`, async () => {
    await using upstream = await brokenUpstream((socket) => {
      socket.write(bytes, () => setTimeout(() => socket.destroy(), 30));
    });
    await using at = await world({ upstreams: { app: { url: upstream.url } } });
    const { responses, text, closed } = await sendRaw(at.port, head('GET /public'));
    assert.equal(closed, true);
    assert.deepEqual(responses, [], 'no complete response');
    assert.ok(!text.includes('\r\n0\r\n\r\n'));
    assert.equal(upstream.requests(), 1);
  });
}

test('attack 56: an upstream cannot speak in our name, and hop-by-hop fields end at us', async () => {
  const fields = [
    'RateLimit: "per_ip";r=999;t=1', 'RateLimit-Policy: "per_ip";q=999', 'Connection: x-internal, close', 'X-Internal: 1',
    'Keep-Alive: timeout=999', 'Proxy-Authenticate: Basic', 'Trailer: RateLimit', 'Upgrade: h2c', 'TE: trailers', 'X-Kept: 1',
  ]; // biome-ignore format: one line reads better
  const body = '5\r\nhello\r\n0\r\nRateLimit: "x";r=1\r\nSet-Cookie: a=b\r\n\r\n';
  await using upstream = await brokenUpstream((socket) => {
    socket.end(`HTTP/1.1 200 OK\r\n${fields.join('\r\n')}\r\nTransfer-Encoding: chunked\r\n\r\n${body}`);
  });
  const limits = { limits: { per_ip: { key: 'ip', rate: '5/1m' } }, defaults: { limits: ['per_ip'] } };
  await using at = await world({ upstreams: { app: { url: upstream.url } }, ...limits });
  const answer = await ask(at.port, head('GET /public'));
  assert.equal(answer.status, 200);
  assert.equal(answer.body, 'hello');
  assert.match(answer.headers.ratelimit ?? '', /^"per_ip";r=4;t=\d+$/);
  assert.match(answer.headers['ratelimit-policy'] ?? '', /^"per_ip";q=5;w=60$/);
  for (const name of ['x-internal', 'proxy-authenticate', 'trailer', 'upgrade', 'te', 'set-cookie']) {
    assert.equal(answer.headers[name], undefined, name);
  }
  assert.equal(answer.headers['x-kept'], '1');
  assert.notEqual(answer.headers['keep-alive'], 'timeout=999');
});
