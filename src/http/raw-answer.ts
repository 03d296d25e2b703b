// Answers on a socket that has no response object: requests that the parser refused, upgrades, and the lingering close that
// lets a client read what it was told (RFC 9112 section 9.6).
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Reason } from '../core/reasons.ts';
import { problem } from './problem.ts';

/** How refusals before any configuration is known present themselves. */
export const REALM = { realm: 'doorward', showReason: false };

const LINGER_MS = 1000;
const refused = new WeakSet<Duplex>();

/** True while a response is owed or under way on the connection; node keeps the response of the moment there. */
export const owesResponse = (socket: Duplex): boolean =>
  (socket as Duplex & { _httpMessage?: ServerResponse | null })._httpMessage != null;

/** True once a refusal has been written and the socket only lingers. */
export const isRefused = (socket: Duplex): boolean => refused.has(socket);

/**
 * Answers on a raw socket and closes it. With a response still owed on the connection nothing is written: the client would
 * take our refusal for the answer to its earlier request.
 */
export function writeRefusal(socket: Duplex, reason: Reason, id: string): void {
  if (owesResponse(socket)) {
    // What has been written goes out, such as our refusal of the request whose body turned out to be broken.
    (socket as Socket).destroySoon();
    destroyLater(socket);
    return;
  }
  const answer = problem(reason, id, REALM);
  writeRawAnswer(socket, answer.status, answer.headers, answer.body);
}

/** Writes a whole response on a raw socket, with `Connection: close`, and closes it once the client had time to read. */
export function writeRawAnswer(socket: Duplex, status: number, headers: readonly string[], body: string): void {
  let head = `HTTP/1.1 ${status} Refused\r\n`;
  for (let at = 0; at < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`;
  refused.add(socket);
  socket.on('error', () => socket.destroy());
  socket.end(`${head}Date: ${new Date().toUTCString()}\r\nConnection: close\r\n\r\n${body}`, 'latin1');
  socket.resume();
  destroyLater(socket);
}

function destroyLater(socket: Duplex): void {
  const linger = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(linger));
}
