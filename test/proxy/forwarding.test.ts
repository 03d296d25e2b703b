// Forwarding, streaming both ways (design 4.11): framing of bodies, interim responses, aborts, slots, event streams. Attacks
// on framing stand in test/attacks/framing.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import { sendRaw } from '../support/raw-client.ts';
import { startSidecar } from '../support/sidecar.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** An upstream whose handler gets the request before its body, and a sidecar with open routes before it. */
async function pair(handler: Handler, upstreamConfig: object = {}, routeConfig: object = {}) {
  const server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const sidecar = await startSidecar(url, {
    upstreams: { app: { url, ...upstreamConfig } },
    routes: { all: { match: { prefix: '/' }, auth: 'none', ...routeConfig } },
  });
  return {
    port: sidecar.port,
    sidecar,
    async [Symbol.asyncDispose]() {
      await sidecar[Symbol.asyncDispose]();
      server.closeAllConnections();
      server.close();
    },
  };
}

const get = (path: string, ...fields: string[]) =>
  `GET ${path} HTTP/1.1\r\nHost: app\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`;

/** A client whose bytes are collected and which can go away. */
function client(port: number, bytes: string) {
  const socket = connect(port, '127.0.0.1');
  const state = { socket, text: '', closed: false };
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    state.text += chunk.toString('latin1');
  });
  socket.on('close', () => {
    state.closed = true;
  });
  socket.write(bytes, 'latin1');
  return state;
}

async function until(holds: () => boolean, withinMs = 2000): Promise<void> {
  const endMs = performance.now() + withinMs;
  while (!holds()) {
    assert.ok(performance.now() < endMs, `not within ${withinMs} ms: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('HEAD, 204 and 304 have no body, and the connection stays in step', async () => {
  await using at = await pair((request, response) => {
    if (request.url === '/204') return void response.writeHead(204).end();
    if (request.url === '/304') return void response.writeHead(304, { etag: '"x"', 'content-length': 5 }).end();
    response.writeHead(200, { 'content-length': 5 });
    response.end(request.method === 'HEAD' ? undefined : 'hello');
  });
  const bytes = [get('/').replace('GET', 'HEAD'), get('/204'), get('/304'), get('/last')].join('');
  const { text } = await sendRaw(at.port, bytes, { responses: 4 });
  const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status);
  assert.deepEqual(statuses, ['200', '204', '304', '200']);
  assert.equal(text.match(/hello/g)?.length, 1, 'only the last one has a body');
  assert.match(text.slice(0, text.indexOf('204')), /content-length: 5/i, 'HEAD says the length of the answer to GET');
});

test('interim responses are not final', async () => {
  await using at = await pair((_request, response) => {
    response.writeProcessing();
    response.writeEarlyHints({ link: '</a.css>; rel=preload' });
    response.end('final');
  });
  const { responses } = await sendRaw(at.port, get('/'));
  const final = responses.filter(({ status }) => status >= 200);
  assert.deepEqual([final.length, final[0]?.status, final[0]?.body], [1, 200, 'final']);
});

test('trailers of requests and responses are dropped', async () => {
  let trailers: unknown;
  await using at = await pair((request, response) => {
    request.resume().on('end', () => {
      trailers = request.trailers;
      response.writeHead(200, { trailer: 'x-sum' });
      response.write('body');
      response.addTrailers({ 'x-sum': '1' });
      response.end();
    });
  });
  const post =
    'POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n';
  const { responses, text } = await sendRaw(at.port, post);
  assert.equal(responses[0]?.body, 'body');
  assert.deepEqual(trailers, {});
  assert.ok(!/x-sum/i.test(text));
});

test('an HTTP/1.0 client gets no chunked answer, and a connection that ends with it', async () => {
  await using at = await pair((_request, response) => {
    response.write('one ');
    response.end('two');
  });
  const { text, closed } = await sendRaw(at.port, 'GET / HTTP/1.0\r\nHost: app\r\n\r\n', { timeoutMs: 1000 });
  assert.ok(!/transfer-encoding/i.test(text));
  assert.ok(text.endsWith('\r\n\r\none two'), text);
  assert.equal(closed, true);
});

test('a body on GET and DELETE is framed exactly, with Content-Length and chunked', async () => {
  const bodies: string[] = [];
  await using at = await pair((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      bodies.push(`${request.method} ${body}`);
      response.end();
    });
  });
  for (const method of ['GET', 'DELETE', 'OPTIONS']) {
    const start = `${method} / HTTP/1.1\r\nHost: app\r\n`;
    const bytes = `${start}Content-Length: 3\r\n\r\nabc${start}Transfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n${start}\r\n`;
    const { responses } = await sendRaw(at.port, bytes, { responses: 3 });
    assert.deepEqual(
      responses.map(({ status }) => status),
      [200, 200, 200],
    );
  }
  assert.deepEqual(
    bodies.sort(),
    ['DELETE', 'GET', 'OPTIONS'].flatMap((name) => [`${name} `, `${name} abc`, `${name} def`]),
  );
});

test('pipelined requests are answered in order, refusals among them', async () => {
  await using at = await pair((request, response) => {
    setTimeout(() => response.end(request.url), request.url === '/slow' ? 50 : 0);
  });
  const bytes = get('/slow') + get('/a/%2e%2e/b').replace('GET /a/%2e%2e/b', 'TRACE /x') + get('/quick');
  const { responses } = await sendRaw(at.port, bytes, { responses: 3 });
  assert.deepEqual(
    responses.map(({ status, body }) => (status === 200 ? body : status)),
    ['/slow', 405, '/quick'],
  );
});

test('a client that leaves during a response ends it upstream, and its slot is free again', async () => {
  let aborted = 0;
  await using at = await pair(
    (request, response) => {
      response.on('close', () => {
        if (!response.writableFinished) aborted += 1;
      });
      if (request.url === '/quick') return void response.end('ok');
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.write('begin');
    },
    { connections: 1, queue: 0 },
  );
  for (let round = 1; round <= 3; round += 1) {
    const reading = client(at.port, get('/long'));
    await until(() => reading.text.includes('begin'));
    reading.socket.destroy();
    await until(() => aborted === round);
    const { responses } = await sendRaw(at.port, get('/quick'));
    assert.equal(responses[0]?.status, 200, 'the only slot is free');
  }
});

test('a client that leaves before the response head ends it upstream too', async () => {
  let aborted = false;
  let started = false;
  await using at = await pair(
    (request, response) => {
      if (request.url === '/quick') return void response.end('ok');
      started = true;
      response.on('close', () => {
        aborted = true;
      });
    },
    { connections: 1, queue: 0 },
  );
  const waiting = client(at.port, get('/never'));
  await until(() => started);
  waiting.socket.destroy();
  await until(() => aborted);
  assert.equal((await sendRaw(at.port, get('/quick'))).responses[0]?.status, 200);
});

test('a client that leaves during an upload ends it upstream, never with a whole body', async () => {
  const ends: string[] = [];
  await using at = await pair(
    (request, response) => {
      if (request.url === '/quick') return void response.end('ok');
      request.resume();
      request.on('end', () => ends.push('whole'));
      request.on('close', () => ends.push(request.complete ? 'complete' : 'aborted'));
    },
    { connections: 1, queue: 0 },
  );
  for (const [framing, part] of [
    ['Content-Length: 1000', 'part'],
    ['Transfer-Encoding: chunked', '4\r\npart\r\n'],
  ] as const) {
    ends.length = 0;
    const sending = client(at.port, `POST /up HTTP/1.1\r\nHost: app\r\n${framing}\r\n\r\n${part}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    sending.socket.destroy();
    await until(() => ends.length > 0);
    assert.deepEqual(ends, ['aborted'], framing);
    assert.equal((await sendRaw(at.port, get('/quick'))).responses[0]?.status, 200);
  }
});

