// Where a connection ends: behind a request whose framing was in doubt, or that was told `Connection: close`, nothing is read
// as a request any more, though node's parser may have begun to. RFC 9112 sections 6.3 and 9.6.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

const lastRequests = new WeakMap<Duplex, IncomingMessage>();

/**
 * Makes `request` the last one of its HTTP/1 connection. Node's parser hands over pipelined requests of one read one after
 * the other, whatever is answered to the first: unmarked, a smuggled one would be on its way upstream before the connection
 * closes (attacks 44 and 47).
 */
export function endWith(request: IncomingMessage): void {
  if (!lastRequests.has(request.socket)) lastRequests.set(request.socket, request);
}

/** True when an earlier request has ended the connection. */
export const hasEnded = (socket: Duplex): boolean => lastRequests.has(socket);

/** False for what stands behind the last request; the answer to the last one itself says `Connection: close`. */
export function mayBegin(request: IncomingMessage, response: ServerResponse): boolean {
  const last = lastRequests.get(request.socket);
  if (last === undefined) return true;
  response.shouldKeepAlive = false;
  return last === request;
}
