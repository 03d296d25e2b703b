// A listening HTTP/1.1 server with node's strict parser, its limits, and answers for what the parser refuses. Shared by the
// proxy, admin and observe ports; knows none of them (design 4.1).
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Server as TlsServer } from 'node:tls';
import { requestId } from '../core/ids.ts';
import type { Reason } from '../core/reasons.ts';
import { problem } from './problem.ts';

/** Limits that hold before any of our code sees a request. */
export interface ListenerLimits {
  readonly headerBytes: number;
  readonly headerTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly maxConnections: number;
}

/** What a plane does with requests. */
export interface ListenerHandlers {
  /** `expectsContinue`: the client waits for 100 before it sends the body. */
  onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void;
  /** Only for `Upgrade: websocket`; every other upgrade stays an ordinary request (attack 47: h2c). */
  onWebSocket?(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** A request that the parser refused; for the decision record. */
  onRefused?(reason: Reason, requestId: string, peer: string | undefined): void;
}

/** `host:port`, or the path of a Unix socket. */
export type ListenAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** TLS of a listener. With `clientCa` nobody gets in without a certificate that one of these authorities signed. */
export interface ListenerTls {
  /** PEM, the leaf first. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
  /** PEM of certificate authorities. */
  readonly clientCa?: string | undefined;
}

/** A server that accepts connections. */
export interface Listener extends AsyncDisposable {
  /** `host:port` as bound (port 0 resolved), or the socket path. */
  readonly address: string;
  readonly port: number;
  /** Stops accepting; resolves when the last connection has closed. */
  close(): Promise<void>;
  /** Closes connections without a request in flight. */
  closeIdle(): void;
  /** Cuts every connection. */
  destroy(): void;
  /** New connections use these; throws, with the old ones in force, for what cannot be used. TypeError without TLS. */
  useTls(tls: ListenerTls): void;
}

/** Splits `host:port` or `[v6]:port`. */
export function listenAddress(text: string): ListenAddress {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

const REALM = { realm: 'doorward', showReason: false };

/** True while a response is owed or under way on the connection; node keeps the response of the moment there. */
const owesResponse = (socket: Duplex) =>
  (socket as Duplex & { _httpMessage?: ServerResponse | null })._httpMessage != null;

/** Starts listening; rejects with the system's error when the address cannot be bound, or the TLS material not be used. */
export async function listen(
  at: ListenAddress,
  limits: ListenerLimits,
  handlers: ListenerHandlers,
  tls?: ListenerTls,
): Promise<Listener> {
  const options = serverOptions(limits, handlers);
  const server =
    tls === undefined
      ? createServer(options)
      : // Refusing is node's: a CA that accepts anybody must never be the outcome of a mistake (attack 128).
        createTlsServer({
          ...options,
          ...contextOf(tls),
          requestCert: tls.clientCa !== undefined,
          rejectUnauthorized: true,
        });
  server.maxConnections = limits.maxConnections;
  // Node's default drops fields beyond 2000 in silence, security-relevant ones included; headerBytes bounds them already.
  server.maxHeadersCount = 0;
  const upgraded = connectHandlers(server, handlers);
  server.listen('path' in at ? { path: at.path } : { host: at.host, port: at.port });
  await once(server, 'listening');
  return listenerFor(server, at, upgraded);
}

const contextOf = ({ certificate, key, clientCa }: ListenerTls) => ({
  cert: certificate,
  key,
  minVersion: 'TLSv1.2' as const,
  ...(clientCa === undefined ? {} : { ca: clientCa }),
});

function serverOptions(limits: ListenerLimits, handlers: ListenerHandlers) {
  return {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headerTimeoutMs,
    // A body may take as long as it moves; proxy/outbound/forward.ts ends one that stalls.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(1000, limits.headerTimeoutMs),
    keepAliveTimeout: limits.keepAliveMs,
    insecureHTTPParser: false,
    // Refused by us instead, so that the answer is a problem document with a request id.
    requireHostHeader: false,
    noDelay: true,
    shouldUpgradeCallback: (request: IncomingMessage) =>
      handlers.onWebSocket !== undefined && request.headers.upgrade?.toLowerCase() === 'websocket',
  };
}

/** Returns the sockets that have left HTTP, which node's server no longer closes by itself. */
function connectHandlers(server: Server, handlers: ListenerHandlers): ReadonlySet<Duplex> {
  const upgraded = new Set<Duplex>();
  const refuse = (socket: Duplex, reason: Reason) => {
    const id = requestId();
    handlers.onRefused?.(reason, id, (socket as Socket).remoteAddress);
    writeRefusal(socket, reason, id);
  };
  server.on('request', (request, response) => handlers.onRequest(request, response, false));
  server.on('checkContinue', (request, response) => handlers.onRequest(request, response, true));
  server.on('checkExpectation', (request, response) => {
    const id = requestId();
    handlers.onRefused?.('expectation_failed', id, request.socket.remoteAddress);
    const answer = problem('expectation_failed', id, REALM);
    response.writeHead(answer.status, [...answer.headers, 'Connection', 'close']).end(answer.body);
  });
  server.on('connect', (_request, socket) => refuse(socket, 'connect_unsupported'));
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // The parser complains of every further byte; the answer is out, and lingering until it was read.
    if (refusedSockets.has(socket)) return;
    if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy();
    else refuse(socket, parserReason(error.code));
  });
  if (handlers.onWebSocket !== undefined) {
    server.on('upgrade', (request, socket, head) => {
      upgraded.add(socket);
      socket.once('close', () => upgraded.delete(socket));
      handlers.onWebSocket?.(request, socket, head);
    });
  }
  return upgraded;
}

function parserReason(code: string | undefined): Reason {
  if (code === 'HPE_HEADER_OVERFLOW') return 'headers_too_large';
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'request_timeout';
  return 'request_malformed';
}

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
  refusedSockets.add(socket);
  socket.on('error', () => socket.destroy());
  socket.end(`${head}Date: ${new Date().toUTCString()}\r\nConnection: close\r\n\r\n${body}`, 'latin1');
  socket.resume();
  destroyLater(socket);
}

const LINGER_MS = 1000;
const refusedSockets = new WeakSet<Duplex>();

function destroyLater(socket: Duplex): void {
  const linger = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(linger));
}

function listenerFor(server: Server, at: ListenAddress, upgraded: ReadonlySet<Duplex>): Listener {
  const bound = server.address() as AddressInfo | string;
  const port = typeof bound === 'string' ? 0 : bound.port;
  const close = async () => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeIdleConnections();
    await closed;
  };
  const destroy = () => {
    server.closeAllConnections();
    for (const socket of upgraded) socket.destroy();
  };
  return {
    address: 'path' in at ? at.path : `${at.host.includes(':') ? `[${at.host}]` : at.host}:${port}`,
    port,
    close,
    closeIdle: () => server.closeIdleConnections(),
    destroy,
    useTls(tls) {
      if (!(server instanceof TlsServer)) throw new TypeError('this listener speaks no TLS');
      server.setSecureContext(contextOf(tls));
    },
    async [Symbol.asyncDispose]() {
      const closed = close();
      destroy();
      await closed;
    },
  };
}
