// HTTP/2 from clients: by ALPN and with prior knowledge, through the same pipeline as HTTP/1.1, to an HTTP/1.1 upstream.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { ClientHttp2Stream } from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { admin, eventually } from '../attacks/world.ts';
import { testAuthority } from '../support/certificates.ts';
import {
  askHttp2,
  FrameClient,
  frame,
  frameTypes,
  getFields,
  type Http2Answer,
  headerBlock,
  openHttp2,
} from '../support/http2-client.ts';
import { sendRaw } from '../support/raw-client.ts';
import { recordingHttp2Upstream } from '../support/recording-http2-upstream.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const run = promisify(execFile);
const authorization = `Bearer ${tokenFor()}`;
const SOON = 20_000;

/** An upstream whose behaviour the test writes. */
async function upstreamOf(handler: (request: IncomingMessage, response: ServerResponse) => void) {
  const server = createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Code with which a stream ended. */
const resetOf = (stream: ClientHttp2Stream) =>
  new Promise((resolve) => {
    stream.on('error', () => {});
    stream.once('close', () => resolve(stream.rstCode));
  });

const whole = (answer: Http2Answer | { readonly reset: number }): Http2Answer => {
  assert.ok('status' in answer, `reset ${JSON.stringify(answer)}`);
  return answer;
};

test('with prior knowledge: method, path, fields and body reach an HTTP/1.1 upstream, and HTTP/1.1 clients are served too', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  await using session = await openHttp2(sidecar.proxyUrl);
  const get = whole(await askHttp2(session, { ':path': '/a?b=c', authorization, cookie: ['a=1', 'b=2'], 'x-y': 'z' }));
  assert.equal(get.status, 200);
  const post = whole(await askHttp2(session, { ':method': 'POST', ':path': '/p', authorization }, 'hello'));
  assert.equal(JSON.parse(post.body).body, 'hello');
  const head = whole(await askHttp2(session, { ':method': 'HEAD', ':path': '/h', authorization }));
  assert.deepEqual([head.status, head.body, Number(head.headers['content-length']) > 0], [200, '', true]);
  assert.deepEqual(
    upstream.seen.map(({ method, url }) => `${method} ${url}`),
    ['GET /a?b=c', 'POST /p', 'HEAD /h'],
  );
  assert.deepEqual(
    [upstream.seen[0]?.headers.cookie, upstream.seen[0]?.headers['x-y'], upstream.seen[0]?.headers['x-auth-subject']],
    ['a=1; b=2', 'z', 'alice'],
  );
  assert.equal((await fetch(`${sidecar.proxyUrl}/one`, { headers: { authorization } })).status, 200);
  // The beginning of a method that HTTP/2's preface shares, in two pieces.
  const slow = await sendRaw(sidecar.port, ['P', 'UT /q HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n']);
  assert.equal(slow.responses[0]?.status, 401);
});

test('over TLS the client chooses by ALPN, and curl speaks either', async () => {
  using authority = testAuthority();
  const pair = authority.issue('app', 'DNS:app.test', 'serverAuth');
  const tls = { certificates: [{ certificate: { value: pair.certificate }, key: { value: pair.key } }] };
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true, tls } });
  const folder = mkdtempSync(join(tmpdir(), 'doorward-h2-'));
  writeFileSync(join(folder, 'ca.pem'), authority.certificate);
  const curl = async (...args: string[]) => {
    const fixed = ['-sS', '-o', '/dev/null', '-w', '%{http_version} %{http_code}', '--cacert', join(folder, 'ca.pem')];
    const where = ['--resolve', `app.test:${sidecar.port}:127.0.0.1`, `https://app.test:${sidecar.port}/`];
    return (await run('curl', [...fixed, '-H', `Authorization: ${authorization}`, ...args, ...where])).stdout;
  };
  try {
    assert.deepEqual(
      [await curl('--http2'), await curl('--http1.1'), await curl('--http2', '-d', 'x')],
      ['2 200', '1.1 200', '2 200'],
    );
    assert.deepEqual(
      upstream.seen.map(({ headers }) => headers['x-forwarded-proto']),
      ['https', 'https', 'https'],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('curl with prior knowledge', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  const args = ['-sS', '-w', ' %{http_version}', '--http2-prior-knowledge', '-H', `Authorization: ${authorization}`];
  const { stdout } = await run('curl', [...args, '-d', 'abc', `${sidecar.proxyUrl}/curl`]);
  assert.match(stdout, /"body":"abc"\} 2$/);
});

