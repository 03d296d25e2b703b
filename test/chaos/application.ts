// The application behind the sidecars of a chaos run, as a process that can be killed. It writes the number of every request
// into a file before it answers, so that what it saw outlives it; below /…/events and /…/socket it goes on sending that number
// until somebody ends it. Run as a program: `node application.ts PORT FILE`.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { freePort } from '../support/free-port.ts';

/** How often a stream says something. */
export const TICK_MS = 250;

/** A running application. */
export interface Application extends AsyncDisposable {
  readonly port: number;
  /** kill -9. */
  kill(): Promise<void>;
  /** Starts it again on its port. */
  start(): Promise<void>;
  /** How often it saw each request, over all its lives. */
  seen(): Map<string, number>;
}

/** Starts it; `file` takes the numbers. */
export async function startApplication(file: string): Promise<Application> {
  const port = await freePort();
  writeFileSync(file, '');
  let child: ChildProcess;
  const start = async () => {
    child = spawn(process.execPath, [import.meta.filename, String(port), file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout as NodeJS.ReadableStream, 'data');
  };
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  await start();
  return { port, kill, start, seen: () => countLines(file), [Symbol.asyncDispose]: kill };
}

function countLines(file: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of readFileSync(file, 'utf8').split('\n')) if (line) counts.set(line, (counts.get(line) ?? 0) + 1);
  return counts;
}

const numberOf = (request: IncomingMessage) => String(request.headers['x-chaos-seq']);

function serve(port: number, file: string): void {
  const numbers = openSync(file, 'a');
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    const number = numberOf(request);
    writeSync(numbers, `${number}\n`);
    if (!request.url?.endsWith('/events')) return void request.resume().on('end', () => response.end(number));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    tick(response, () => response.write(`data: ${number}\n\n`));
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
    const number = numberOf(request);
    writeSync(numbers, `${number}\n`);
    openWebSocket(request, socket);
    tick(socket, () => socket.write(textFrame(number)));
  });
  server.listen(port, '127.0.0.1', () => process.stdout.write('up\n'));
}

/** Says it now and again, until the other side is gone. */
function tick(open: { once(event: 'close', listener: () => void): unknown }, say: () => void): void {
  say();
  const timer = setInterval(say, TICK_MS);
  open.once('close', () => clearInterval(timer));
}

/** RFC 6455 section 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const CLOSE = 0x88;

/** Takes the handshake (RFC 6455 section 4.2.2), and ends when the first bytes of anything are those of a close frame. */
function openWebSocket(request: IncomingMessage, socket: Duplex): void {
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${GUID}`).digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.end());
  socket.on('data', (bytes: Buffer) => {
    if (bytes[0] === CLOSE) socket.end(Buffer.from([CLOSE, 0]));
  });
}

/** An unmasked text frame of up to 125 bytes. */
const textFrame = (text: string) => Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]);

if (process.argv[1] === import.meta.filename) serve(Number(process.argv[2]), process.argv[3] as string);
