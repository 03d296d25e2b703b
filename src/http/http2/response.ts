// The response to an HTTP/2 request. RFC 9113 sections 8.1 and 8.2.2.
import { constants, type ServerHttp2Stream } from 'node:http2';
import type { ClientResponse } from '../client-response.ts';
import { hopByHop } from '../headers.ts';
import type { Http2Request } from './request.ts';
import { trailerRecord } from './trailers.ts';

/** Its code on the wire is INTERNAL_ERROR. */
const BROKEN_OFF = new Error('the answer is broken off');

const LINGER_MS = 1000;
const LINGER_BYTES = 65_536;

/** A response on a stream. */
export class Http2Response implements ClientResponse {
  statusCode = 200;
  readonly #stream: ServerHttp2Stream;
  readonly #request: Http2Request;
  #headersSent = false;
  #list: string[] = [':status', '200'];
  #ended = false;
  /** The head was the whole answer. */
  #bodiless = false;
  #trailers: readonly string[] | undefined;

  constructor(stream: ServerHttp2Stream, request: Http2Request) {
    this.#stream = stream;
    this.#request = request;
  }

  get headersSent(): boolean {
    return this.#headersSent;
  }

  get writableEnded(): boolean {
    return this.#ended;
  }

  /** Node ends the stream of a client that has reset it, so its own word for it does not tell whether we had finished. */
  get writableFinished(): boolean {
    return this.#ended && !this.#stream.aborted && this.#stream.writableFinished;
  }

  get destroyed(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  writeContinue(): void {
    if (!this.destroyed) this.#stream.additionalHeaders({ ':status': 100 });
  }

  /** The head waits for the first of the body, so that an answer without one is one frame, as gRPC wants its refusals. */
  writeHead(status: number, phraseOrFields: string | string[], given?: string[]): this {
    const fields = typeof phraseOrFields === 'string' ? (given ?? []) : phraseOrFields;
    const list = [':status', String(status)];
    for (let at = 0; at < fields.length; at += 2) {
      const name = (fields[at] as string).toLowerCase();
      if (!hopByHop.has(name)) list.push(name, fields[at + 1] as string);
    }
    this.statusCode = status;
    this.#list = list;
    this.#bodiless = this.#request.method === 'HEAD' || status === 204 || status === 304;
    return this;
  }

  expectTrailers(): void {
    this.#trailers = [];
  }

  putTrailers(fields: readonly string[]): void {
    this.#trailers = fields;
  }

  flushHeaders(): void {
    this.#respond(false);
  }

  write(bytes: string | Buffer): boolean {
    this.#respond(false);
    return this.#bodiless || this.destroyed || this.#stream.write(bytes);
  }

  end(bytes?: string | Buffer, encoding?: BufferEncoding): this {
    this.#ended = true;
    const isEmpty = (bytes === undefined || bytes.length === 0) && (this.#trailers ?? []).length === 0;
    this.#respond(isEmpty);
    if (!this.#bodiless && !this.destroyed) {
      if (bytes === undefined) this.#stream.end();
      else this.#stream.end(bytes, encoding ?? 'utf8');
    }
    this.#letRequestGo();
    return this;
  }

  destroy(): void {
    // Not `close`: that would say END_STREAM first, and half an answer look like a whole one (attack 55).
    this.#stream.destroy(BROKEN_OFF);
  }

  on(event: 'close' | 'drain', listener: () => void): this {
    this.#stream.on(event, listener);
    return this;
  }

  once(event: 'close' | 'drain', listener: () => void): this {
    this.#stream.once(event, listener);
    return this;
  }

  #respond(isWhole: boolean): void {
    if (this.#headersSent) return;
    this.#headersSent = true;
    this.#bodiless ||= isWhole;
    if (this.destroyed) return;
    const waitForTrailers = this.#trailers !== undefined && !this.#bodiless;
    if (waitForTrailers) this.#stream.once('wantTrailers', () => this.#sendTrailers());
    try {
      this.#stream.respond(this.#list, { endStream: this.#bodiless, waitForTrailers });
    } catch (error) {
      // A field that node refuses to write.
      this.#stream.destroy(error as Error);
    }
  }

  #sendTrailers(): void {
    if (this.destroyed) return;
    try {
      this.#stream.sendTrailers(trailerRecord(this.#trailers ?? []));
    } catch {
      // Twice what may stand once: node refuses, and nobody else would hear of it.
      this.destroy();
    }
  }

  /**
   * The answer is complete before the request is: what follows is dropped, and soon not taken any more (RFC 9113 section 8.1).
   * Not at once, because clients drop an answer that a reset follows closely.
   */
  #letRequestGo(): void {
    if (this.#request.complete || this.destroyed) return;
    const close = () => {
      clearTimeout(timer);
      if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    };
    const timer = setTimeout(close, LINGER_MS);
    let bytes = 0;
    this.#request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > LINGER_BYTES) close();
    });
    this.#request.once('close', () => clearTimeout(timer));
  }
}
