// What an upstream answers to a WebSocket handshake: whether its 101 really accepts it, and which fields of the answer may go
// on to the client (http-proxy writes them as they stand). An application that can be made to answer some
// other 101 (a fetched status, a protocol of its own) would else give the client a raw tunnel behind us. RFC 6455 section 4.1.
import { hash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { hopByHop, listTokens } from '../../http/headers.ts';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** True when `headers` of a 101 answer the handshake whose Sec-WebSocket-Key is `key`. */
export function acceptsHandshake(headers: IncomingHttpHeaders, key: string): boolean {
  return (
    headers.upgrade?.toLowerCase() === 'websocket' &&
    headers['sec-websocket-accept'] === hash('sha1', `${key}${GUID}`, 'base64')
  );
}

/** Fields that only the sidecar sets. */
const ours = ['ratelimit', 'ratelimit-policy'];

/**
 * Removes from `headers` what ends here or is ours to say (attack 56), in place. With `status` 101 the upgrade itself stays;
 * any other answer closes the connection, because what follows on it is no request any more.
 */
export function pruneHandshakeAnswer(headers: IncomingHttpHeaders, status: number): void {
  const upgrade = status === 101 ? headers.upgrade : undefined;
  const listed = headers.connection === undefined ? [] : listTokens(headers.connection);
  for (const name of [...hopByHop, ...ours, ...listed]) delete headers[name];
  headers.connection = upgrade === undefined ? 'close' : 'Upgrade';
  if (upgrade !== undefined) headers.upgrade = upgrade;
}