test('without proxy.http2 the preface is a malformed request, and ALPN offers HTTP/1.1 only', async () => {
  using authority = testAuthority();
  const pair = authority.issue('app', 'DNS:localhost', 'serverAuth');
  const tls = { certificates: [{ certificate: { value: pair.certificate }, key: { value: pair.key } }] };
  await using upstream = await recordingUpstream();
  await using plain = await startSidecar(upstream.url);
  const refused = await sendRaw(plain.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  assert.equal(refused.responses[0]?.status, 400);
  await using secure = await startSidecar(upstream.url, { proxy: { tls } });
  const args = ['-sS', '-k', '-o', '/dev/null', '-w', '%{http_version} %{http_code}', '--http2'];
  const { stdout } = await run('curl', [
    ...args,
    '--resolve',
    `localhost:${secure.port}:127.0.0.1`,
    `https://localhost:${secure.port}/`,
  ]);
  assert.equal(stdout, '1.1 401');
  assert.equal(upstream.seen.length, 0);
});

test('attack 47: with HTTP/2 on, an h2c upgrade still is an ordinary request', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  const fields = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n';
  const { responses } = await sendRaw(
    sidecar.port,
    `GET / HTTP/1.1\r\nHost: a\r\nAuthorization: ${authorization}\r\n${fields}\r\n`,
  );
  assert.equal(responses[0]?.status, 200);
  assert.equal(upstream.seen[0]?.headers.upgrade, undefined);
});

test('the pipeline judges HTTP/2 as it judges HTTP/1.1, and says so in the decision record', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    proxy: { http2: true },
    limits: { tight: { key: 'ip', rate: '1/1h' } },
    routes: {
      all: { match: { prefix: '/api', hosts: ['app.test'] }, require: { scopes: ['read'] } },
      admin: { match: { prefix: '/admin', hosts: ['app.test'] }, require: { scopes: ['root'] } },
      few: { match: { prefix: '/few', hosts: ['app.test'] }, limits: ['tight'] },
    },
  });
  await using session = await openHttp2(sidecar.proxyUrl);
  const ask = async (path: string, more: Record<string, string> = {}) =>
    whole(await askHttp2(session, { ':authority': 'app.test', ':path': path, authorization, ...more })).status;
  assert.deepEqual(
    [
      await ask('/api/x'),
      await ask('/api/x', { authorization: 'Bearer nonsense' }),
      await ask('/admin'),
      await ask('/nowhere'),
      await ask('/api/%2e%2e/admin'),
      await ask('/api/x', { ':authority': 'other.test' }),
      await ask('/api/x', { ':method': 'TRACE' }),
      await ask('/few'),
      await ask('/few'),
    ],
    [200, 401, 403, 404, 400, 404, 405, 200, 429],
  );
  assert.deepEqual(
    upstream.seen.map(({ url }) => url),
    ['/api/x', '/few'],
  );
  const reasons = sidecar.logged().map(({ reason }) => reason);
  assert.ok(reasons.includes('rate_limited') && reasons.includes('path_malformed'), reasons.join());
});

test('attack 19: identity headers of the client and of its trailers never reach the upstream', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  await using session = await openHttp2(sidecar.proxyUrl);
  const fields = { 'x-auth-subject': 'root', x_auth_subject: 'root', 'x-auth-roles': 'admin', trailer: 'x-auth-roles' };
  const stream = session.request(
    { ':method': 'POST', ':path': '/', authorization, ...fields },
    { waitForTrailers: true },
  );
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-auth-roles': 'admin' }));
  stream.end('body');
  await once(stream, 'response');
  stream.resume();
  await once(stream, 'close');
  assert.ok(!/root|admin/.test(upstream.bytes()));
  assert.equal(upstream.seen[0]?.headers['x-auth-subject'], 'alice');
});

