// The connections to one upstream: the one used last is used next, so that those not needed grow old and close. How many
// requests may be out at once is upstream.ts's; a request that finds no free connection gets a new one.
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Connection, type ConnectionOwner } from './connection.ts';

/** Where to, and for how long. Times in ms. */
export interface ConnectionsOptions {
  readonly origin: URL;
  /** PEM of the only CA to trust; default: those of Node. */
  readonly ca: string | undefined;
  /** Name expected in the certificate. */
  readonly serverName: string;
  readonly connectTimeoutMs: number;
  /** An idle connection closes after this, or before the upstream's own Keep-Alive says that it would close it. */
  readonly keepAliveMs: number;
  readonly monotonicMs: () => number;
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
    return this.#open();
  }

  freed(connection: Connection): void {
    if (this.#retired) {
      connection.destroy();
      return;
    }
    const { keepAliveMs, monotonicMs } = this.#options;
    const theirs = connection.keepAliveMs;
    const forMs = theirs === undefined ? keepAliveMs : Math.min(keepAliveMs, theirs - KEEP_ALIVE_MARGIN_MS);
    if (forMs <= 0) {
      connection.destroy();
      return;
    }
    connection.idleUntilMs = monotonicMs() + forMs;
    this.#idle.push(connection);
  }

  closed(connection: Connection): void {
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
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  #open(): Connection {
    let take: Connection['take'] = () => {};
    const { origin, connectTimeoutMs } = this.#options;
    const isTls = origin.protocol === 'https:';
    const socket = isTls
      ? this.#connectTls()
      : this.#connectPlain((bytes, length) => {
          take(bytes, length);
          return true;
        });
    const connection = new Connection(socket, this, isTls ? 'secureConnect' : 'connect');
    take = connection.take;
    if (isTls) socket.on('data', (bytes) => take(bytes as Buffer, bytes.length));
    const timer = setTimeout(() => connection.connectTimeout(), connectTimeoutMs);
    socket.once(isTls ? 'secureConnect' : 'connect', () => clearTimeout(timer));
    socket.once('close', () => clearTimeout(timer));
    return connection;
  }

  #connectPlain(onRead: (bytes: Buffer, length: number) => boolean): Socket {
    const { origin } = this.#options;
    return connect({
      host: hostOf(origin),
      port: Number(origin.port || '80'),
      noDelay: true,
      onread: { buffer: shared, callback: (length, bytes) => onRead(bytes as Buffer, length) },
    });
  }

  #connectTls(): Socket {
    const { origin, ca, serverName } = this.#options;
    return connectTls({
      host: hostOf(origin),
      port: Number(origin.port || '443'),
      // From the configuration, never from the client's Host; an address is no server name (RFC 6066 section 3).
      ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
      ...(ca === undefined ? {} : { ca }),
      ALPNProtocols: ['http/1.1'],
    }).setNoDelay(true);
  }
}

const hostOf = (origin: URL): string => origin.hostname.replace(/^\[|\]$/g, '');
