// Answers when something gives out (design 4.11, 4.12): limits on bodies, queue and time, told apart by status and code, and
// what becomes of the connection.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import { freePort } from '../support/free-port.ts';
import { sendRaw } from '../support/raw-client.ts';
import { startSidecar } from '../support/sidecar.ts';

async function pair(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  upstreamConfig: object = {},
  routeConfig: object = {},
) {
  const server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const open = { auth: 'none', ...routeConfig };
  const sidecar = await startSidecar(url, {
    upstreams: { app: { url, ...upstreamConfig } },
    routes: { all: { match: { prefix: '/' }, ...open }, closed: { match: { prefix: '/closed' } } },
  });
  return {
    port: sidecar.port,
    async [Symbol.asyncDispose]() {
      await sidecar[Symbol.asyncDispose]();
      server.closeAllConnections();
      server.close();
    },
  };
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: app\r\n\r\n`;
const post = (path: string, framing: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: app\r\n${framing}\r\n\r\n${body}`;
const outcome = (response: { readonly status: number; readonly body: string } | undefined) => [
  response?.status,
  response === undefined ? undefined : (JSON.parse(response.body) as { code: string }).code,
];

test('a refused request without a body leaves the connection usable', async () => {
  await using at = await pair((_request, response) => void response.end('ok'));
  const { responses, closed } = await sendRaw(at.port, get('/closed') + get('/closed') + get('/open'), {
    responses: 3,
  });
  assert.deepEqual(
    responses.map(({ status }) => status),
    [401, 401, 200],
  );
  assert.equal(closed, false);
});

test('a refused request whose body has already come leaves the answer readable and the next request unharmed', async () => {
  let seen = 0;
  await using at = await pair((_request, response) => {
    seen += 1;
    response.end('ok');
  });
  const { responses } = await sendRaw(at.port, post('/closed', 'Content-Length: 5', 'hello'), { responses: 1 });
  assert.deepEqual(
    responses.map(({ status }) => status),
    [401],
  );
  assert.equal(seen, 0);
});

test('a refused upload gets its answer at once, though the client goes on sending, and the connection closes', async () => {
  await using at = await pair((_request, response) => void response.end('ok'));
  const socket = connect(at.port, '127.0.0.1');
  let text = '';
  let failed = false;
  socket.on('error', () => {
    failed = true;
  });
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.write(post('/closed', 'Content-Length: 9000000', 'x'.repeat(1000)));
  const timer = setInterval(() => socket.writable && socket.write('x'.repeat(1000)), 5);
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(timer);
  assert.match(text, /^HTTP\/1\.1 401 /);
  assert.match(text, /connection: close/i);
  assert.match(text, /"code":"unauthorized"/, `the answer is whole (reset afterwards: ${failed})`);
});

test('a body over body_size is 413, before the upstream with Content-Length and in between when chunked', async () => {
  let complete = 0;
  await using at = await pair(
    (request, response) => {
      request.resume().on('end', () => {
        complete += 1;
        response.end('ok');
      });
    },
    {},
    { body_size: '1KiB' },
  );
  const exact = await sendRaw(at.port, post('/', 'Content-Length: 1024', 'x'.repeat(1024)));
  assert.equal(exact.responses[0]?.status, 200);
  const large = await sendRaw(at.port, post('/', 'Content-Length: 1025', 'x'.repeat(1025)));
  assert.deepEqual(outcome(large.responses[0]), [413, 'body_too_large']);
  const chunked = await sendRaw(
    at.port,
    post('/', 'Transfer-Encoding: chunked', `401\r\n${'x'.repeat(1025)}\r\n0\r\n\r\n`),
  );
  assert.deepEqual(outcome(chunked.responses[0]), [413, 'body_too_large']);
  assert.ok(chunked.closed);
  assert.equal(complete, 1);
});

test('a full queue is 503 at once, a late one 503 after queue_timeout, and the slot comes back', async () => {
  const held: ServerResponse[] = [];
  await using at = await pair(
    (request, response) => void (request.url === '/hold' ? held.push(response) : response.end('ok')),
    { connections: 1, queue: 1, queue_timeout: '1500ms' },
  );
  const holding = sendRaw(at.port, get('/hold'), { timeoutMs: 20_000 });
  while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const startedMs = performance.now();
  const queued = sendRaw(at.port, get('/queued'), { timeoutMs: 10_000 }).then((answer) => ({
    ...answer,
    ms: performance.now() - startedMs,
  }));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const full = await sendRaw(at.port, get('/full'));
  assert.deepEqual(outcome(full.responses[0]), [503, 'upstream_busy']);
  assert.ok(Number(full.responses[0]?.headers['retry-after']) >= 1);
  const late = await queued;
  assert.deepEqual(outcome(late.responses[0]), [503, 'upstream_busy']);
  assert.ok(late.ms >= 1450, `${late.ms} ms`);
  held[0]?.end('released');
  assert.equal((await holding).responses[0]?.body, 'released');
  assert.equal((await sendRaw(at.port, get('/next'))).responses[0]?.body, 'ok');
});

test('an upstream that does not answer is 504 after response_timeout, and the connection stays usable', async () => {
  await using at = await pair(
    (request, response) => void (request.url === '/quick' && response.end('ok')),
    {},
    { response_timeout: '200ms' },
  );
  const { responses } = await sendRaw(at.port, get('/never') + get('/quick'), { responses: 2 });
  assert.deepEqual(outcome(responses[0]), [504, 'upstream_timeout']);
  assert.equal(responses[1]?.body, 'ok');
});

test('an upstream that stalls within its body is a reset after idle_timeout', async () => {
  await using at = await pair((_request, response) => void response.write('begin'), {}, { idle_timeout: '200ms' });
  const { text, closed } = await sendRaw(at.port, get('/'));
  assert.equal(closed, true);
  assert.ok(text.includes('begin') && !text.includes('\r\n0\r\n\r\n'));
});

test('an upstream that is not there is 502, one that hangs up is another 502, one that talks nonsense a third', async () => {
  const port = await freePort();
  await using gone = await startSidecar(`http://127.0.0.1:${port}`, {
    routes: { all: { match: { prefix: '/' }, auth: 'none' } },
  });
  assert.deepEqual(outcome((await sendRaw(gone.port, get('/'))).responses[0]), [502, 'upstream_unreachable']);
  await using at = await pair((request, response) => {
    if (request.url === '/hangup') request.socket.destroy();
    else response.socket?.end('nonsense\r\n\r\n');
  });
  assert.deepEqual(outcome((await sendRaw(at.port, get('/hangup'))).responses[0]), [502, 'upstream_reset']);
  assert.deepEqual(outcome((await sendRaw(at.port, get('/nonsense'))).responses[0]), [502, 'upstream_invalid']);
});

test('a response whose fields cannot be written is 502 and costs no slot', async () => {
  const { createServer: createTcp } = await import('node:net');
  const tcp = createTcp((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 2\r\n\r\nok'));
  }).listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  const url = `http://127.0.0.1:${(tcp.address() as AddressInfo).port}`;
  await using at = await startSidecar(url, {
    upstreams: { app: { url, connections: 1, queue: 0 } },
    routes: { all: { match: { prefix: '/' }, auth: 'none' } },
  });
  for (let n = 0; n < 3; n += 1) {
    assert.deepEqual(outcome((await sendRaw(at.port, get('/'))).responses[0]), [502, 'upstream_invalid']);
  }
  tcp.close();
});
