// The HTTP/1.1 server behind TLS: picks certificates by server name, changes them while it runs, and lets nobody in whose
// client certificate did not verify. What is served on a connection is listener.ts's.
import type { ServerOptions } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { showsCertificate } from './client-certificate.ts';
import type { Http2Door } from './http2/door.ts';
import { SecureConnection } from './secure-connection.ts';
import { type ListenerTls, TlsCertificates } from './tls.ts';

/** Why a handshake failed; a closed list, for a metric. */
export type HandshakeFailure = 'client_certificate' | 'server_name' | 'timeout' | 'protocol';

/** A TLS server that does not listen yet. */
export interface TlsServer {
  readonly server: Server;
  /**
   * New connections use these; throws, with the old ones in force, for what cannot be used. Other client authorities end
   * the connections there are: idle ones now, the others within seconds.
   */
  use(tls: ListenerTls): void;
  /** Cuts connections that no request knows of, such as those in their handshake. */
  destroy(): void;
}

/** Who hears of connections, and of those that did not come to be. */
export interface TlsServing {
  /** Takes connections that chose `h2`; without it they cannot. */
  readonly door?: Http2Door | undefined;
  readonly onFailed?: ((cause: HandshakeFailure) => void) | undefined;
}

/** Makes one; throws for certificates that cannot be used. `timeoutMs` bounds the handshake. */
export function openTlsServer(
  options: ServerOptions,
  tls: ListenerTls,
  timeoutMs: number,
  { door, onFailed }: TlsServing,
): TlsServer {
  let current = new TlsCertificates(tls);
  let clientCa = tls.clientCa;
  const server = createServer({
    ...options,
    ...current.defaults,
    ALPNProtocols: door === undefined ? ['http/1.1'] : ['h2', 'http/1.1'],
    handshakeTimeout: timeoutMs,
    requestCert: tls.clientCa !== undefined,
    // Refusing is node's: a CA that accepts anybody must never be the outcome of a mistake (attack 128).
    rejectUnauthorized: tls.clientOptional !== true,
    SNICallback(name, done) {
      const context = current.contextFor(name);
      if (context === undefined) done(unknownServerName());
      else done(null, context);
    },
  });
  // Node's own would take the failure for a malformed request and answer it.
  server.removeAllListeners('tlsClientError');
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    onFailed?.(failureOf(error.code));
    socket.destroy();
  });
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  // An authority that was taken away vouches for nobody any more, on open connections neither.
  const renew = () => {
    const before = [...open];
    server.closeIdleConnections();
    door?.renew();
    setTimeout(() => {
      for (const socket of before) socket.destroy();
    }, RENEW_MS).unref();
  };
  const [serveHttp1] = server.listeners('secureConnection');
  server.removeAllListeners('secureConnection');
  server.on('secureConnection', (socket: TLSSocket) => {
    if (tls.clientOptional === true && !socket.authorized && showsCertificate(socket)) {
      onFailed?.('client_certificate');
      socket.destroy();
      return;
    }
    new SecureConnection(socket, current);
    if (socket.alpnProtocol === 'h2') door?.serve(socket);
    else serveHttp1?.call(server, socket);
  });
  return {
    server,
    use(next) {
      const certificates = new TlsCertificates(next);
      server.setSecureContext(certificates.defaults);
      current = certificates;
      if (next.clientCa !== clientCa) renew();
      clientCa = next.clientCa;
    },
    destroy() {
      for (const socket of open) socket.destroy();
    },
  };
}

/** How long requests on connections from before other client authorities may go on. */
const RENEW_MS = 5000;
const UNKNOWN_NAME = 'DOORWARD_UNKNOWN_SERVER_NAME';

function unknownServerName(): Error {
  return Object.assign(new Error('no certificate is for this server name'), { code: UNKNOWN_NAME });
}

function failureOf(code: string | undefined): HandshakeFailure {
  if (code === UNKNOWN_NAME) return 'server_name';
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return 'timeout';
  return code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE' ? 'client_certificate' : 'protocol';
}
