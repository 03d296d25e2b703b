// Whether an upstream's 101 really accepts the WebSocket that was asked for. An application that can be made to answer some
// other 101 (a fetched status, a protocol of its own) would else give the client a raw tunnel behind us. RFC 6455 section 4.1.
import { hash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** True when `headers` of a 101 answer the handshake whose Sec-WebSocket-Key is `key`. */
export function acceptsHandshake(headers: IncomingHttpHeaders, key: string): boolean {
  return (
    headers.upgrade?.toLowerCase() === 'websocket' &&
    headers['sec-websocket-accept'] === hash('sha1', `${key}${GUID}`, 'base64')
  );
}
