// The HTTP/2 connections to one endpoint: streams share one until it is full, then another is made. Which version is spoken is
// the configuration's word: with prior knowledge without TLS, by ALPN with it, never by trying (RFC 9113 section 3).
import { connect } from 'node:http2';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { PeerTimeout } from '../../../core/peer-timeout.ts';
import { Connections, type ConnectionsOptions, type OpenWatcher } from '../http1/connections.ts';
import { dial } from '../http1/dial.ts';
import type { UpstreamConnection, UpstreamConnections } from '../upstream-connection.ts';
import { type StreamHost, UpstreamStream } from './stream.ts';

/** Streams on a connection whose upstream has not said how many it takes. */
const ASSUMED_STREAMS = 100;
const MAX_HEADER_LIST = 65_536;
const MAX_PAIRS = 2000;
const LINGER_MS = 1000;
/**
 * After so many resets of ours a connection takes nothing more. Servers close those that reset streams in bursts (Rapid Reset,
 * CVE-2023-44487), with everybody's requests on them, and clients that leave would be what makes us reset.
 */
const MOST_CANCELLED = 16;
/** Two User-Agents of a client are no fault of the upstream, which a request that node will not write would be blamed for. */
const AS_GIVEN: object = { strictSingleValueFields: false };
/** Streams share it: what clients read slowly must not keep others from being sent. */
const MAX_MEMORY_MB = 256;

/** The pool; the same settings as http1's. */
export class Http2Connections implements UpstreamConnections {
  readonly #options: ConnectionsOptions;
  /** WebSockets go over HTTP/1.1 here too. */
  readonly #http1: Connections;
  #list: Line[] = [];
  #retired = false;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#http1 = new Connections(options);
  }

  acquire(fresh: boolean): UpstreamConnection {
    const nowMs = this.#options.monotonicMs();
    const line = this.#list.find((each) => each.hasRoom(nowMs) && !(fresh && each.wasIdle)) ?? this.#connect(nowMs);
    return line.take();
  }

  probe(): void {
    if (this.#retired || this.#list.some(({ isConnected }) => !isConnected)) return;
    this.#connect(this.#options.monotonicMs());
  }

  open(watcher: OpenWatcher): Socket {
    return this.#http1.open(watcher);
  }

  sweep(monotonicMs: number): void {
    for (const line of this.#list) line.sweep(monotonicMs, this.#options.keepAliveMs);
  }

  retire(): void {
    this.#retired = true;
    for (const line of this.#list) line.close();
  }

  #connect(nowMs: number): Line {
    const { onConnected, onUnreachable } = this.#options;
    const line = new Line(this.#options, nowMs, {
      onConnected,
      onUnreachable,
      onClosed: () => {
        this.#list = this.#list.filter((each) => each !== line);
      },
    });
    this.#list.push(line);
    return line;
  }
}

interface LineWatcher {
  onConnected(): void;
  onUnreachable(): void;
  onClosed(): void;
}

/** One connection. */
class Line implements StreamHost {
  readonly scheme: 'http' | 'https';
  readonly session: StreamHost['session'];
  isConnected = false;
  wasIdle = false;
  readonly #monotonicMs: () => number;
  readonly #staleAtMs: number;
  readonly #watcher: LineWatcher;
  readonly #socket: Socket;
  readonly #waiting = new Set<UpstreamStream>();
  #open = 0;
  #idleSinceMs: number;
  #closing = false;
  #cancelled = 0;

  constructor(
    { address, tls, connectTimeoutMs, maxAgeMs, monotonicMs }: ConnectionsOptions,
    nowMs: number,
    watcher: LineWatcher,
  ) {
    this.scheme = tls === undefined ? 'http' : 'https';
    this.#monotonicMs = monotonicMs;
    this.#staleAtMs = nowMs + maxAgeMs;
    this.#idleSinceMs = nowMs;
    this.#watcher = watcher;
    const socket = dial(address, tls, undefined, 'h2');
    this.session = connect(`${this.scheme}://upstream`, {
      createConnection: () => socket,
      settings: { enablePush: false, maxHeaderListSize: MAX_HEADER_LIST },
      maxHeaderListPairs: MAX_PAIRS,
      maxSessionMemory: MAX_MEMORY_MB,
      ...AS_GIVEN,
    });
    this.#socket = socket;
    const timeout = new PeerTimeout(connectTimeoutMs, () => socket.destroy());
    this.session.on('error', () => this.#letGo());
    this.session.once('connect', () => {
      timeout.clear();
      // An upstream that chose nothing would take our preface for a broken HTTP/1.1 request.
      if (tls === undefined || (socket as TLSSocket).alpnProtocol === 'h2') this.#stand();
      else socket.destroy();
    });
    this.session.once('goaway', () => this.close());
    this.session.once('close', () => {
      timeout.clear();
      this.#gone();
    });
  }

  /** Takes another stream. */
  hasRoom(nowMs: number): boolean {
    if (this.#closing || this.session.closed || this.session.destroyed || nowMs >= this.#staleAtMs) return false;
    const most = this.isConnected
      ? (this.session.remoteSettings.maxConcurrentStreams ?? ASSUMED_STREAMS)
      : ASSUMED_STREAMS;
    return this.#open < most;
  }

  /** A place for one request. */
  take(): UpstreamStream {
    this.#open += 1;
    return new UpstreamStream(this);
  }

  await(stream: UpstreamStream): void {
    this.#waiting.add(stream);
  }

  left(stream: UpstreamStream): void {
    this.#waiting.delete(stream);
    this.#open -= 1;
    if (this.#open > 0) return;
    if (this.#closing) this.#letGo();
    this.wasIdle = true;
    this.#idleSinceMs = this.#monotonicMs();
  }

  cancelled(): void {
    this.#cancelled += 1;
    if (this.#cancelled === MOST_CANCELLED) this.close();
  }

  crowded(): void {
    this.close();
  }

  /** Closes when it has been idle or is too old. */
  sweep(nowMs: number, keepAliveMs: number): void {
    if (this.#open > 0 || !this.isConnected) return;
    if (nowMs >= this.#staleAtMs || nowMs - this.#idleSinceMs >= keepAliveMs) this.close();
  }

  /** Takes nothing more; ends with its last stream. */
  close(): void {
    this.#closing = true;
    if (!this.isConnected) return;
    this.session.close();
    if (this.#open === 0) this.#letGo();
  }

  /** Node waits for the upstream to read what was last written, and to close; it need not do either. */
  #letGo(): void {
    const timer = setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
    this.#socket.once('close', () => clearTimeout(timer));
  }

  #stand(): void {
    this.isConnected = true;
    this.#watcher.onConnected();
    for (const stream of [...this.#waiting]) stream.connected();
    this.#waiting.clear();
    if (this.#closing) this.close();
  }

  #gone(): void {
    this.#closing = true;
    this.#watcher.onClosed();
    if (this.isConnected) return;
    this.#watcher.onUnreachable();
    for (const stream of [...this.#waiting]) stream.unreachable();
  }
}
