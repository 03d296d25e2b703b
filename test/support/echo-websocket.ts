// A real WebSocket echo server (RFC 6455, no extensions), as an upstream behind the sidecar: echoes messages, answers pings,
// closes with the right code on a broken frame. Strict, so that byte-for-byte comparisons have something to compare.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Duplex } from 'node:stream';

/** An echo server on loopback. */
export interface EchoWebSocket extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** Request targets of all requests, upgrades or not. */
  readonly seen: string[];
}

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
const known = new Set<number>(Object.values(opcodes));

/** Starts the server. */
export async function echoWebSocket(): Promise<EchoWebSocket> {
  const seen: string[] = [];
  const sockets = new Set<Duplex>();
  const server = createServer((request, response) => {
    seen.push(request.url ?? '');
    response.writeHead(426, { 'content-length': 0 }).end();
  });
  server.on('upgrade', (request, socket, head: Buffer) => {
    seen.push(request.url ?? '');
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${GUID}`).digest('base64');
    const protocol = request.headers['sec-websocket-protocol']?.split(',')[0];
    const chosen = protocol === undefined ? '' : `Sec-WebSocket-Protocol: ${protocol.trim()}\r\n`;
    const fields = 'Upgrade: websocket\r\nConnection: Upgrade\r\n';
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}Sec-WebSocket-Accept: ${accept}\r\n${chosen}\r\n`);
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    const echo = new Echo(socket);
    echo.feed(head);
    socket.on('data', (chunk: Buffer) => echo.feed(chunk));
    socket.on('end', () => socket.end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    seen,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

interface Frame {
  readonly fin: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

class Echo {
  readonly #socket: Duplex;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #needed = 2;
  #message: { opcode: number; parts: Buffer[] } | undefined;
  #closed = false;

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  feed(chunk: Buffer): void {
    if (this.#closed) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (!this.#closed && this.#bytes >= this.#needed) {
      const buffer = Buffer.concat(this.#chunks);
      this.#chunks = [buffer];
      const total = frameLength(buffer);
      if (total > buffer.length) {
        this.#needed = total;
        return;
      }
      this.#chunks = [buffer.subarray(total)];
      this.#bytes = buffer.length - total;
      this.#needed = 2;
      this.#take(buffer.subarray(0, total));
    }
  }

  #take(bytes: Buffer): void {
    const first = bytes[0] as number;
    const opcode = first & 0x0f;
    const fin = (first & 0x80) !== 0;
    const masked = ((bytes[1] as number) & 0x80) !== 0;
    const isControl = opcode >= 8;
    const length = (bytes[1] as number) & 0x7f;
    if ((first & 0x70) !== 0 || !known.has(opcode) || !masked || (isControl && (!fin || length > 125))) {
      this.#close(1002);
      return;
    }
    this.#receive({ fin, opcode, payload: unmasked(bytes) });
  }

  #receive({ fin, opcode, payload }: Frame): void {
    if (opcode === opcodes.ping) this.#send(opcodes.pong, payload);
    else if (opcode === opcodes.close) this.#answerClose(payload);
    else if (opcode !== opcodes.pong) this.#collect(fin, opcode, payload);
  }

  #collect(fin: boolean, opcode: number, payload: Buffer): void {
    const isContinuation = opcode === opcodes.continuation;
    if (isContinuation !== (this.#message !== undefined)) {
      this.#close(1002);
      return;
    }
    this.#message ??= { opcode, parts: [] };
    this.#message.parts.push(payload);
    if (!fin) return;
    const whole = Buffer.concat(this.#message.parts);
    const kind = this.#message.opcode;
    this.#message = undefined;
    if (kind === opcodes.text && !isUtf8(whole)) this.#close(1007);
    else this.#send(kind, whole);
  }

  #answerClose(payload: Buffer): void {
    if (payload.length === 0) this.#close(1000);
    else if (payload.length === 1 || !isCloseCode(payload.readUInt16BE(0))) this.#close(1002);
    else this.#close(isUtf8(payload.subarray(2)) ? payload.readUInt16BE(0) : 1007);
  }

  #close(code: number): void {
    this.#send(opcodes.close, Buffer.from([code >> 8, code & 0xff]));
    this.#closed = true;
    this.#socket.end();
  }

  #send(opcode: number, payload: Buffer): void {
    const { length } = payload;
    const size = length < 126 ? 0 : length < 65_536 ? 2 : 8;
    const head = Buffer.alloc(2 + size);
    head[0] = 0x80 | opcode;
    head[1] = size === 0 ? length : size === 2 ? 126 : 127;
    if (size === 2) head.writeUInt16BE(length, 2);
    if (size === 8) head.writeBigUInt64BE(BigInt(length), 2);
    this.#socket.write(Buffer.concat([head, payload]));
  }
}

/** Bytes of the frame that `buffer` begins with, as far as they are known. */
function frameLength(buffer: Buffer): number {
  const second = buffer[1] as number;
  const length = second & 0x7f;
  const extended = length === 126 ? 2 : length === 127 ? 8 : 0;
  const head = 2 + extended + ((second & 0x80) === 0 ? 0 : 4);
  if (buffer.length < head) return head;
  if (extended === 0) return head + length;
  return head + (extended === 2 ? buffer.readUInt16BE(2) : Number(buffer.readBigUInt64BE(2)));
}

function unmasked(bytes: Buffer): Buffer {
  const length = (bytes[1] as number) & 0x7f;
  const at = 2 + (length === 126 ? 2 : length === 127 ? 8 : 0);
  const mask = bytes.subarray(at, at + 4);
  const payload = Buffer.from(bytes.subarray(at + 4));
  for (let index = 0; index < payload.length; index += 1) {
    payload[index] = (payload[index] as number) ^ (mask[index & 3] as number);
  }
  return payload;
}

function isUtf8(bytes: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

const isCloseCode = (code: number) =>
  (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999);
