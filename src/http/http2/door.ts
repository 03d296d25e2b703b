// HTTP/2 connections of a listener: limits, floods, idle ends and the drain. Requests leave here in the words of HTTP/1.1
// (request-head.ts), so that both versions pass the same pipeline. RFC 9113.
import type { IncomingMessage } from 'node:http';
import {
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerSessionOptions,
} from 'node:http2';
import type { Socket } from 'node:net';
import { requestId } from '../../core/ids.ts';
import type { Reason } from '../../core/reasons.ts';
import type { ClientResponse } from '../client-response.ts';
import { problem } from '../problem.ts';
import { REALM } from '../raw-answer.ts';
import { Allowance } from './allowance.ts';
import { Http2Request } from './request.ts';
import { type RequestHead, readRequestHead } from './request-head.ts';
import { Http2Response } from './response.ts';
import { sniff } from './sniff.ts';

/** Limits of HTTP/2 connections. */
export interface Http2Limits {
  /** Requests under way at once on one connection. */
  readonly maxStreams: number;
  readonly headerBytes: number;
  /** A new connection may take so long for its first request. */
  readonly headerTimeoutMs: number;
  /** A connection without a request under way closes after this. */
  readonly keepAliveMs: number;
}

/** Who takes the requests. */
export interface Http2Handlers {
  onRequest(request: IncomingMessage, response: ClientResponse, expectsContinue: boolean): void;
  onRefused?(reason: Reason, requestId: string, peer: string | undefined): void;
}

interface Visit {
  readonly socket: Socket;
  readonly headerBytes: number;
  readonly allowance: Allowance;
  open: number;
  idleSinceMs: number;
  served: boolean;
  /** Since when only the socket is left to close. */
  overSinceMs: number | undefined;
}

/** What a header list counts for each field beside its bytes (RFC 9113 section 6.5.2). */
const FIELD_OVERHEAD = 32;
/** What node allows before a client has acknowledged our settings. */
const INITIAL_HEADER_LIST = 65_535;
const SWEEP_MS = 500;
const LINGER_MS = 1000;

/** The HTTP/2 connections of one listener. */
export class Http2Door implements Disposable {
  readonly #limits: Http2Limits;
  readonly #handlers: Http2Handlers;
  readonly #secure: boolean;
  readonly #options: ServerSessionOptions;
  readonly #visits = new Map<ServerHttp2Session, Visit>();
  readonly #undecided = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;
  #closing = false;

  /** `secure`: connections come over TLS. */
  constructor(limits: Http2Limits, handlers: Http2Handlers, secure: boolean) {
    this.#limits = limits;
    this.#handlers = handlers;
    this.#secure = secure;
    this.#options = sessionOptions(limits);
    this.#timer = setInterval(() => this.#sweep(performance.now()), SWEEP_MS).unref();
  }

