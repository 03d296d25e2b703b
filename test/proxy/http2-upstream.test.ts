// HTTP/2 to the upstream: the same answers, limits and resets as over HTTP/1.1, on connections that requests share.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, createSecureServer, createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createPlainServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { eventually } from '../attacks/world.ts';
import { testAuthority } from '../support/certificates.ts';
import { askHttp2, openHttp2 } from '../support/http2-client.ts';
import { sendRaw } from '../support/raw-client.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';
import { states } from './outbound/members.ts';

const SOON = 20_000;
const authorization = `Bearer ${tokenFor()}`;
type Handler = (stream: ServerHttp2Stream, path: string, headers: Readonly<Record<string, unknown>>) => void;

async function upstreamOf(handler: Handler, options: object = {}, secure = false) {
  const server: Http2Server = secure ? (createSecureServer(options) as unknown as Http2Server) : createServer(options);
  const state = { connections: 0, paths: [] as string[], ended: [] as string[], aborted: [] as string[] };
  const sessions = new Set<{ destroy(): void; close(): void }>();
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  server.on('session', (session) => {
    state.connections += 1;
    sessions.add(session);
    session.on('error', () => {});
    session.on('close', () => sessions.delete(session));
  });
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    const path = String(headers[':path']);
    state.paths.push(path);
    stream.on('error', () => {});
    stream.on('aborted', () => state.aborted.push(path));
    // A reset ends what is readable too; only END_STREAM does so without `aborted`.
    stream.on('end', () => stream.aborted || state.ended.push(path));
    handler(stream, path, headers);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    ...state,
    state,
    port,
    sessions,
    sockets,
    url: `http${secure ? 's' : ''}://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}

/** RST_STREAM (RFC 9113 section 6.4). */
function resetFrame(stream: number, code: number): Buffer {
  const frame = Buffer.from([0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  frame.writeUInt32BE(stream, 5);
  frame.writeUInt32BE(code, 9);
  return frame;
}

const answer = (stream: ServerHttp2Stream, body = '') => {
  stream.respond({ ':status': 200 });
  stream.end(body);
};

const start = (
  url: string,
  upstream: Readonly<Record<string, unknown>> = {},
  config: Readonly<Record<string, unknown>> = {},
) => startSidecar(url, { upstreams: { app: { url, protocol: 'http2', ...upstream } }, ...config });

const ask = (url: string, path: string, options: RequestInit = {}) =>
  fetch(`${url}${path}`, { ...options, headers: { authorization, ...(options.headers as object) } });

test('an HTTP/1.1 client is served by an HTTP/2 upstream: fields, body, identity, and nothing of ours or of the connection', async () => {
  const seen: Readonly<Record<string, unknown>>[] = [];
  await using upstream = await upstreamOf((stream, path, headers) => {
    seen.push(headers);
    let body = '';
    stream.on('data', (chunk) => {
      body += chunk;
    });
    stream.on('end', () => {
      if (path === '/204') stream.respond({ ':status': 204 }, { endStream: true });
      else {
        stream.respond({
          ':status': 201,
          'x-app': 'yes',
          'set-cookie': ['a=1', 'b=2'],
          ratelimit: 'mine',
          'ratelimit-policy': 'mine',
        });
        stream.end(`${headers[':method']} ${path} ${body}`);
      }
    });
  });
  await using sidecar = await start(upstream.url);
  const answer = await ask(sidecar.proxyUrl, '/p?q=1', {
    method: 'POST',
    body: 'hello',
    headers: { 'x-auth-subject': 'root' },
  });
  assert.deepEqual([answer.status, await answer.text()], [201, 'POST /p?q=1 hello']);
  assert.deepEqual([answer.headers.get('x-app'), answer.headers.getSetCookie()], ['yes', ['a=1', 'b=2']]);
  // Attack 56.
  assert.deepEqual([answer.headers.get('ratelimit'), answer.headers.get('ratelimit-policy')], [null, null]);
  const [first] = seen;
  assert.deepEqual(
    [
      first?.[':authority'],
      first?.['content-length'],
      first?.te,
      first?.['x-auth-subject'],
      first?.authorization,
      first?.connection,
    ],
    [new URL(sidecar.proxyUrl).host, '5', 'trailers', 'alice', undefined, undefined],
  );
  assert.equal((await ask(sidecar.proxyUrl, '/204')).status, 204);
  const head = await ask(sidecar.proxyUrl, '/h', { method: 'HEAD' });
  assert.deepEqual([head.status, await head.text()], [201, '']);
});

test('requests share a connection until the upstream says it is full', async () => {
  const held: ServerHttp2Stream[] = [];
  await using upstream = await upstreamOf(
    (stream, path) => {
      if (path === '/warm') return answer(stream);
      held.push(stream);
    },
    { settings: { maxConcurrentStreams: 5 } },
  );
  await using sidecar = await start(upstream.url);
  await ask(sidecar.proxyUrl, '/warm');
  const answers = Array.from({ length: 12 }, (_none, at) => ask(sidecar.proxyUrl, `/${at}`));
  await eventually(() => held.length === 12, SOON);
  assert.equal(upstream.state.connections, 3);
  for (const stream of held) answer(stream);
  assert.ok((await Promise.all(answers)).every(({ status }) => status === 200));
});

test('GOAWAY: what is under way ends, what comes next goes over a new connection', async () => {
  let first: ServerHttp2Stream | undefined;
  await using upstream = await upstreamOf((stream, path) => {
    if (path === '/held') first = stream;
    else answer(stream, 'next');
  });
  await using sidecar = await start(upstream.url);
  const held = ask(sidecar.proxyUrl, '/held');
  await eventually(() => first !== undefined, SOON);
  for (const session of upstream.sessions) session.close();
  await eventually(async () => {
    const next = await ask(sidecar.proxyUrl, '/next');
    return next.status === 200 && upstream.state.connections === 2;
  }, SOON);
  first?.respond({ ':status': 200 });
  first?.end('late');
  assert.equal(await (await held).text(), 'late');
});

test('a stream that the upstream refused goes out once more where that is safe, and never else', async () => {
  const refused = new Set<string>();
  await using upstream = await upstreamOf((stream, path) => {
    if (!refused.has(path)) {
      refused.add(path);
      stream.close(7);
      return;
    }
    stream.respond({ ':status': 200 });
    stream.end();
  });
  await using sidecar = await start(upstream.url);
  assert.equal((await ask(sidecar.proxyUrl, '/get')).status, 200);
  assert.equal((await ask(sidecar.proxyUrl, '/post', { method: 'POST', body: 'x' })).status, 502);
  assert.deepEqual(upstream.state.paths, ['/get', '/get', '/post']);
});

test('attack 55: an upstream that resets its answer, closes its connection, or sends another length than it said, leaves no whole answer', async () => {
  const endings: Record<string, (stream: ServerHttp2Stream) => void> = {
    '/reset': (stream) => stream.destroy(new Error('broken')),
    '/short': (stream) => stream.end(),
    '/no-error': (stream) => write(resetFrame(stream.id ?? 0, constants.NGHTTP2_NO_ERROR)),
    '/cancelled': (stream) => write(resetFrame(stream.id ?? 0, constants.NGHTTP2_CANCEL)),
    '/gone': () => {
      for (const socket of upstream.sockets) socket.destroy();
    },
  };
  // Past node, which would end the body before it resets the stream.
  const write = (frame: Buffer) => {
    for (const socket of upstream.sockets) if (!socket.destroyed) socket.write(frame);
  };
  await using upstream = await upstreamOf((stream, path) => {
    stream.respond(path === '/short' ? { ':status': 200, 'content-length': '100' } : { ':status': 200 });
    stream.write('half');
    setTimeout(() => endings[path]?.(stream), 100);
  });
  await using sidecar = await start(upstream.url, {}, { proxy: { http2: true } });
  for (const path of Object.keys(endings)) {
    await assert.rejects(
      ask(sidecar.proxyUrl, path).then((answer) => answer.text()),
      path,
    );
    await using session = await openHttp2(sidecar.proxyUrl);
    const stream = session.request({ ':path': path, authorization });
    stream.on('error', () => {});
    stream.resume();
    await new Promise((resolve) => stream.once('close', resolve));
    assert.equal(stream.rstCode, 2, path);
  }
});

test('a client that leaves in the middle of its body leaves no whole request at the upstream', async () => {
  await using upstream = await upstreamOf((stream) => void stream.resume());
  await using sidecar = await start(upstream.url);
  const head = `POST /half HTTP/1.1\r\nHost: a\r\nAuthorization: ${authorization}\r\nTransfer-Encoding: chunked\r\n\r\n`;
  await sendRaw(sidecar.port, `${head}5\r\nhello\r\n`, { timeoutMs: 300 });
  await eventually(() => upstream.state.aborted.includes('/half'), SOON);
  assert.ok(!upstream.state.ended.includes('/half'), 'the upstream saw the end of the body');
});

test('a slow client holds up nobody else on the same connection', async () => {
  const SIZE = 16 * 1024 * 1024;
  await using upstream = await upstreamOf((stream, path) => {
    if (path !== '/large') return answer(stream, 'small');
    stream.respond({ ':status': 200 });
    Readable.from(Array.from({ length: SIZE / 65_536 }, () => Buffer.alloc(65_536))).pipe(stream);
  });
  await using sidecar = await start(upstream.url);
  const large = await ask(sidecar.proxyUrl, '/large');
  for (let at = 0; at < 20; at += 1) assert.equal(await (await ask(sidecar.proxyUrl, `/small${at}`)).text(), 'small');
  assert.equal(upstream.state.connections, 1);
  assert.equal((await large.arrayBuffer()).byteLength, SIZE);
});

test('trailers pass to HTTP/2 clients, without what is ours', async () => {
  await using upstream = await upstreamOf((stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'abc', ratelimit: 'mine', 'set-cookie': 'a=1' }));
    stream.end('body');
  });
  await using sidecar = await start(upstream.url, {}, { proxy: { http2: true } });
  await using session = await openHttp2(sidecar.proxyUrl);
  const answer = await askHttp2(session, { ':path': '/', authorization });
  assert.ok('status' in answer);
  assert.deepEqual([answer.body, Object.entries(answer.trailers)], ['body', [['x-sum', 'abc']]]);
  assert.equal(await (await ask(sidecar.proxyUrl, '/')).text(), 'body');
});

test('an upstream that is away, silent, or speaks something else is 502 or 504', async () => {
  await using gone = await upstreamOf(() => {});
  await gone[Symbol.asyncDispose]();
  await using away = await start(gone.url);
  assert.equal((await ask(away.proxyUrl, '/')).status, 502);

  const mute = createPlainServer(() => {});
  const http1 = createPlainServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'));
  });
  try {
    for (const [server, wanted] of [
      [mute, 504],
      [http1, 502],
    ] as const) {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      await using sidecar = await start(url, { connect_timeout: '500ms' }, { defaults: { response_timeout: '1s' } });
      assert.equal((await ask(sidecar.proxyUrl, '/')).status, wanted);
      await using secure = await start(url.replace('http', 'https'), { connect_timeout: '500ms' });
      assert.equal((await ask(secure.proxyUrl, '/')).status, 502);
    }
  } finally {
    mute.close();
    http1.close();
  }
});

test('over TLS the upstream must choose h2', async () => {
  using authority = testAuthority();
  const { certificate: cert, key } = authority.issue('app', 'IP:127.0.0.1', 'serverAuth');
  const tls = { ca: { value: authority.certificate } };
  await using upstream = await upstreamOf((stream) => answer(stream), { cert, key }, true);
  await using sidecar = await start(upstream.url, { tls });
  assert.equal((await ask(sidecar.proxyUrl, '/')).status, 200);
  const http1 = createTlsServer({ cert, key }, (_request, response) => response.end());
  http1.listen(0, '127.0.0.1');
  await once(http1, 'listening');
  try {
    await using other = await start(`https://127.0.0.1:${(http1.address() as AddressInfo).port}`, { tls });
    assert.equal((await ask(other.proxyUrl, '/')).status, 502);
  } finally {
    http1.closeAllConnections();
    http1.close();
  }
});

