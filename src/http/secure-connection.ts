// What a TLS connection has established, for every request on it: found once, when the handshake is done, and kept on the
// socket so that a request finds it without a look-up.
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type ClientCertificate, clientCertificateOf } from './client-certificate.ts';
import type { TlsCertificates } from './tls.ts';

const established = Symbol('secure connection');

/** A connection after its handshake. */
export class SecureConnection {
  /** The verified certificate of the client. */
  readonly client: ClientCertificate | undefined;
  /** What the planes remember about the connection; its type is their business. */
  memo: object | undefined = undefined;
  readonly #certificates: TlsCertificates;
  readonly #serverName: string | undefined;
  #lastHost: string | undefined = undefined;
  #lastMisdirected = false;

  constructor(socket: TLSSocket, certificates: TlsCertificates) {
    this.client = clientCertificateOf(socket);
    this.#certificates = certificates;
    this.#serverName = typeof socket.servername === 'string' ? socket.servername : undefined;
    (socket as TLSSocket & { [established]?: SecureConnection })[established] = this;
  }

  /** Whether a request for `host` (lower case, no port) must be answered 421. */
  isMisdirected(host: string): boolean {
    if (host !== this.#lastHost) {
      this.#lastMisdirected = this.#certificates.isMisdirected(host, this.#serverName);
      this.#lastHost = host;
    }
    return this.#lastMisdirected;
  }
}

/** The secure connection behind a socket; undefined without TLS. */
export function secureConnectionOf(socket: Socket): SecureConnection | undefined {
  return (socket as Socket & { [established]?: SecureConnection })[established];
}
