// Connections to the upstream: reused, aged, never out of step. A hand-driven upstream decides every byte of the answers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer as createTlsServer } from 'node:tls';
import { sendRaw } from '../support/raw-client.ts';
import { configFor, startSidecar } from '../support/sidecar.ts';

const get = (path: string, ...fields: string[]) =>
  `GET ${path} HTTP/1.1\r\nHost: app\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`;
const answer = (body: string, ...fields: string[]) =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n${body}`;

/** Called with everything a connection has sent so far, at each read. */
type Script = (connection: { socket: Socket; number: number; request: number }, text: string) => void;

/** A sidecar before an upstream that does as `script` says; `connections` counts those it accepted. */
async function scripted(script: Script, upstream: object = {}) {
  const state = { connections: 0, port: 0 };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    state.connections += 1;
    const connection = { socket, number: state.connections, request: 0 };
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      connection.request += 1;
      script(connection, bytes.toString('latin1'));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const settings = (changed: object) => ({
    upstreams: { app: { url, ...upstream, ...changed } },
    routes: { all: { match: { prefix: '/' }, auth: 'none' } },
  });
  const sidecar = await startSidecar(url, settings({}));
  return Object.assign(state, {
    port: sidecar.port,
    async reconfigure(changed: object) {
      sidecar.writeConfig(configFor(url, settings(changed)));
      assert.equal((await sidecar.reload()).ok, true);
    },
    async [Symbol.asyncDispose]() {
      await sidecar[Symbol.asyncDispose]();
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  });
}

const ask = async (port: number, bytes = get('/')) => (await sendRaw(port, bytes)).responses[0];

test('requests one after another share a connection', async () => {
  await using at = await scripted(({ socket, request }) => socket.write(answer(`n${request}`)));
  assert.deepEqual(
    [(await ask(at.port))?.body, (await ask(at.port))?.body, (await ask(at.port))?.body],
    ['n1', 'n2', 'n3'],
  );
  assert.equal(at.connections, 1);
});

test('bytes behind an answer never become the answer to the next request', async () => {
  const evil = answer('evil');
  await using at = await scripted(({ socket, number }) => socket.write(answer(`good${number}`) + evil));
  assert.equal((await ask(at.port))?.body, 'good1');
  assert.equal((await ask(at.port))?.body, 'good2');
});

test('bytes that come on an idle connection end it', async () => {
  const closed = Promise.withResolvers<void>();
  await using at = await scripted(({ socket, number, request }) => {
    socket.once('close', () => closed.resolve());
    socket.write(answer(`c${number}r${request}`));
    setTimeout(() => socket.write(answer('evil')), 30);
  });
  assert.equal((await ask(at.port))?.body, 'c1r1');
  await closed.promise;
  assert.equal((await ask(at.port))?.body, 'c2r1');
});

test('a connection that the upstream closes after its answer is not used again', async () => {
  await using at = await scripted(({ socket, number }) => socket.end(answer(`c${number}`, 'Connection: close')));
  assert.equal((await ask(at.port))?.body, 'c1');
  assert.equal((await ask(at.port))?.body, 'c2');
});

test('idle connections close after keep_alive, and before the upstream would by its own Keep-Alive', async () => {
  for (const [upstream, hint] of [
    [{ keep_alive: '200ms' }, ''] as const,
    [{ keep_alive: '30s' }, 'timeout=1'] as const,
  ]) {
    const fields = hint === '' ? [] : [`Keep-Alive: ${hint}`];
    await using at = await scripted(({ socket, number }) => socket.write(answer(`c${number}`, ...fields)), upstream);
    assert.equal((await ask(at.port))?.body, 'c1');
    await sleep(800);
    assert.equal((await ask(at.port))?.body, 'c2');
  }
});

test('a reload to another upstream breaks nothing: long answers finish, waiting requests end in time, idle connections close', async () => {
  const sockets: Socket[] = [];
  await using at = await scripted(
    ({ socket }, text) => {
      sockets.push(socket);
      if (text.startsWith('GET /quick')) socket.write(answer('quick'));
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf');
    },
    { connections: 2, keep_alive: '300ms', queue_timeout: '400ms' },
  );
  const long = sendRaw(at.port, get('/long'), { timeoutMs: 5000 });
  assert.equal((await ask(at.port, get('/quick')))?.body, 'quick');
  const second = sendRaw(at.port, get('/long'), { timeoutMs: 5000 });
  await sleep(50);
  const late = ask(at.port, get('/waits'));
  await sleep(20);
  await at.reconfigure({ connections: 7 });
  assert.equal((await late)?.status, 503);
  await sleep(700);
  for (const socket of sockets) if (!socket.destroyed) socket.write('half');
  assert.equal((await long).responses[0]?.body, 'halfhalf');
  assert.equal((await second).responses[0]?.body, 'halfhalf');
  await sleep(900);
  assert.ok(sockets.every((socket) => socket.destroyed || socket.readyState !== 'open'));
});

test('a GET goes out once more, on a fresh connection, when idle ones turn out to be closed; a POST does not', async () => {
  const dead: Socket[] = [];
  await using at = await scripted(({ socket, number, request }) => {
    // The second request on the first connections is met by a reset, as when a server closes while idle.
    if (number <= 2 && request > 1) socket.resetAndDestroy();
    else if (number <= 2) setTimeout(() => socket.write(answer(`c${number}`)), 30);
    else socket.write(answer(`c${number}`));
    dead.push(socket);
  });
  // Two at once make two connections, both of which will fail.
  await Promise.all([ask(at.port), ask(at.port)]);
  assert.equal((await ask(at.port))?.body, 'c3');
  const post = `POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nhi`;
  await using other = await scripted(({ socket, request }) => {
    if (request > 1) socket.resetAndDestroy();
    else socket.write(answer('first'));
  });
  await ask(other.port);
  assert.equal((await ask(other.port, post))?.status, 502);
  assert.equal(other.connections, 1);
});

test('a GET whose answer had begun is not repeated', async () => {
  await using at = await scripted(({ socket, request }) => {
    if (request === 1) socket.write(answer('first'));
    else socket.end('HTTP/1.1 200 O');
  });
  await ask(at.port);
  assert.equal((await ask(at.port))?.status, 502);
  assert.equal(at.connections, 1);
});

test('an unasked 100 and other interim answers are passed over, also when all comes in one read', async () => {
  const interim = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';
  await using at = await scripted(({ socket }) => socket.write(interim + answer('final')));
  const got = await ask(at.port);
  assert.deepEqual([got?.status, got?.body, got?.headers.link], [200, 'final', undefined]);
});

test('attack 55: an answer without length that ends in a reset never looks whole to the client', async () => {
  await using at = await scripted(({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\nhalf', () => setTimeout(() => socket.resetAndDestroy(), 20));
  });
  const { text, closed } = await sendRaw(at.port, get('/'));
  assert.ok(text.includes('half') && closed);
  assert.ok(!text.endsWith('0\r\n\r\n'));
});

test('101 without an upgrade is 502, and the connection ends', async () => {
  await using at = await scripted(({ socket }) => socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
  assert.equal((await ask(at.port))?.status, 502);
});

test('an answer that comes byte by byte is whole; one that is no HTTP is 502 at once, not after the time limit', async () => {
  await using slow = await scripted(async ({ socket }) => {
    for (const byte of 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n') {
      socket.write(byte);
      await sleep(1);
    }
  });
  // The sidecar chunks again.
  assert.match((await sendRaw(slow.port, get('/'))).text, /1\r\nh\r\n1\r\ne.*0\r\n\r\n$/s);
  await using wrong = await scripted(({ socket }) => socket.write('SSH-2.0-OpenSSH_9.2\r\n'));
  assert.equal((await ask(wrong.port))?.status, 502);
  await using lineFeeds = await scripted(({ socket }) => socket.write('HTTP/1.1 200 OK\nContent-Length: 0\n\n'));
  assert.equal((await ask(lineFeeds.port))?.status, 502);
  await using endless = await scripted(({ socket }) => socket.write(`HTTP/1.1 200 OK\r\nA: ${'a'.repeat(20_000)}`));
  assert.equal((await ask(endless.port))?.status, 502);
});

test('an answer before the whole upload reaches the client, and the connection is not used again', async () => {
  await using at = await scripted(({ socket, number, request }) => {
    if (request === 1) socket.write(answer(`early${number}`));
  });
  const begun = 'POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 1000\r\n\r\nonly the beginning';
  assert.equal((await ask(at.port, begun))?.body, 'early1');
  assert.equal((await ask(at.port))?.body, 'early2');
});

test('a body of several megabytes passes both ways, byte for byte', async () => {
  const size = 3_000_000;
  let received = 0;
  await using at = await scripted(({ socket, request }, text) => {
    received += request === 1 ? text.length - text.indexOf('\r\n\r\n') - 4 : text.length;
    if (received === size) socket.write(answer('y'.repeat(size)));
  });
  const request = `PUT / HTTP/1.1\r\nHost: app\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size)}`;
  const [response] = (await sendRaw(at.port, request, { timeoutMs: 10_000 })).responses;
  assert.equal(response?.body, 'y'.repeat(size));
});

test('an upstream that cannot be reached in time is 502, told apart from one that refuses', async () => {
  // A listener whose queue is full lets connections wait for ever; 192.0.2.0/24 is for documentation and leads nowhere.
  const start = performance.now();
  await using sidecar = await startSidecar('http://192.0.2.1:9', {
    upstreams: { app: { url: 'http://192.0.2.1:9', connect_timeout: '150ms' } },
    routes: { all: { match: { prefix: '/' }, auth: 'none' } },
  });
  assert.equal((await ask(sidecar.port))?.status, 502);
  assert.ok(performance.now() - start < 5000);
});

test('TLS upstreams: the pinned CA and the server name decide', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'doorward-tls-'));
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'];
  const subject = ['-subj', '/CN=app.test', '-addext', 'subjectAltName=DNS:app.test'];
  execFileSync('openssl', [...request, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  const names: (string | false | null)[] = [];
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
    names.push((socket as { servername?: string | false | null }).servername ?? null);
    socket.on('error', () => {});
    socket.on('data', () => socket.write(answer('sealed')));
  }).listen(0, '127.0.0.1');
  server.on('tlsClientError', () => {});
  await once(server, 'listening');
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const through = async (tls: object) => {
    await using sidecar = await startSidecar(url, {
      upstreams: { app: { url, tls } },
      routes: { all: { match: { prefix: '/' }, auth: 'none' } },
    });
    // Twice: the second request uses the connection again.
    return [await ask(sidecar.port), await ask(sidecar.port)].map((got) =>
      got?.status === 200 ? got.body : got?.status,
    );
  };
  try {
    const ca = { file: cert };
    assert.deepEqual(await through({ ca, server_name: 'app.test' }), ['sealed', 'sealed']);
    assert.deepEqual(names, ['app.test']);
    assert.deepEqual(await through({ ca, server_name: 'other.test' }), [502, 502]);
    assert.deepEqual(await through({ server_name: 'app.test' }), [502, 502]);
    assert.deepEqual(await through({ ca }), [502, 502]);
  } finally {
    server.close();
    rmSync(dir, { recursive: true, force: true });
  }
});
