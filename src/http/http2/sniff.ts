// Which HTTP a plain connection speaks, by its first three bytes: HTTP/2 with prior knowledge begins with `PRI * HTTP/2.0`
// (RFC 9113 section 3.3), and no method of HTTP/1.1 does. Only listeners that offer both look.
import type { Socket } from 'node:net';

const PREFACE = 'PRI';

/** Reads as much as it takes, puts it back, and tells; a connection that says nothing for `timeoutMs` is cut. */
export function sniff(socket: Socket, timeoutMs: number, found: (isHttp2: boolean) => void): void {
  let read: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  const stop = () => clearTimeout(timer);
  const give = () => socket.destroy();
  const take = (chunk: Buffer) => {
    read = read.length === 0 ? chunk : Buffer.concat([read, chunk]);
    const begin = read.toString('latin1', 0, PREFACE.length);
    if (begin.length < PREFACE.length && PREFACE.startsWith(begin)) return;
    stop();
    socket.off('data', take).off('error', give).off('end', give).off('close', stop);
    socket.pause();
    socket.unshift(read);
    found(begin === PREFACE);
    // An HTTP/2 session fetches what was put back by itself; flowing, it would be lost before that.
    if (begin !== PREFACE) socket.resume();
  };
  socket.on('data', take).on('error', give).on('end', give).on('close', stop);
}
