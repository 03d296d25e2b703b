// Sends an accepted request upstream and streams the answer back, with back-pressure and aborts both ways (design 4.11).
// One Transit per request is at once the reader of the answer, the waiter for a slot, and the registered open exchange.

import { STATUS_CODES } from 'node:http';
import type { Reason } from '../../core/reasons.ts';
import type { ClientResponse } from '../../http/client-response.ts';
import type { VerifiedToken } from '../../token/verified-token.ts';
import type { Exchange } from '../exchange.ts';
import type { Route } from '../inbound/route.ts';
import type { OpenExchange } from '../open-exchanges.ts';
import type { Answerer } from './answer.ts';
import type { Connection, ResponseReader, UpstreamFailure } from './http1/connection.ts';
import type { ResponseHead } from './http1/response-head.ts';
import { Upload } from './upload.ts';
import type { Waiter } from './upstream.ts';

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
  const transit = new Transit(exchange, head, answerer);
  const admission = transit.route.upstream.admit(transit, answerer.clock.monotonicMs());
  if (admission === 'refused') answerer.refuse(exchange, 'upstream_busy');
}

class Transit implements ResponseReader, OpenExchange, Waiter {
  deadlineMs = Number.POSITIVE_INFINITY;
  place = -1;
  isStream = false;
  readonly token: VerifiedToken | undefined;
  readonly route: Route;
  readonly #exchange: Exchange;
  readonly #response: ClientResponse;
  readonly #answerer: Answerer;
  readonly #requestHead: string;
  #connection: Connection | undefined;
  #upload: Upload | undefined;
  #slotTaken = false;
  #ended = false;
  #headSent = false;
  #wroteBody = false;
  #retried = false;
  #remaining = -1;

  constructor(exchange: Exchange, head: string, answerer: Answerer) {
    this.#exchange = exchange;
    this.#response = exchange.response as ClientResponse;
    this.#requestHead = head;
    this.#answerer = answerer;
    this.token = exchange.token;
    this.route = exchange.route as Route;
    this.#response.on('close', this.#onClientClose);
  }

  start(): void {
    this.#slotTaken = true;
    const { clock, open } = this.#answerer;
    const exchange = this.#exchange;
    exchange.dispatchedAtMs = clock.monotonicMs();
    open.add(this);
    if (exchange.expectsContinue) this.#response.writeContinue();
    const fields = exchange.fields as NonNullable<Exchange['fields']>;
    const chunked = fields.transferEncoding !== undefined;
    if (chunked || (fields.contentLength !== undefined && fields.contentLength !== '0')) {
      this.deadlineMs = exchange.dispatchedAtMs + this.route.bodyTimeoutMs;
      this.#sendWithBody(chunked);
    } else {
      this.deadlineMs = exchange.dispatchedAtMs + this.route.responseTimeoutMs;
      this.#send(false);
    }
  }

  #send(fresh: boolean): void {
    const { method } = this.#exchange;
    this.#connection = this.route.upstream.connections.acquire(fresh);
    this.#connection.send(this.#requestHead, method, false, this);
  }

  #sendWithBody(chunked: boolean): void {
    const { method, request } = this.#exchange;
    const { clock } = this.#answerer;
    const connection = this.route.upstream.connections.acquire(false);
    this.#connection = connection;
    connection.send(this.#requestHead, method, true, this);
    const watcher = {
      onTooLarge: () => this.#fail('body_too_large'),
      onProgress: () => {
        if (!this.isStream) this.deadlineMs = clock.monotonicMs() + this.route.bodyTimeoutMs;
      },
      onSent: () => {
        if (!this.#headSent) this.deadlineMs = clock.monotonicMs() + this.route.responseTimeoutMs;
      },
    };
    this.#upload = new Upload(request, connection, { chunked, limit: this.route.bodyBytes, watcher });
  }

  giveUp(): void {
    this.#fail('upstream_busy');
  }

  expire(): void {
    if (!this.#headSent)
      this.#fail(
        this.#upload !== undefined && !this.#exchange.request.complete ? 'request_timeout' : 'upstream_timeout',
      );
    else this.#abort('upstream_timeout');
  }

  cut(reason: 'token_revoked' | 'token_expired' | 'draining'): void {
    if (this.isStream) this.#answerer.streamsClosed(reason);
    if (reason === 'draining') this.#finishCleanly();
    else if (this.#headSent) this.#abort(reason as Reason);
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
    if (this.#becomesStream(head) && !this.#startStream()) return;
    this.#answerer.addFields(exchange, status, fields);
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

  onEnd(): void {
    this.#wroteBody = true;
    this.#connection = undefined;
    this.#upload?.stop();
    if (!this.#response.writableEnded) this.#response.end();
    this.#settle();
    this.#answerer.finished(this.#exchange, this.#response.statusCode);
  }

  onFailure({ reason, unanswered }: UpstreamFailure): void {
    this.#connection = undefined;
    if (this.#headSent) {
      // Truncated: never end cleanly, or the client would take half an answer for a whole one (attack 55).
      this.#abort(reason);
    } else if (unanswered && this.#mayRetry()) {
      this.#retried = true;
      // Others that have been idle as long may be gone too.
      this.#send(true);
    } else this.#fail(reason);
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
    this.#answerer.streamOpened();
    return true;
  }

  /** Only what cannot have had an effect goes out again: a safe method without a body. */
  #mayRetry(): boolean {
    return !this.#retried && this.#upload === undefined && IDEMPOTENT.has(this.#exchange.method);
  }
}
