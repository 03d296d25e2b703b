// An upstream that upgrades and then echoes bytes, on any address, with or without TLS: enough to see that a tunnel stands.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo, ListenOptions } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';

/** The upstream. */
export interface RawEcho extends AsyncDisposable {
  readonly port: number;
  /** Request targets of the upgrades. */
  readonly targets: string[];
  /** Server names that clients asked for. */
  readonly names: (string | false | null)[];
}

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Starts it. */
export async function echoOn(at: ListenOptions, tls?: ServerOptions): Promise<RawEcho> {
  const sockets = new Set<Duplex>();
  const targets: string[] = [];
  const names: (string | false | null)[] = [];
  const server = tls === undefined ? createServer() : createTlsServer(tls);
  server.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
    targets.push(request.url ?? '');
    names.push((socket as TLSSocket).servername ?? null);
    sockets.add(socket);
    socket.on('error', () => {});
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${GUID}`).digest('base64');
    const fields = `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n`;
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n`);
    socket.pipe(socket);
  });
  server.on('tlsClientError', () => {});
  server.listen(at);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    targets,
    names,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** The bytes that ask for an upgrade. */
export const handshake = (target: string, host = 'app.test'): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
