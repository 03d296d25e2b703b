// A handshake that the application answers as an ordinary request (any GET does, with `Upgrade: websocket`): the library that shakes
// hands relayed such an answer without heeding the client. What the client did not read stood in memory, all of it; an answer that
// stopped was ended with a 504 of ours in the middle of its body, which a client took for the rest of it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { admin, eventually } from '../attacks/world.ts';
import { startSidecar, tokenFor } from '../support/sidecar.ts';

const HANDSHAKE = [
  'GET /file HTTP/1.1',
  'Host: app',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];

/** A sidecar before an upstream that answers each request as `answer` says. */
async function startWorld(answer: (socket: Socket, head: string) => void, config: object = {}) {
  const upstream = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (head) => answer(socket, head.toString('latin1')));
  }).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const { port } = upstream.address() as { port: number };
  const routes = { all: { match: { prefix: '/' }, auth: 'none' } };
  const sidecar = await startSidecar(`http://127.0.0.1:${port}`, { routes, ...config });
  return {
    sidecar,
    connect(...fields: readonly string[]): Socket {
      const client = connect({ host: '127.0.0.1', port: sidecar.port });
      client.on('error', () => {});
      client.write([...HANDSHAKE, ...fields, '', ''].join('\r\n'));
      return client;
    },
    async [Symbol.asyncDispose]() {
      await sidecar[Symbol.asyncDispose]();
      upstream.close();
    },
  };
}

/** Everything that came until the connection ended. */
async function readAll(client: Socket): Promise<string> {
  let text = '';
  client.on('data', (bytes) => {
    text += bytes.toString('latin1');
  });
  await once(client, 'close');
  return text;
}

test('attack 54: an answer to a handshake waits for a client that does not read', async () => {
  const LENGTH = 80_000_000;
  const piece = Buffer.alloc(65_536);
  let written = 0;
  let upstream: Socket | undefined;
  await using at = await startWorld((socket) => {
    upstream = socket;
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${LENGTH}\r\n\r\n`);
    const go = () => {
      if (socket.destroyed || written >= LENGTH - piece.length) return;
      written += piece.length;
      socket.write(piece, go);
    };
    go();
  });
  const client = at.connect().pause();
  // Until nothing moves any more: the buffers of two connections are full, or everything is through.
  for (let before = -1; before !== written || written === 0; ) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  assert.ok(written < LENGTH / 2, `${written} bytes went to a client that read none`);
  const closed = new Promise((resolve) => upstream?.once('close', resolve));
  client.destroy();
  await closed;
});

test('attack 55: an answer to a handshake that stops is broken off, and nothing of ours is in it', async () => {
  await using at = await startWorld((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc'), {
    defaults: { idle_timeout: '400ms' },
  });
  const text = await readAll(at.connect());
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n(?:[^\r\n]+\r\n)*content-length: 100\r\n(?:[^\r\n]+\r\n)*\r\nabc$/i);
  const decision = at.sidecar.logged().find(({ event }) => event === 'decision');
  assert.deepEqual([decision?.reason, decision?.status], ['upstream_timeout', 200]);
});

test('attack 55: an answer to a handshake whose upstream goes away is broken off and recorded so', async () => {
  await using at = await startWorld((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc'));
  assert.match(await readAll(at.connect()), /\r\n\r\nabc$/);
  assert.equal(at.sidecar.logged().find(({ event }) => event === 'decision')?.reason, 'upstream_reset');
});

test('an answer without a body to a handshake has none', async () => {
  await using at = await startWorld((socket) =>
    socket.write('HTTP/1.1 204 No Content\r\nX-Own: caf\xe9\r\n\r\n', 'latin1'),
  );
  const text = await readAll(at.connect());
  assert.match(text, /^HTTP\/1\.1 204 /);
  assert.match(text, /\r\nx-own: caf\xe9\r\n/i);
  assert.doesNotMatch(text, /transfer-encoding/i);
  assert.match(text, /\r\n\r\n$/);
  assert.equal(at.sidecar.logged().find(({ event }) => event === 'decision')?.reason, 'ok_anonymous');
});

test('fields of a handshake named as what every object has go on as they came', async () => {
  let seen = '';
  await using at = await startWorld((socket, head) => {
    seen = head;
    socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
  });
  await readAll(at.connect('constructor: one', 'valueOf: two', 'constructor: three'));
  const lines = seen.split('\r\n').filter((line) => /^(?:constructor|valueof):/i.test(line));
  assert.deepEqual(lines, ['constructor: one', 'constructor: three', 'valueof: two']);
});

test('a handshake behind a request that is not answered yet is an ordinary request, and is answered after it', async () => {
  const seen: string[] = [];
  await using at = await startWorld((socket, head) => {
    seen.push(head);
    if (head.startsWith('GET /first ')) {
      setTimeout(() => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst'), 200);
    } else socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nsecond');
  });
  const client = connect({ host: '127.0.0.1', port: at.sidecar.port });
  client.write(`GET /first HTTP/1.1\r\nHost: app\r\n\r\n${[...HANDSHAKE, '', ''].join('\r\n')}`);
  assert.match(await readAll(client), /^HTTP\/1\.1 200 [\s\S]*\r\n\r\nfirstHTTP\/1\.1 403 [\s\S]*\r\n\r\nsecond$/);
  assert.equal(seen.length, 2);
  assert.doesNotMatch(seen.join(''), /^upgrade:/im);
});

test('an answer to a handshake whose token is revoked is broken off, and recorded so', async () => {
  await using at = await startWorld((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc'), {
    routes: { all: { match: { prefix: '/' } } },
  });
  const token = tokenFor();
  const client = at.connect(`Authorization: Bearer ${token}`);
  await once(client, 'data');
  const closed = readAll(client);
  assert.equal((await admin(at.sidecar, 'POST', '/v1/revocations', { token, reason: 'leaked' })).status, 201);
  await closed;
  const decision = at.sidecar.logged().find(({ event }) => event === 'decision');
  assert.deepEqual([decision?.reason, decision?.status], ['token_revoked', 200]);
});

test('an answer to a handshake is finished by a drain as any other', async () => {
  let upstream: Socket | undefined;
  await using at = await startWorld(
    (socket) => {
      upstream = socket;
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc');
    },
    { proxy: { drain: { delay: '0s', timeout: '30s' } } },
  );
  const client = at.connect();
  await once(client, 'data');
  const text = readAll(client);
  const drained = at.sidecar.drain();
  // Streams are ended at once; this is longer than the delay before that.
  await eventually(async () => (await fetch(`${at.sidecar.observeUrl}/readyz`)).status === 503, 20_000);
  upstream?.end('def');
  await text;
  assert.equal(await drained, true);
  assert.equal(at.sidecar.logged().find(({ event }) => event === 'decision')?.reason, 'ok_anonymous');
});