test('204 and 304 have no body, Expect gets its 100, and a refusal comes before the body', async () => {
  await using upstream = await upstreamOf((request, response) => {
    request.resume();
    if (request.url === '/204') response.writeHead(204).end();
    else if (request.url === '/304') response.writeHead(304, { etag: '"a"' }).end();
    else request.on('end', () => response.end('got it'));
  });
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  await using session = await openHttp2(sidecar.proxyUrl);
  const empty = whole(await askHttp2(session, { ':path': '/204', authorization }));
  const same = whole(await askHttp2(session, { ':path': '/304', authorization }));
  assert.deepEqual([empty.status, empty.body, same.status, same.headers.etag], [204, '', 304, '"a"']);
  const post = { ':method': 'POST', ':path': '/p', expect: '100-continue' };
  const waiting = session.request({ ...post, authorization });
  await once(waiting, 'continue');
  waiting.end('body');
  const [head] = await once(waiting, 'response');
  assert.equal(head[':status'], 200);
  const refused = session.request(post);
  const [refusal] = await once(refused, 'response');
  refused.resume();
  await once(refused, 'close');
  assert.deepEqual([refusal[':status'], refused.rstCode], [401, 0]);
});

test('a refused upload gets its whole answer at once, and the connection goes on', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  await using session = await openHttp2(sidecar.proxyUrl);
  const stream = session.request({ ':method': 'POST', ':path': '/' });
  stream.on('error', () => {});
  stream.write('never ending');
  const [head] = await once(stream, 'response');
  let body = '';
  stream.on('data', (chunk) => {
    body += chunk;
  });
  await once(stream, 'close');
  assert.deepEqual([head[':status'], JSON.parse(body).code, stream.rstCode], [401, 'unauthorized', 0]);
  assert.equal(whole(await askHttp2(session, { ':path': '/', authorization })).status, 200);
  assert.equal(upstream.seen.length, 1);
});

test('a client that does not read makes the upstream stop sending, and reads everything in the end', async () => {
  const SIZE = 32 * 1024 * 1024;
  let sent = 0;
  await using upstream = await upstreamOf(async (_request, response) => {
    response.writeHead(200, { 'content-length': SIZE });
    const chunk = Buffer.alloc(65_536, 'x');
    while (sent < SIZE) {
      sent += chunk.length;
      if (!response.write(chunk)) await once(response, 'drain');
    }
    response.end();
  });
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  await using session = await openHttp2(sidecar.proxyUrl);
  const stream = session.request({ ':path': '/', authorization });
  await once(stream, 'response');
  let before = -1;
  await eventually(async () => {
    const still = before === sent;
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 300));
    return still && before === sent;
  }, SOON);
  assert.ok(sent < SIZE, 'everything went out to a client that had read nothing');
  let got = 0;
  stream.on('data', (chunk: Buffer) => {
    got += chunk.length;
  });
  await once(stream, 'end');
  assert.equal(got, SIZE);
});

test('an upstream that does not read makes the client stop sending', async () => {
  let taken: IncomingMessage | undefined;
  await using upstream = await upstreamOf((request, response) => {
    taken = request;
    request.on('end', () => response.end('done'));
  });
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true }, defaults: { body_size: '64MiB' } });
  await using session = await openHttp2(sidecar.proxyUrl);
  const SIZE = 32 * 1024 * 1024;
  const stream = session.request({ ':method': 'POST', ':path': '/', authorization });
  let written = 0;
  const write = () => {
    while (written < SIZE) {
      written += 65_536;
      if (!stream.write(Buffer.alloc(65_536))) return void stream.once('drain', write);
    }
    stream.end();
  };
  write();
  let before = -1;
  await eventually(async () => {
    const still = before === written && taken !== undefined;
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 300));
    return still && before === written;
  }, SOON);
  assert.ok(written < SIZE, 'everything went out to an upstream that had read nothing');
  let got = 0;
  taken?.on('data', (chunk: Buffer) => {
    got += chunk.length;
  });
  const [head] = await once(stream, 'response');
  assert.deepEqual([head[':status'], got], [200, SIZE]);
  stream.resume();
});

test('a reset by the client ends the request upstream', async () => {
  const aborted: string[] = [];
  await using upstream = await upstreamOf((request, response) => {
    response.on('close', () => aborted.push(request.url as string));
    if (request.url === '/body') response.writeHead(200).write('first');
  });
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  await using session = await openHttp2(sidecar.proxyUrl);
  const reset = async (stream: ClientHttp2Stream, event: string) => {
    stream.on('error', () => {});
    if (event !== '') await once(stream, event);
    stream.close(8);
  };
  await reset(session.request({ ':path': '/body', authorization }), 'response');
  const upload = session.request({ ':method': 'POST', ':path': '/upload', authorization });
  upload.write('some');
  await new Promise((resolve) => setTimeout(resolve, 200));
  await reset(upload, '');
  await eventually(() => aborted.includes('/body') && aborted.includes('/upload'), SOON);
  assert.equal(whole(await askHttp2(session, { ':path': '/', authorization: 'Bearer x' })).status, 401);
});

