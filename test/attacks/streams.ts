// Upgrades and streams, written byte by byte, for the attack tests: an upstream that opens tunnels and event streams, and
// clients whose bytes are kept.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { bearer, eventually, head } from './world.ts';

/** A sound handshake. */
export const handshake = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];

/** RFC 6455 section 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** An unmasked text frame, as servers send it; `length` alone gives a head whose payload follows later. */
export const frame = (text: string, length = text.length) =>
  Buffer.concat([Buffer.from([0x81, 126, length >> 8, length & 0xff]), Buffer.from(text)]);

/**
 * An upstream that upgrades, streams events under /events and lets what is below /poll wait for its answer; the test gets its
 * sockets and what waits.
 */
export async function streamUpstream() {
  const requests: IncomingMessage[] = [];
  const sockets: Socket[] = [];
  const events: { write(text: string): void }[] = [];
  const polls: { answer(text: string): void }[] = [];
  const all = new Set<Socket>();
  const server = createServer((request, response) => {
    requests.push(request);
    if (request.url?.startsWith('/poll')) return void polls.push({ answer: (text) => void response.end(text) });
    if (request.url !== '/events') return void response.end('plain');
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    events.push({ write: (text) => void response.write(text) });
  });
  server.on('connection', (socket) => {
    all.add(socket);
    socket.on('error', () => {});
  });
  server.on('upgrade', (request, socket) => {
    requests.push(request);
    if (request.url === '/refuse') return void socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${GUID}`).digest('base64');
    const fields = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n`;
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n`);
    sockets.push(socket as Socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    sockets,
    events,
    polls,
    async [Symbol.asyncDispose]() {
      for (const socket of all) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A client connection whose bytes are collected. */
export function open(port: number, bytes: string) {
  const socket = connect(port, '127.0.0.1');
  const state = { socket, bytes: Buffer.alloc(0), closed: false, reset: false };
  socket.on('error', () => {
    state.reset = true;
  });
  socket.on('data', (chunk) => {
    state.bytes = Buffer.concat([state.bytes, chunk as Buffer]);
  });
  socket.on('close', () => {
    state.closed = true;
  });
  socket.write(bytes, 'latin1');
  return Object.assign(state, {
    text: () => state.bytes.toString('latin1'),
    after: () => state.bytes.subarray(state.bytes.indexOf('\r\n\r\n') + 4),
    [Symbol.dispose]: () => void socket.destroy(),
  });
}

/** The code of the close frame that `bytes` are, to the last one. */
export const closeFrameAt = (bytes: Buffer) => {
  assert.equal(bytes[0], 0x88, 'a close frame, at a frame boundary');
  assert.equal(bytes.length, 2 + (bytes[1] as number), 'and nothing after it');
  return bytes.readUInt16BE(2);
};

/** A tunnel that is open. */
export const open101 = async (port: number, token: string) => {
  const client = open(port, head('GET /ws', [...handshake, bearer(token)]));
  await eventually(() => client.text().includes('\r\n\r\n'));
  assert.match(client.text(), /^HTTP\/1\.1 101 /);
  return client;
};
