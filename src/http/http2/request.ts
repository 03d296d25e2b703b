// An HTTP/2 request as node's message: the body of the stream with its flow control, so that whoever reads slowly makes the
// client send slowly.
import { IncomingMessage } from 'node:http';
import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Allowance } from './allowance.ts';
import type { RequestHead } from './request-head.ts';
import { readRequestTrailers } from './trailers.ts';

interface HeaderLines {
  _addHeaderLines(lines: readonly string[], count: number): void;
}

/** What a request may take. */
export interface RequestLimits {
  readonly headerBytes: number;
  /** Of its connection. */
  readonly allowance: Allowance;
}

/** A request on a stream. As with HTTP/1.1, `rawTrailers` is there when the body has ended. */
export class Http2Request extends IncomingMessage {
  readonly #stream: ServerHttp2Stream;
  readonly #allowance: Allowance;
  #reading = false;

  /** Trailers that take more than `headerBytes` break the request off. */
  constructor(stream: ServerHttp2Stream, socket: Socket, head: RequestHead, limits: RequestLimits) {
    super(socket);
    const { headerBytes, allowance } = limits;
    this.#stream = stream;
    this.#allowance = allowance;
    this.httpVersion = '2.0';
    this.httpVersionMajor = 2;
    this.httpVersionMinor = 0;
    this.method = head.method;
    this.url = head.target;
    // As node's parser does: `headers` and `headersDistinct` are read from these lines when somebody asks for them.
    (this as unknown as HeaderLines)._addHeaderLines(head.fields, head.fields.length);
    stream.once('close', () => {
      if (!this.complete) this.destroy();
    });
    if (!stream.endAfterHeaders) {
      stream.once('trailers', (_fields, _flags, list) => this.#takeTrailers(list, headerBytes));
      // Here and not with `data`: node tells of the end of an empty body whether somebody reads or not.
      stream.once('end', () => this.#takeEnd());
      return;
    }
    this.complete = true;
    this.push(null);
    stream.resume();
  }

  override _read(): void {
    if (this.#reading) {
      this.#stream.resume();
      return;
    }
    // Nothing is taken from the stream before somebody wants it.
    this.#reading = true;
    this.#stream.on('data', (chunk: Buffer) => {
      this.#allowance.bodyBytes += chunk.length;
      if (!this.push(chunk)) this.#stream.pause();
    });
  }

  #takeEnd(): void {
    // A stream that was reset ends too.
    if (this.#stream.aborted || this.destroyed) return;
    this.complete = true;
    this.push(null);
  }

  #takeTrailers(list: readonly string[], headerBytes: number): void {
    const fields = readRequestTrailers(list, headerBytes);
    if (fields !== undefined) {
      this.rawTrailers = fields;
      return;
    }
    this.#stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    this.destroy();
  }

  /** Leaves the connection alone, which others share. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.complete) {
      this.aborted = true;
      this.#stream.close();
    }
    done(error);
  }
}
