// A listening server: node's strict HTTP/1.1 parser with its limits, and answers for what it refuses; HTTP/2 beside it where
// that is wanted (http2/door.ts). Shared by the proxy, admin and observe ports; knows none of them (design 4.1).
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { requestId } from '../core/ids.ts';
import type { Reason } from '../core/reasons.ts';
import type { ClientResponse } from './client-response.ts';
import { Http2Door } from './http2/door.ts';
import { endWith, hasEnded, mayBegin } from './last-request.ts';
import { problem } from './problem.ts';
import { isRefused, owesResponse, REALM, writeRefusal } from './raw-answer.ts';
import { cutStuckClients } from './stuck-clients.ts';
import type { ListenerTls } from './tls.ts';
import { type HandshakeFailure, openTlsServer, type TlsServer } from './tls-server.ts';

/** Limits that hold before any of our code sees a request. */
export interface ListenerLimits {
  readonly headerBytes: number;
  readonly headerTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly maxConnections: number;
  /** How long a client may take nothing of what waits for it; undefined for ever. HTTP/2 streams have bounds of their own. */
  readonly sendTimeoutMs?: number;
  /** HTTP/2 is spoken too: by ALPN over TLS, with prior knowledge without. Requests at once on one connection. */
  readonly http2Streams?: number | undefined;
}

/** What a plane does with requests. */
export interface ListenerHandlers {
  /** `expectsContinue`: the client waits for 100 before it sends the body. */
  onRequest(request: IncomingMessage, response: ClientResponse, expectsContinue: boolean): void;
  /** Only for `Upgrade: websocket`; every other upgrade stays an ordinary request (attack 47: h2c). */
  onWebSocket?(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** False for a handshake that is to be answered as an ordinary request; without it all are taken. */
  takesWebSocket?(request: IncomingMessage): boolean;
  /** A request that the parser refused; for the decision record. */
  onRefused?(reason: Reason, requestId: string, peer: string | undefined): void;
  /** A client that did not get through the TLS handshake. */
  onHandshakeFailed?(cause: HandshakeFailure): void;
}

/** `host:port`, or the path of a Unix socket. */
export type ListenAddress =
  | {
      readonly host: string;
      readonly port: number;
      /** Other processes may listen here too; the system spreads connections. ENOTSUP where it cannot. */
      readonly reusePort?: boolean;
    }
  | { readonly path: string };

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
export function listenAddress(text: string): Exclude<ListenAddress, { path: string }> {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

/** Starts listening; rejects with the system's error when the address cannot be bound, or the TLS material not be used. */
export async function listen(
  at: ListenAddress,
  limits: ListenerLimits,
  handlers: ListenerHandlers,
  tls?: ListenerTls,
): Promise<Listener> {
  const options = serverOptions(limits, handlers);
  const door = openDoor(limits, handlers, tls !== undefined);
  const secure =
    tls && openTlsServer(options, tls, limits.headerTimeoutMs, { door, onFailed: handlers.onHandshakeFailed });
  const server = secure?.server ?? createServer(options);
  if (door !== undefined && secure === undefined) offerHttp2(server, door);
  server.maxConnections = limits.maxConnections;
  // Node's default drops fields beyond 2000 in silence, security-relevant ones included; headerBytes bounds them already.
  server.maxHeadersCount = 0;
  if (limits.sendTimeoutMs !== undefined) cutStuckClients(server, limits.sendTimeoutMs, tls !== undefined);
  const upgraded = connectHandlers(server, handlers);
  server.listen('path' in at ? { path: at.path } : { host: at.host, port: at.port, reusePort: at.reusePort === true });
  await once(server, 'listening');
  return listenerFor(server, at, upgraded, { secure, door });
}

function openDoor(limits: ListenerLimits, handlers: ListenerHandlers, secure: boolean): Http2Door | undefined {
  const { http2Streams: maxStreams } = limits;
  return maxStreams === undefined ? undefined : new Http2Door({ ...limits, maxStreams }, handlers, secure);
}

/** Looks at the first bytes of each plain connection. */
function offerHttp2(server: Server, door: Http2Door): void {
  const [serveHttp1] = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket) => door.choose(socket, () => serveHttp1?.call(server, socket)));
}

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
    shouldUpgradeCallback: (request: IncomingMessage) => {
      if (hasEnded(request.socket)) return false;
      const isHandshake = handlers.onWebSocket !== undefined && request.headers.upgrade?.toLowerCase() === 'websocket';
      // Behind a request that is not answered yet it would be answered before that one; as an ordinary request it waits.
      const isNext = !owesResponse(request.socket);
      const taken = isHandshake && isNext && handlers.takesWebSocket?.(request) !== false;
      // Node drops what follows it in the same read, and would take the next read for the beginning of a request.
      if (!taken) endWith(request);
      return taken;
    },
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
  const refuseRead = (request: IncomingMessage, response: ServerResponse, reason: Reason) => {
    const id = requestId();
    handlers.onRefused?.(reason, id, request.socket.remoteAddress);
    const answer = problem(reason, id, REALM);
    endWith(request);
    response.writeHead(answer.status, [...answer.headers, 'Connection', 'close']).end(answer.body);
  };
  const begin = (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) => {
    if (!mayBegin(request, response)) return;
    // Node's parser also takes 0.9 and 2.0 for versions; what their rules for this text would be, nobody can say.
    if (request.httpVersionMajor !== 1) refuseRead(request, response, 'request_malformed');
    else handlers.onRequest(request, response, expectsContinue);
  };
  server.on('request', (request, response) => begin(request, response, false));
  server.on('checkContinue', (request, response) => begin(request, response, true));
  server.on('checkExpectation', (request, response) => refuseRead(request, response, 'expectation_failed'));
  server.on('connect', (_request, socket) => refuse(socket, 'connect_unsupported'));
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // The parser complains of every further byte; the answer is out, and lingering until it was read.
    if (isRefused(socket)) return;
    if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy();
    else refuse(socket, parserReason(error.code));
  });
  if (handlers.onWebSocket !== undefined) {
    server.on('upgrade', (request, socket, head) => {
      upgraded.add(socket);
      socket.once('close', () => upgraded.delete(socket));
      // Node has taken its own listener away, and an error that nobody hears keeps `close` back: what was held for the client stays held.
      socket.on('error', () => {});
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

function listenerFor(
  server: Server,
  at: ListenAddress,
  upgraded: ReadonlySet<Duplex>,
  { secure, door }: { readonly secure: TlsServer | undefined; readonly door: Http2Door | undefined },
): Listener {
  const bound = server.address() as AddressInfo | string;
  const port = typeof bound === 'string' ? 0 : bound.port;
  const close = async () => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeIdleConnections();
    door?.close();
    await closed;
  };
  const destroy = () => {
    server.closeAllConnections();
    for (const socket of upgraded) socket.destroy();
    door?.[Symbol.dispose]();
    secure?.destroy();
  };
  return {
    address: 'path' in at ? at.path : `${at.host.includes(':') ? `[${at.host}]` : at.host}:${port}`,
    port,
    close,
    closeIdle() {
      server.closeIdleConnections();
      door?.closeIdle();
    },
    destroy,
    useTls(tls) {
      if (secure === undefined) throw new TypeError('this listener speaks no TLS');
      secure.use(tls);
    },
    async [Symbol.asyncDispose]() {
      const closed = close();
      destroy();
      await closed;
    },
  };
}