test('idle connections close after keep_alive, and health checks speak HTTP/2 too', async () => {
  await using upstream = await upstreamOf((stream) => answer(stream));
  await using idle = await start(upstream.url, { keep_alive: '500ms' });
  assert.equal((await ask(idle.proxyUrl, '/')).status, 200);
  await eventually(() => upstream.sessions.size === 0, SOON);
  await using checked = await start(upstream.url, {
    health: { path: '/healthz', interval: '100ms', timeout: '100ms' },
  });
  await eventually(() => upstream.state.paths.filter((path) => path === '/healthz').length >= 3, SOON);
  assert.equal((await ask(checked.proxyUrl, '/after')).status, 200);
});

test('trailers and fields that node will not write break off one answer, and nothing else', async () => {
  const twice = ['etag', '"a"', 'etag', '"b"'];
  await using upstream = await upstreamOf(
    (stream, path) => {
      if (path === '/ok') return answer(stream, 'ok');
      if (path === '/fields') {
        stream.respond([':status', '200', ...twice]);
        stream.end('body');
        return;
      }
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ etag: ['"a"', '"b"'] as unknown as string }));
      stream.end('body');
    },
    { strictSingleValueFields: false },
  );
  await using sidecar = await start(upstream.url, {}, { proxy: { http2: true } });
  await using session = await openHttp2(sidecar.proxyUrl);
  for (const path of ['/trailers', '/fields', '/ok']) {
    const got = await askHttp2(session, { ':path': path, authorization });
    if (path === '/ok') assert.equal('status' in got && got.body, 'ok');
  }
  assert.deepEqual(upstream.state.paths, ['/trailers', '/fields', '/ok']);
});

