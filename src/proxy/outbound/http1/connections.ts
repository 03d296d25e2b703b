// The connections to one endpoint: the one used last is used next, so that those not needed grow old and close. How many
// requests may be out at once is upstream.ts's; a request that finds no free connection gets a new one.
import type { Socket } from 'node:net';
import { PeerTimeout } from '../../../core/peer-timeout.ts';
import { Connection, type ConnectionOwner } from './connection.ts';
import { type DialAddress, type DialTls, dial, readyEvent } from './dial.ts';

/** Where to, and for how long. Times in ms. */
export interface ConnectionsOptions {
  readonly address: DialAddress;
  /** Undefined for plain connections. */
  readonly tls: DialTls | undefined;
  readonly connectTimeoutMs: number;
  /** An idle connection closes after this, or before the upstream's own Keep-Alive says that it would close it. */
  readonly keepAliveMs: number;
  /** A connection takes no new request after this; Infinity for no bound. */
  readonly maxAgeMs: number;
  readonly monotonicMs: () => number;
  /** A connection was made, whatever for. */
  readonly onConnected: () => void;
  /** A connection could not be made. */
  readonly onUnreachable: () => void;
}

/** What becomes of {@link Connections.open}: exactly one of both, unless the socket is destroyed before. */
export interface OpenWatcher {
  onOpen(): void;
  onUnreachable(): void;
}

/** The upstream may close a little earlier than it says. */
const KEEP_ALIVE_MARGIN_MS = 1000;
/**
 * All plain connections read into this one: it is read and given up again within one call from the event loop, and a buffer
 * of 64 KiB for each read is what a proxy otherwise spends most of its memory on.
 */
const shared = Buffer.allocUnsafeSlow(65_536);

/** A pool without limit. */
export class Connections implements ConnectionOwner {
  readonly #options: ConnectionsOptions;
  readonly #idle: Connection[] = [];
  #probe: Connection | undefined = undefined;
  #retired = false;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** A connection that is free; a new one when there is none, or when `fresh` asks for one that was never idle. */
  acquire(fresh: boolean): Connection {
    while (!fresh) {
      const connection = this.#idle.pop();
      if (connection === undefined) break;
      if (connection.isUsable) return connection;
    }
    return this.#connect();
  }

  /** Tries to connect unless a try is under way; a connection that comes of it is kept for the next request. */
  probe(): void {
    if (!this.#retired) this.#probe ??= this.#connect();
  }

  /** A socket for something else than requests; the caller owns it, and `connectTimeoutMs` bounds how long it takes. */
  open(watcher: OpenWatcher): Socket {
    const { address, tls, connectTimeoutMs } = this.#options;
    const socket = dial(address, tls);
    let settled = false;
    const settle = (isOpen: boolean) => {
      if (settled) return;
      settled = true;
      timeout.clear();
      if (!isOpen) socket.destroy();
      if (isOpen) this.connected();
      else this.unreachable();
      if (isOpen) watcher.onOpen();
      else watcher.onUnreachable();
    };
    const timeout = new PeerTimeout(connectTimeoutMs, () => settle(false));
    socket.on('error', () => settle(false));
    socket.once(readyEvent(tls), () => settle(true));
    socket.once('close', (hadError) => {
      // Without an error it was the caller who gave up.
      timeout.clear();
      settled ||= !hadError;
    });
    return socket;
  }

  connected(connection?: Connection): void {
    this.#options.onConnected();
    if (connection === undefined || connection !== this.#probe) return;
    this.#probe = undefined;
    this.freed(connection);
  }

  unreachable(): void {
    this.#options.onUnreachable();
  }

  freed(connection: Connection): void {
    const { keepAliveMs, monotonicMs } = this.#options;
    const nowMs = monotonicMs();
    if (this.#retired || connection.staleAtMs <= nowMs) {
      connection.destroy();
      return;
    }
    const theirs = connection.keepAliveMs;
    const forMs = theirs === undefined ? keepAliveMs : Math.min(keepAliveMs, theirs - KEEP_ALIVE_MARGIN_MS);
    if (forMs <= 0) {
      connection.destroy();
      return;
    }
    connection.idleUntilMs = Math.min(nowMs + forMs, connection.staleAtMs);
    this.#idle.push(connection);
  }

  closed(connection: Connection): void {
    if (connection === this.#probe) this.#probe = undefined;
    const idleAt = this.#idle.indexOf(connection);
    if (idleAt >= 0) this.#idle.splice(idleAt, 1);
  }

  /** Closes connections that have been idle long enough. */
  sweep(monotonicMs: number): void {
    for (const connection of this.#idle.filter(({ idleUntilMs }) => idleUntilMs <= monotonicMs)) {
      this.#idle.splice(this.#idle.indexOf(connection), 1);
      connection.destroy();
    }
  }

  /** Closes what is idle now, and everything else as soon as its answer is complete. */
  retire(): void {
    this.#retired = true;
    this.#probe?.destroy();
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  #connect(): Connection {
    let take: Connection['take'] = () => {};
    const { address, tls, connectTimeoutMs, maxAgeMs, monotonicMs } = this.#options;
    const onRead = (length: number, bytes: Uint8Array) => {
      take(bytes as Buffer, length);
      return true;
    };
    const socket = dial(address, tls, { buffer: shared, callback: onRead });
    const ready = readyEvent(tls);
    const connection = new Connection(socket, this, ready);
    connection.staleAtMs = monotonicMs() + maxAgeMs;
    take = connection.take;
    if (tls !== undefined) socket.on('data', (bytes) => take(bytes as Buffer, bytes.length));
    const timeout = new PeerTimeout(connectTimeoutMs, () => connection.connectTimeout());
    socket.once(ready, () => timeout.clear());
    socket.once('close', () => timeout.clear());
    return connection;
  }
}
