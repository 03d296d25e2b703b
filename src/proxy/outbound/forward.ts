// Sends an accepted request upstream and streams the answer back, with back-pressure and aborts both ways (design 4.11).
// One Transit per request is at once the reader of the answer, the waiter for a slot, and the registered open exchange.

import { STATUS_CODES } from 'node:http';
import type { Reason } from '../../core/reasons.ts';
import type { ClientResponse } from '../../http/client-response.ts';
import type { Exchange } from '../exchange.ts';
import type { Generation } from '../generation.ts';
import type { Route } from '../inbound/route.ts';
import type { OpenExchange } from '../open-exchanges.ts';
import type { Answerer } from './answer.ts';
import type { Endpoint } from './endpoints/endpoint.ts';
import type { ResponseReader, UpstreamFailure } from './http1/connection.ts';
import type { ResponseHead } from './http1/response-head.ts';
import { passableTrailers } from './request-trailers.ts';
import { Upload } from './upload.ts';
import type { Waiter } from './upstream.ts';
import type { UpstreamConnection } from './upstream-connection.ts';

const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS']);
/** Up to this size a body is cheaper as part of the head's string than as a buffer of its own (one write, no writev). */
const ONE_WRITE_BYTES = 4096;

/** Starts the transit of an accepted exchange; `head` is the head of the request to the upstream. */
export function forward(exchange: Exchange, head: string, answerer: Answerer): void {
  // The client may have gone away while the store was asked: nothing is sent in its name then.
  if (exchange.response?.destroyed) {
    answerer.aborted(exchange);
    return;
  }
  const { upstream } = exchange.route as Route;
  if (upstream.endpoints.isOut) {
    answerer.refuse(exchange, 'upstream_unavailable');
    return;
  }
  const transit = new Transit(exchange, head, answerer);
  const admission = upstream.admit(transit, answerer.clock.monotonicMs());
  if (admission === 'refused') answerer.refuse(exchange, 'upstream_busy');
}

class Transit implements ResponseReader, OpenExchange, Waiter {
  deadlineMs = Number.POSITIVE_INFINITY;
  place = -1;
  isStream = false;
  judged: Exchange;
  judgedBy: Generation | undefined;
  recordsVersion = -1;
  readonly route: Route;
  readonly #exchange: Exchange;
  readonly #response: ClientResponse;
  readonly #answerer: Answerer;
  readonly #requestHead: string;
  /** Where it goes; counted there until it is over. */
  #endpoint: Endpoint | undefined;
  #connection: UpstreamConnection | undefined;
  #upload: Upload | undefined;
  #slotTaken = false;
  #ended = false;
  #headSent = false;
  #wroteBody = false;
  #retried = false;
  /** Endpoints that could not be reached. */
  #unreached = 0;
  #remaining = -1;

  constructor(exchange: Exchange, head: string, answerer: Answerer) {
    this.#exchange = exchange;
    this.#response = exchange.response as ClientResponse;
    this.#requestHead = head;
    this.#answerer = answerer;
    this.judged = exchange;
    this.judgedBy = exchange.generation;
    this.route = exchange.route as Route;
    this.#response.on('close', this.#onClientClose);
  }

  get isLasting(): boolean {
    return this.isStream || this.route.stream;
  }

  get endpointUrl(): string | undefined {
    return this.#endpoint?.url;
  }

  start(): void {
    this.#slotTaken = true;
    const { clock, open } = this.#answerer;
    const exchange = this.#exchange;
    open.add(this);
    const endpoint = this.route.upstream.endpointFor();
    if (endpoint === undefined) {
      // Not at once: it gives its slot to the next in the queue, who is told the same, and so on down the stack.
      setImmediate(() => this.#fail('upstream_unavailable'));
      return;
    }
    exchange.dispatchedAtMs = clock.monotonicMs();
    if (exchange.expectsContinue) this.#response.writeContinue();
    endpoint.active += 1;
    this.#endpoint = endpoint;
    const isUpload = this.#hasBody();
    this.deadlineMs = exchange.dispatchedAtMs + (isUpload ? this.route.bodyTimeoutMs : this.route.responseTimeoutMs);
    this.#send(endpoint, false, isUpload);
  }

  #hasBody(): boolean {
    const { contentLength, transferEncoding } = this.#exchange.fields as NonNullable<Exchange['fields']>;
    return transferEncoding !== undefined || (contentLength !== undefined && contentLength !== '0');
  }