test('attack 55: an upstream that breaks off leaves no whole answer: the stream is reset', async () => {
  await using upstream = await upstreamOf((request, response) => {
    response.writeHead(200, request.url === '/length' ? { 'content-length': 100 } : {});
    response.write('half');
    setTimeout(() => response.destroy(), 50);
  });
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  await using session = await openHttp2(sidecar.proxyUrl);
  for (const path of ['/length', '/chunked']) {
    const stream = session.request({ ':path': path, authorization });
    stream.resume();
    assert.equal(await resetOf(stream), 2, path);
  }
});

test('a revoked token ends its event stream with a reset', async () => {
  await using upstream = await upstreamOf((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: 1\n\n');
  });
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  await using session = await openHttp2(sidecar.proxyUrl);
  const stream = session.request({ ':path': '/', authorization: `Bearer ${tokenFor({ jti: 'doomed' })}` });
  await once(stream, 'data');
  stream.resume();
  const reset = resetOf(stream);
  await admin(sidecar, 'POST', '/v1/revocations', { kind: 'token', id: 'doomed' });
  assert.equal(await reset, 2);
});

test('draining says GOAWAY, finishes what is under way and closes', async () => {
  let finish: (() => void) | undefined;
  await using upstream = await upstreamOf((_request, response) => {
    finish = () => response.end('late');
  });
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true } });
  await using session = await openHttp2(sidecar.proxyUrl);
  const goaway = once(session, 'goaway');
  const answer = askHttp2(session, { ':path': '/', authorization });
  await eventually(() => finish !== undefined, SOON);
  const drained = sidecar.drain();
  const [code] = await goaway;
  assert.equal(code, 0);
  finish?.();
  assert.equal(whole(await answer).body, 'late');
  await drained;
  assert.ok(session.closed);
});

test('a request for the host of another certificate on an open connection is 421', async () => {
  using authority = testAuthority();
  const certificates = ['a.test', 'b.test'].map((host) => {
    const { certificate, key } = authority.issue(host, `DNS:${host}`, 'serverAuth');
    return { certificate: { value: certificate }, key: { value: key } };
  });
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, { proxy: { http2: true, tls: { certificates } } });
  await using session = await openHttp2(`https://127.0.0.1:${sidecar.port}`, {
    ca: authority.certificate,
    servername: 'a.test',
  });
  const ask = async (authority: string) =>
    whole(await askHttp2(session, { ':authority': authority, ':path': '/', authorization })).status;
  assert.deepEqual([await ask('a.test'), await ask('b.test'), await ask('a.test')], [200, 421, 200]);
});

test('a connection that has said nothing yet holds up neither drain nor end', async () => {
  await using upstream = await recordingUpstream();
  await using sidecar = await startSidecar(upstream.url, {
    proxy: { http2: true, drain: { delay: '0ms', timeout: '60s' } },
  });
  const silent = connect(sidecar.port, '127.0.0.1');
  silent.on('error', () => {});
  await once(silent, 'connect');
  await sidecar.drain();
  await eventually(() => silent.destroyed, SOON);
});

test('a body whose empty end comes before the upstream is connected to is a whole request', async () => {
  for (const protocol of ['http1', 'http2']) {
    await using upstream = await (protocol === 'http1' ? recordingUpstream() : recordingHttp2Upstream());
    await using sidecar = await startSidecar(upstream.url, {
      proxy: { http2: true },
      upstreams: { app: { url: upstream.url, protocol } },
    });
    await using client = await FrameClient.open(sidecar.port);
    const fields = [...getFields('/'), ['authorization', authorization] as const];
    const head = frame(frameTypes.headers, 4, 1, headerBlock(fields));
    client.socket.write(Buffer.concat([head, frame(frameTypes.data, 1, 1)]));
    await eventually(() => client.has(frameTypes.headers, 1), SOON);
    assert.deepEqual(
      upstream.seen.map(({ body }) => body),
      [''],
    );
  }
});
