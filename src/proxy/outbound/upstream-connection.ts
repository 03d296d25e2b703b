// What forwarding needs of a connection to an upstream and of the pool it comes from, whichever version of HTTP is spoken there:
// http1/ has one connection per request under way, http2/ one stream.
import type { Socket } from 'node:net';
import type { ResponseReader } from './http1/connection.ts';
import type { OpenWatcher } from './http1/connections.ts';

/** The way of one request. */
export interface UpstreamConnection {
  /** False while the connection is being made. */
  readonly isConnected: boolean;
  /** Sends a head in the form of HTTP/1.1; with `hasBody`, {@link sendBody} and {@link endBody} follow. */
  send(head: string, method: string, hasBody: boolean, reader: ResponseReader): void;
  /** False when the caller must wait for `onDrain`. */
  sendBody(bytes: Buffer, chunked: boolean): boolean;
  /** `trailers`: names and values in turn that may follow the body; HTTP/1.1 drops them. */
  endBody(chunked: boolean, trailers: readonly string[]): void;
  pause(): void;
  resume(): void;
  /** Ends the request at once; nobody is told any more. */
  destroy(): void;
}

/** The connections to one endpoint. */
export interface UpstreamConnections {
  /** A way for one request; `fresh` asks for a connection that was never idle. */
  acquire(fresh: boolean): UpstreamConnection;
  /** Tries to connect unless a try is under way. */
  probe(): void;
  /** A socket for something else than requests; the caller owns it. */
  open(watcher: OpenWatcher): Socket;
  /** Closes connections that have been idle long enough. */
  sweep(monotonicMs: number): void;
  /** Closes what is idle now, and everything else as soon as its answers are complete. */
  retire(): void;
}