  #send(endpoint: Endpoint, fresh: boolean, isUpload: boolean): void {
    this.#exchange.span?.sentTo(endpoint.url);
    const connection = endpoint.connections.acquire(fresh);
    this.#connection = connection;
    connection.send(this.#requestHead, this.#exchange.method, isUpload, this);
    if (isUpload && connection.isConnected) this.#startUpload(connection);
  }

  /** Only now is the body read, so that a request whose connection cannot be made can still go elsewhere whole. */
  onConnect(): void {
    if (this.#connection !== undefined && this.#hasBody()) this.#startUpload(this.#connection);
  }

  #startUpload(connection: UpstreamConnection): void {
    const { request, fields } = this.#exchange;
    const { clock } = this.#answerer;
    const chunked = fields?.transferEncoding !== undefined;
    const watcher = {
      onTooLarge: () => this.#fail('body_too_large'),
      onProgress: () => {
        if (!this.isStream) this.deadlineMs = clock.monotonicMs() + this.route.bodyTimeoutMs;
      },
      onSent: () => {
        if (!this.#headSent) this.deadlineMs = clock.monotonicMs() + this.route.responseTimeoutMs;
      },
      passableTrailers: () => passableTrailers(this.#exchange),
    };
    this.#upload = new Upload(request, connection, { chunked, limit: this.route.bodyBytes, watcher });
  }

  giveUp(): void {
    this.#fail('upstream_busy');
  }

  expire(): void {
    if (this.#headSent) this.#abort('upstream_timeout');
    else if (this.#awaitsClient()) this.#fail('request_timeout');
    else {
      this.#blame();
      this.#fail('upstream_timeout');
    }
  }

  #awaitsClient(): boolean {
    return this.#upload !== undefined && !this.#upload.isHeld && !this.#exchange.request.complete;
  }

  cut(reason: Reason): void {
    if (this.isStream) this.#answerer.streamsClosed(reason);
    if (reason === 'draining') this.#finishCleanly();
    else if (this.#headSent) this.#abort(reason);
    else this.#fail(reason);
  }

  onDrain(): void {
    this.#upload?.resume();
  }

  onHead(head: ResponseHead): void {
    const exchange = this.#exchange;
    const response = this.#response;
    const { status, fields, framing } = head;
    exchange.answeredAtMs = this.#answerer.clock.monotonicMs();
    const { endpoints } = this.route.upstream;
    const endpoint = this.#endpoint as Endpoint;
    if (endpoints.watchesAnswers || endpoint.connectFailures > 0) endpoints.answered(endpoint, status, exchange);
    if (this.#becomesStream(head) && !this.#startStream()) return;
    this.#answerer.addFields(exchange, status, fields);
    if (this.route.upstream.config.protocol === 'http2') response.expectTrailers?.();
    if (typeof framing === 'number') this.#remaining = framing;
    try {
      response.writeHead(status, head.reasonPhrase || (STATUS_CODES[status] ?? ''), fields);
    } catch {
      // A field that node refuses to write.
      this.#fail('upstream_invalid');
      return;
    }
    this.#headSent = true;
    this.deadlineMs = this.isStream ? Number.POSITIVE_INFINITY : exchange.answeredAtMs + this.route.idleTimeoutMs;
  }

  onData(bytes: Buffer, from: number, to: number): void {
    this.#wroteBody = true;
    const length = to - from;
    if (this.#remaining === length) {
      this.#remaining = 0;
      // Head and body in one write: the last byte promised is here, so the message is complete.
      if (length <= ONE_WRITE_BYTES) this.#response.end(bytes.toString('latin1', from, to), 'latin1');
      else this.#response.end(Buffer.from(bytes.subarray(from, to)));
      return;
    }
    this.#remaining -= length;
    if (!this.isStream) this.deadlineMs = this.#answerer.clock.monotonicMs() + this.route.idleTimeoutMs;
    // Copied: the connection reads its next bytes into the same buffer.
    if (this.#response.write(Buffer.from(bytes.subarray(from, to)))) return;
    this.#connection?.pause();
    this.#response.once('drain', this.#onClientDrain);
  }

  /** Only HTTP/2 clients get them: HTTP/1.1 ones were not told that any would come. */
  onTrailers(fields: readonly string[]): void {
    this.#response.putTrailers?.(fields);
  }

  onEnd(): void {
    this.#wroteBody = true;
    this.#connection = undefined;
    this.#upload?.stop();
    if (!this.#response.writableEnded) this.#response.end();
    this.#settle();
    this.#answerer.finished(this.#exchange, this.#response.statusCode);
  }

  onFailure({ reason, unanswered, unsent, unwelcome }: UpstreamFailure): void {
    this.#connection = undefined;
    if (this.#headSent) {
      // Truncated: never end cleanly, or the client would take half an answer for a whole one (attack 55).
      this.#abort(reason);
    } else if (unanswered && this.#mayRetry()) {
      this.#retried = true;
      // Others that have been idle as long may be gone too.
      this.#send(this.#endpoint as Endpoint, true, false);
    } else if (!unsent) {
      if (!unwelcome) this.#blame();
      this.#fail(reason);
    } else if (!this.#sendElsewhere()) this.#fail(reason);
  }

  /** Nothing has been sent, so nothing can have had an effect, whatever the request is. */
  #sendElsewhere(): boolean {
    const { upstream } = this.route;
    const from = this.#endpoint as Endpoint;
    if (this.#unreached >= upstream.config.retries) return false;
    const other = upstream.endpointInstead(from);
    if (other === undefined) return false;
    this.#unreached += 1;
    from.active -= 1;
    other.active += 1;
    this.#endpoint = other;
    this.#send(other, false, this.#hasBody());
    return true;
  }

  /** The endpoint had the request and gave no good answer. */
  #blame(): void {
    const { endpoints } = this.route.upstream;
    if (endpoints.watchesAnswers) endpoints.failed(this.#endpoint as Endpoint, this.#exchange.dispatchedAtMs);
  }

  /** Writes the head when no data came with it; waiting for data would stall event streams. */
  onPause(): void {
    if (!this.#wroteBody) this.#response.flushHeaders();
  }

  readonly #onClientClose = () => {
    if (this.#ended || this.#response.writableFinished) return;
    if (!this.#slotTaken) this.route.upstream.withdraw(this);
    this.#settle();
    this.#letGo();
    this.#answerer.aborted(this.#exchange);
  };

  /** Before the head is out: answer with a problem document. */
  #fail(reason: Reason): void {
    if (this.#ended) return;
    this.#settle();
    this.#letGo();
    this.#answerer.refuse(this.#exchange, reason);
  }

  /** After the head is out: the only honest answer is a reset. */
  #abort(reason: Reason): void {
    if (this.#ended) return;
    this.#settle();
    this.#letGo();
    this.#response.destroy();
    this.#answerer.finished(this.#exchange, this.#response.statusCode, reason);
  }

  #finishCleanly(): void {
    if (this.#ended) return;
    this.#settle();
    this.#letGo();
    this.#response.end();
    this.#answerer.finished(this.#exchange, this.#response.statusCode);
  }

  /** Nothing more is wanted of the upstream. */
  #letGo(): void {
    this.#connection?.destroy();
    this.#connection = undefined;
    this.#upload?.stop();
  }

  readonly #onClientDrain = () => {
    // A client that does not read holds the response as long as idle_timeout allows.
    if (!this.isStream) this.deadlineMs = this.#answerer.clock.monotonicMs() + this.route.idleTimeoutMs;
    this.#connection?.resume();
  };

  #settle(): void {
    this.#ended = true;
    if (!this.#slotTaken) return;
    this.#answerer.open.remove(this);
    if (this.#endpoint !== undefined) this.#endpoint.active -= 1;
    if (this.isStream) {
      this.route.upstream.closeStream(this.#exchange.caller);
      this.#answerer.streamClosed();
    } else {
      this.route.upstream.release();
    }
  }

  #becomesStream({ contentType }: ResponseHead): boolean {
    return this.route.stream || contentType.startsWith('text/event-stream');
  }

  /** Moves from a request slot to a stream slot. */
  #startStream(): boolean {
    const { upstream } = this.route;
    const full = upstream.openStream(this.#exchange.caller);
    if (full !== undefined) {
      this.#fail(full);
      return false;
    }
    this.isStream = true;
    upstream.release();
    this.#answerer.overload.end(this.#exchange);
    this.#answerer.streamOpened();
    return true;
  }

  /** Only what cannot have had an effect goes out again: a safe method without a body. */
  #mayRetry(): boolean {
    return !this.#retried && this.#upload === undefined && IDEMPOTENT.has(this.#exchange.method);
  }
}