test('a slow upload passes while it moves, byte by byte', async () => {
  await using at = await pair((request, response) => void request.pipe(response));
  const parts = ['POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\n', ...'0123456789'];
  const { responses } = await sendRaw(at.port, parts, { timeoutMs: 3000 });
  assert.equal(responses[0]?.body, '0123456789');
});

test('a stalled upload is 408 after body_timeout, ends upstream, and frees its slot', async () => {
  const bodies: string[] = [];
  await using at = await pair(
    (request, response) => {
      request.on('error', () => bodies.push('cut'));
      request.on('end', () => bodies.push('whole'));
      request.resume().once('end', () => response.end('ok'));
    },
    { connections: 1 },
    { body_timeout: '200ms' },
  );
  const begun = 'POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nhalf';
  const stalled = await sendRaw(at.port, begun, { timeoutMs: 4000 });
  assert.equal(stalled.responses[0]?.status, 408);
  await until(() => bodies.length === 1);
  assert.deepEqual(bodies, ['cut']);
  assert.equal((await sendRaw(at.port, get('/'))).responses[0]?.status, 200);
});

test('an HTTP/1.0 client that asks for it keeps its connection, and gets answers with a length', async () => {
  await using at = await pair((_request, response) => response.end('ok'));
  const ask = 'GET / HTTP/1.0\r\nHost: app\r\nConnection: keep-alive\r\n\r\n';
  const { responses, closed } = await sendRaw(at.port, ask + ask, { responses: 2 });
  assert.deepEqual(
    responses.map(({ status, body, headers }) => [status, body, headers.connection?.toLowerCase()]),
    [
      [200, 'ok', 'keep-alive'],
      [200, 'ok', 'keep-alive'],
    ],
  );
  assert.equal(closed, false);
});

test('an event stream has its head at once and each event as it comes, and outlives idle_timeout', async () => {
  let stream: ServerResponse | undefined;
  await using at = await pair(
    (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      stream = response;
    },
    {},
    { idle_timeout: '300ms', response_timeout: '300ms' },
  );
  const reading = client(at.port, get('/'));
  await until(() => reading.text.includes('\r\n\r\n'), 500);
  for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
    stream?.write(event);
    await until(() => reading.text.includes(event), 500);
  }
  await new Promise((resolve) => setTimeout(resolve, 900));
  stream?.write('data: 3\n\n');
  await until(() => reading.text.includes('data: 3'), 500);
  reading.socket.destroy();
});

test('back-pressure: a client that does not read stops the upstream, and gets every byte once it does', async () => {
  let written = 0;
  const total = 64 * 1_048_576;
  await using at = await pair((_request, response) => {
    const chunk = Buffer.alloc(65_536, 'x');
    response.writeHead(200, { 'content-length': total });
    const fill = () => {
      while (written < total) {
        written += chunk.length;
        if (!response.write(chunk)) return void response.once('drain', fill);
      }
      response.end();
    };
    fill();
  });
  const socket = connect(at.port, '127.0.0.1');
  socket.pause();
  socket.write(get('/'));
  let before = -1;
  await until(() => {
    const still = before === written && written > 0;
    before = written;
    return still;
  });
  assert.ok(written < total / 2, `${written} bytes were taken in advance`);
  let received = 0;
  socket.on('data', (chunk) => {
    received += chunk.length;
  });
  socket.resume();
  await until(() => received > total, 8000);
  socket.destroy();
});
