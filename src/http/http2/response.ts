// The response to an HTTP/2 request. RFC 9113 sections 8.1 and 8.2.2.
import { constants, type ServerHttp2Stream } from 'node:http2';
import type { ClientResponse } from '../client-response.ts';
import { hopByHop } from '../headers.ts';
import type { Http2Request } from './request.ts';

/** Its code on the wire is INTERNAL_ERROR. */
const BROKEN_OFF = new Error('the answer is broken off');

/** A response on a stream. */
export class Http2Response implements ClientResponse {
  statusCode = 200;
  readonly #stream: ServerHttp2Stream;
  readonly #request: Http2Request;
  #headersSent = false;
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

  writeHead(status: number, phraseOrFields: string | string[], given?: string[]): this {
    const fields = typeof phraseOrFields === 'string' ? (given ?? []) : phraseOrFields;
    this.statusCode = status;
    this.#headersSent = true;
    if (this.destroyed) return this;
    const list = [':status', String(status)];
    for (let at = 0; at < fields.length; at += 2) {
      const name = (fields[at] as string).toLowerCase();
      if (!hopByHop.has(name)) list.push(name, fields[at + 1] as string);
    }
    this.#bodiless = this.#request.method === 'HEAD' || status === 204 || status === 304;
    const waitForTrailers = this.#trailers !== undefined && !this.#bodiless;
    if (waitForTrailers) this.#stream.once('wantTrailers', () => this.#sendTrailers());
    this.#stream.respond(list, { endStream: this.#bodiless, waitForTrailers });
    if (this.#bodiless) this.#letRequestGo();
    return this;
  }

  /** Before the head: trailers may come, with {@link addTrailers}. */
  expectTrailers(): void {
    this.#trailers = [];
  }

  /** Names, in lower case, and values in turn; they go out when the body has ended. */
  addTrailers(fields: readonly string[]): void {
    this.#trailers = fields;
  }

  /** Nothing to do: heads do not wait for bodies here. */
  flushHeaders(): void {}

  write(bytes: string | Buffer): boolean {
    return this.#bodiless || this.destroyed || this.#stream.write(bytes);
  }

  end(bytes?: string | Buffer, encoding?: BufferEncoding): this {
    if (!this.#headersSent) this.writeHead(this.statusCode, []);
    this.#ended = true;
    if (this.#bodiless || this.destroyed) return this;
    if (bytes === undefined) this.#stream.end();
    else this.#stream.end(bytes, encoding ?? 'utf8');
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

  #sendTrailers(): void {
    if (this.destroyed) return;
    const trailers: Record<string, string[]> = {};
    const fields = this.#trailers ?? [];
    for (let at = 0; at < fields.length; at += 2) {
      const name = fields[at] as string;
      trailers[name] = [...(trailers[name] ?? []), fields[at + 1] as string];
    }
    this.#stream.sendTrailers(trailers);
  }

  /** The answer is complete before the request is: the rest is not wanted (RFC 9113 section 8.1). */
  #letRequestGo(): void {
    if (this.#request.complete) return;
    const close = () => {
      if (!this.#request.complete && !this.#stream.closed) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    };
    if (this.#stream.writableFinished) close();
    else this.#stream.once('finish', close);
  }
}
