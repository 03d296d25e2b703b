// What a plane needs of the response to a client, whichever version of HTTP the client speaks: node's own response for
// HTTP/1.1, http2/response.ts for HTTP/2.

/** A response. Events: `close` when it is over for good, `drain` when more may be written. */
export interface ClientResponse {
  readonly statusCode: number;
  readonly headersSent: boolean;
  readonly writableEnded: boolean;
  readonly writableFinished: boolean;
  readonly destroyed: boolean;
  /** Tells the client to send the body it holds back. */
  writeContinue(): void;
  /** Names and values in turn; throws for fields that cannot be written. */
  writeHead(status: number, fields: string[]): ClientResponse;
  writeHead(status: number, reasonPhrase: string, fields: string[]): ClientResponse;
  /** Before the body: {@link putTrailers} may follow. HTTP/2 only. */
  expectTrailers?(): void;
  /** Names, in lower case, and values in turn; they go out when the body has ended. HTTP/2 only. */
  putTrailers?(fields: readonly string[]): void;
  flushHeaders(): void;
  /** False when the caller should wait for `drain`. */
  write(bytes: string | Buffer): boolean;
  end(bytes?: string | Buffer): unknown;
  end(bytes: string, encoding: BufferEncoding): unknown;
  /** Breaks it off: the client sees that the answer is not whole. */
  destroy(): unknown;
  on(event: 'close' | 'drain', listener: () => void): unknown;
  once(event: 'close' | 'drain', listener: () => void): unknown;
}