  /** Speaks HTTP/2 on a connection of which not a byte of HTTP has been read. */
  serve(socket: Socket): void {
    const session = performServerHandshake(socket, this.#options);
    const nowMs = performance.now();
    const { headerBytes, maxStreams } = this.#limits;
    const allowance = new Allowance(maxStreams, nowMs);
    const state = { open: 0, idleSinceMs: nowMs, served: false, overSinceMs: undefined };
    const visit: Visit = { socket, headerBytes, allowance, ...state };
    this.#visits.set(session, visit);
    // What breaks the protocol, or floods: node has said GOAWAY and closes.
    session.on('error', () => {});
    // The sockets of the HTTP/1.1 server may be half open. A client that sends no more cannot even acknowledge what it is sent.
    socket.once('end', () => socket.destroy());
    session.once('close', () => this.#visits.delete(session));
    session.on('stream', (stream, _headers, _flags, list) => this.#begin(stream, socket, visit, list));
    if (this.#closing) session.close();
  }

  /** Serves a plain connection that begins as HTTP/2, and gives any other to `serveHttp1`. */
  choose(socket: Socket, serveHttp1: () => void): void {
    this.#undecided.add(socket);
    socket.once('close', () => this.#undecided.delete(socket));
    sniff(socket, this.#limits.headerTimeoutMs, (isHttp2) => {
      this.#undecided.delete(socket);
      if (isHttp2) this.serve(socket);
      else serveHttp1();
    });
  }

  /** No connection takes new requests: GOAWAY, and each closes when its last request is answered. */
  close(): void {
    this.#closing = true;
    this.renew();
    for (const socket of this.#undecided) socket.destroy();
  }

  /** The connections there are take no new requests; new connections do. */
  renew(): void {
    for (const session of this.#visits.keys()) session.close();
  }

  /** Closes connections without a request under way. */
  closeIdle(): void {
    for (const [session, visit] of this.#visits) if (visit.open === 0) session.close();
  }

  /** Cuts every connection. */
  destroy(): void {
    for (const { socket } of this.#visits.values()) socket.destroy();
    for (const socket of this.#undecided) socket.destroy();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.destroy();
  }

  #begin(stream: ServerHttp2Stream, socket: Socket, visit: Visit, list: readonly string[]): void {
    visit.open += 1;
    visit.served = true;
    visit.allowance.requests += 1;
    stream.once('close', () => {
      visit.open -= 1;
      visit.idleSinceMs = performance.now();
    });
    // A client that resets its stream; `close` tells those who care.
    stream.on('error', () => {});
    const { headerBytes } = this.#limits;
    const head = readRequestHead(list, { hasBody: !stream.endAfterHeaders, secure: this.#secure, headerBytes });
    if (typeof head === 'string') {
      this.#refuse(stream, visit, head);
      return;
    }
    const request = new Http2Request(stream, socket, head, visit);
    this.#handlers.onRequest(request, new Http2Response(stream, request), head.expectsContinue);
  }

  #refuse(stream: ServerHttp2Stream, visit: Visit, reason: Reason): void {
    const { socket } = visit;
    const id = requestId();
    this.#handlers.onRefused?.(reason, id, socket.remoteAddress);
    const { status, headers, body } = problem(reason, id, REALM);
    const request = new Http2Request(stream, socket, UNREAD, visit);
    new Http2Response(stream, request).writeHead(status, [...headers]).end(body);
  }

  /** Bytes alone do not keep a connection: a head that trickles in for ever is no request. */
  #sweep(nowMs: number): void {
    for (const [session, visit] of this.#visits) {
      const { socket, open, idleSinceMs, served, allowance } = visit;
      if (!allowance.settle(socket, nowMs)) socket.destroy();
      else if (session.destroyed || (session.closed && open === 0)) {
        // Node waits for the client to read what was last written, and to close; it need not do either.
        visit.overSinceMs ??= nowMs;
        if (nowMs - visit.overSinceMs > LINGER_MS) socket.destroy();
      } else if (open === 0) {
        const idleMs = nowMs - idleSinceMs;
        if (!served && idleMs > this.#limits.headerTimeoutMs) socket.destroy();
        else if (idleMs > this.#limits.keepAliveMs) session.close();
      }
    }
  }
}

const UNREAD: RequestHead = { method: '', target: '', fields: [], expectsContinue: false };

function sessionOptions({ maxStreams, headerBytes }: Http2Limits): ServerSessionOptions {
  const maxHeaderListSize = Math.max(headerBytes, INITIAL_HEADER_LIST);
  return {
    settings: {
      maxConcurrentStreams: maxStreams,
      // Above it node resets the stream, however small the list was while compressed (HPACK bombs); between header_size and
      // this the answer is 431. A client that never acknowledges our settings has node's initial one.
      maxHeaderListSize,
      // RFC 8441: WebSockets come over HTTP/1.1.
      enableConnectProtocol: false,
    },
    maxHeaderListPairs: Math.floor(maxHeaderListSize / FIELD_OVERHEAD),
    // Rapid Reset, CVE-2023-44487: so many resets at once, then so many a second; above that GOAWAY.
    streamResetBurst: Math.max(100, 2 * maxStreams),
    streamResetRate: 33,
    // Frames that break the protocol but end no connection by themselves, and streams beyond the limit.
    maxSessionInvalidFrames: 32,
    maxSessionRejectedStreams: 32,
    maxSettings: 16,
    // What one connection may make us hold, in MB: streams, header tables, answers that it does not read.
    maxSessionMemory: Math.max(10, maxStreams * 0.128),
  };
}