test('clients that leave make no connection look like Rapid Reset, which would cut the requests of others on it', async () => {
  let held: ServerHttp2Stream | undefined;
  await using upstream = await upstreamOf(
    (stream, path) => {
      if (path !== '/bystander') return;
      held = stream;
      stream.respond({ ':status': 200 });
      stream.write('half ');
    },
    { streamResetBurst: 40, streamResetRate: 1 },
  );
  await using sidecar = await start(upstream.url, { connections: 200 });
  const bystander = await ask(sidecar.proxyUrl, '/bystander');
  for (let left = 30; left <= 120; left += 30) {
    const leaving = new AbortController();
    const asked = Array.from({ length: 30 }, () => ask(sidecar.proxyUrl, '/slow', { signal: leaving.signal }));
    await eventually(() => upstream.state.paths.length > left, SOON);
    leaving.abort();
    await Promise.allSettled(asked);
    await eventually(() => upstream.state.aborted.length >= left, SOON);
  }
  held?.end('whole');
  assert.equal(await bystander.text(), 'half whole');
});

test('answers that some clients do not read keep nobody else from an upstream that holds only so much for a connection', async () => {
  const big = Buffer.alloc(24_000_000);
  await using upstream = await upstreamOf(
    (stream, path) => {
      stream.respond({ ':status': 200 });
      stream.end(path === '/big' ? big : 'ok');
    },
    { maxSessionMemory: 1 },
  );
  await using sidecar = await start(upstream.url);
  const unread = await ask(sidecar.proxyUrl, '/big');
  for (let n = 0; n < 5; n += 1) assert.equal(await (await ask(sidecar.proxyUrl, '/')).text(), 'ok');
  await unread.body?.cancel();
});

test('a head with more fields than an upstream takes ejects no endpoint', async () => {
  await using first = await upstreamOf((stream) => answer(stream));
  await using second = await upstreamOf((stream) => answer(stream));
  const ejection = { failures: 2, for: '1m' };
  await using sidecar = await start('', { url: [first.url, second.url], ejection });
  const headers = Object.fromEntries(Array.from({ length: 200 }, (_none, at) => [`x-${at}`, '1']));
  for (let n = 0; n < 8; n += 1) assert.equal((await ask(sidecar.proxyUrl, '/', { headers })).status, 502);
  assert.deepEqual(Object.values(await states(sidecar)), ['up', 'up']);
});
