// One request on a stream of an HTTP/2 connection to an upstream, under the rules by which http1/connection.ts sends and reads:
// the same reader is told the same things. RFC 9113 section 8.
import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2';
import { Readable } from 'node:stream';
import type { Reason } from '../../../core/reasons.ts';
import { trailerRecord } from '../../../http/http2/trailers.ts';
import type { ResponseReader } from '../http1/connection.ts';
import type { UpstreamConnection } from '../upstream-connection.ts';
import { readHead, readTrailers, requestList } from './heads.ts';

/** The connection that a stream is on. */
export interface StreamHost {
  readonly session: ClientHttp2Session;
  readonly scheme: 'http' | 'https';
  readonly isConnected: boolean;
  /** It had been idle since it was made, so the upstream may have closed it meanwhile. */
  readonly wasIdle: boolean;
  /** The stream waits for the connection to stand. */
  await(stream: UpstreamStream): void;
  /** The stream is over; called once. */
  left(stream: UpstreamStream): void;
  /** The upstream is told that what it works on is not wanted any more. */
  cancelled(): void;
  /** The upstream takes no more on this connection. */
  crowded(): void;
}

/** An answer as it comes; `isWhole` from its END_STREAM on. */
interface Incoming extends ClientHttp2Stream {
  isWhole?: boolean;
}

/**
 * `push` of an answer. Node ends what is readable also where the upstream resets the stream with NO_ERROR or CANCEL, or its
 * connection goes, and half an answer would pass for a whole one (attack 55); only END_STREAM comes before the stream is closed.
 */
function pushAnswer(this: Incoming, chunk: unknown, encoding?: BufferEncoding): boolean {
  if (chunk === null && !this.closed) this.isWhole = true;
  return Readable.prototype.push.call(this, chunk, encoding);
}

/**
 * A request with more fields may be too much for every endpoint (node's servers reset it from 128 on), and whoever sends it would
 * have them ejected.
 */
const USUAL_FIELDS = 64;

/** A request and its answer. */
export class UpstreamStream implements UpstreamConnection {
  readonly #host: StreamHost;
  /** Node says CANCEL to an upstream only where a signal ends the stream, and `close` would end the body cleanly first. */
  readonly #cancel = new AbortController();
  #stream: Incoming | undefined;
  #reader: ResponseReader | undefined;
  #head = '';
  #method = '';
  #hasBody = false;
  #hasManyFields = false;
  #trailers: readonly string[] = [];
  #sawHead = false;
  #length: number | undefined;
  #bytes = 0;
  #left = false;

  constructor(host: StreamHost) {
    this.#host = host;
  }

  get isConnected(): boolean {
    return this.#host.isConnected;
  }

  send(head: string, method: string, hasBody: boolean, reader: ResponseReader): void {
    this.#reader = reader;
    this.#head = head;
    this.#method = method;
    this.#hasBody = hasBody;
    if (this.#host.isConnected) this.#start();
    else this.#host.await(this);
  }

  /** The connection stands. */
  connected(): void {
    if (this.#left) return;
    this.#start();
    this.#reader?.onConnect();
  }

  /** There never was a connection. */
  unreachable(): void {
    this.#fail('upstream_unreachable', { unsent: true });
  }

  sendBody(bytes: Buffer): boolean {
    return this.#stream?.write(bytes) ?? true;
  }

  endBody(_chunked: boolean, trailers: readonly string[]): void {
    this.#hasBody = false;
    this.#trailers = trailers;
    this.#stream?.end();
  }

  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#stream?.resume();
  }

  destroy(): void {
    this.#reader = undefined;
    this.#giveUp();
    this.#leave();
  }

  #start(): void {
    const { session, scheme } = this.#host;
    try {
      const list = requestList(this.#head, scheme);
      this.#hasManyFields = list.length > 2 * USUAL_FIELDS;
      this.#stream = session.request(list, {
        endStream: !this.#hasBody,
        waitForTrailers: this.#hasBody,
        signal: this.#cancel.signal,
      });
    } catch {
      this.#fail('upstream_invalid', { unwelcome: true });
      return;
    }
    const stream = this.#stream;
    stream.push = pushAnswer;
    stream.on('response', (_fields, flags, list) => this.#onResponse(list, flags));
    stream.on('data', (bytes: Buffer) => {
      this.#bytes += bytes.length;
      this.#reader?.onData(bytes, 0, bytes.length);
    });
    stream.on('trailers', (_fields, _flags, list) => this.#reader?.onTrailers?.(readTrailers(list)));
    stream.on('drain', () => this.#reader?.onDrain());
    if (this.#hasBody) stream.on('wantTrailers', () => this.#sendTrailers(stream));
    stream.on('end', () => this.#onEnd());
    // What went wrong is told by `close`.
    stream.on('error', () => {});
    stream.on('close', () => this.#onClose(stream.rstCode ?? 0));
  }

  /** Also where there are none: only this ends the body. */
  #sendTrailers(stream: ClientHttp2Stream): void {
    try {
      stream.sendTrailers(trailerRecord(this.#trailers));
    } catch {
      // What node will not write leaves no half request behind.
      this.#fail('upstream_reset', { unwelcome: true });
    }
  }

  #onResponse(list: readonly string[], flags: number): void {
    const isWhole = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    const read = readHead(list, this.#method, isWhole);
    if (read === undefined) {
      this.#fail('upstream_invalid');
      return;
    }
    this.#sawHead = true;
    this.#length = read.length;
    this.#reader?.onHead(read.head);
    if (!isWhole) this.#reader?.onPause();
  }

  #onEnd(): void {
    // What was cut short is told by `close`.
    if (!this.#sawHead || this.#stream?.isWhole !== true) return;
    if (this.#length !== undefined && this.#length !== this.#bytes) this.#fail('upstream_invalid');
    else this.#complete();
  }

  #complete(): void {
    const reader = this.#reader;
    this.#reader = undefined;
    // Answered before the whole request was sent: the rest is not wanted.
    if (this.#hasBody) this.#giveUp();
    this.#leave();
    reader?.onEnd();
  }

  #onClose(code: number): void {
    const isTooMuch = code === constants.NGHTTP2_ENHANCE_YOUR_CALM && !this.#sawHead;
    // Node's servers hold 10 MiB for a connection: answers that some clients do not read would have all others refused on it.
    const isCrowded = isTooMuch && !this.#hasManyFields;
    if (isCrowded) this.#host.crowded();
    const isRefused = code === constants.NGHTTP2_REFUSED_STREAM || isCrowded;
    const { session, wasIdle } = this.#host;
    const unanswered = isRefused || (!this.#sawHead && wasIdle && session.destroyed);
    // Slow bodies are refused by a reset too.
    const unwelcome = this.#hasBody || (this.#hasManyFields && isTooMuch);
    const reason = code === constants.NGHTTP2_PROTOCOL_ERROR ? 'upstream_invalid' : 'upstream_reset';
    this.#fail(reason, { unanswered, unwelcome });
  }

  #fail(reason: Reason, { unanswered = false, unsent = false, unwelcome = false } = {}): void {
    const reader = this.#reader;
    this.#reader = undefined;
    this.#giveUp();
    this.#leave();
    reader?.onFailure({ reason, unanswered, unsent, unwelcome });
  }

  /** Resets the stream where there is one that is not over. */
  #giveUp(): void {
    if (this.#stream !== undefined && !this.#stream.closed && !this.#cancel.signal.aborted) this.#host.cancelled();
    this.#cancel.abort();
  }

  #leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#host.left(this);
  }
}
