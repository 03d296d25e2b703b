// Sends an accepted request upstream and streams the answer back, with back-pressure and aborts both ways (design 4.11).
// One Transit per request is at once undici's handler, the waiter for a slot, and the registered open exchange.
import { type ServerResponse, STATUS_CODES } from 'node:http';
import { type Dispatcher, errors } from 'undici';
import type { Reason } from '../../core/reasons.ts';
import type { VerifiedToken } from '../../token/verified-token.ts';
import type { Exchange } from '../exchange.ts';
import type { Route } from '../inbound/route.ts';
import type { OpenExchange } from '../open-exchanges.ts';
import type { Answerer } from './answer.ts';
import { RequestBody } from './request-body.ts';
import { promisedLength, responseFields } from './response-fields.ts';
import type { Waiter } from './upstream.ts';

const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS']);
const STATUS_TEXT = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Up to this size a body is cheaper as part of the head's string than as a buffer of its own (one write, no writev). */
const ONE_WRITE_BYTES = 4096;
/** A request body may stall this long before it is given up. */
const UPLOAD_STALL_MS = 30_000;

type Headers = Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>[2];
type UpstreamError = Error & { readonly code?: string; readonly socket?: { readonly bytesRead: number } };

/** Starts the transit of an accepted exchange; `headers` is the flat array for the upstream. */
export function forward(exchange: Exchange, headers: string[], answerer: Answerer): void {
  // The client may have gone away while the store was asked: nothing is sent in its name then.
  if (exchange.response?.destroyed) {
    answerer.aborted(exchange);
    return;
  }
  const transit = new Transit(exchange, headers, answerer);
  const admission = transit.route.upstream.admit(transit, answerer.clock.monotonicMs());
  if (admission === 'refused') answerer.refuse(exchange, 'upstream_busy');
}

class Transit implements Dispatcher.DispatchHandler, OpenExchange, Waiter {
  deadlineMs = Number.POSITIVE_INFINITY;
  place = -1;
  isStream = false;
  readonly token: VerifiedToken | undefined;
  readonly route: Route;
  readonly #exchange: Exchange;
  readonly #response: ServerResponse;
  readonly #answerer: Answerer;
  readonly #headers: string[];
  #controller: Dispatcher.DispatchController | undefined;
  #body: RequestBody | undefined;
  #slotTaken = false;
  #ended = false;
  #headSent = false;
  #wroteBody = false;
  #retried = false;
  #remaining = -1;
  #started = false;

  constructor(exchange: Exchange, headers: string[], answerer: Answerer) {
    this.#exchange = exchange;
    this.#response = exchange.response as ServerResponse;
    this.#headers = headers;
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
    const { fields } = exchange;
    if (
      fields?.transferEncoding !== undefined ||
      (fields?.contentLength !== undefined && fields.contentLength !== '0')
    ) {
      this.#body = new RequestBody(exchange.request, this.route.bodyBytes, {
        onTooLarge: () => this.#fail('body_too_large'),
        onProgress: () => {
          this.deadlineMs = clock.monotonicMs() + UPLOAD_STALL_MS;
        },
      });
      this.deadlineMs = exchange.dispatchedAtMs + UPLOAD_STALL_MS;
    } else {
      this.deadlineMs = exchange.dispatchedAtMs + this.route.responseTimeoutMs;
    }
    this.#dispatch();
  }

  #dispatch(): void {
    const exchange = this.#exchange;
    const options: Dispatcher.DispatchOptions & { readonly servername: string } = {
      path: exchange.path + exchange.query,
      method: exchange.method as Dispatcher.HttpMethod,
      headers: this.#headers,
      body: this.#body ?? null,
      // TLS server name from the configuration, never from the client's Host; undici would work one out from it.
      servername: this.route.upstream.serverName,
    };
    this.route.upstream.pool.dispatch(options, this);
  }

  giveUp(): void {
    this.#fail('upstream_busy');
  }

  expire(): void {
    if (!this.#headSent)
      this.#fail(this.#body !== undefined && !this.#exchange.request.complete ? 'request_timeout' : 'upstream_timeout');
    else this.#abort('upstream_timeout');
  }

  cut(reason: 'token_revoked' | 'token_expired' | 'draining'): void {
    if (this.isStream) this.#answerer.streamsClosed(reason);
    if (reason === 'draining') this.#finishCleanly();
    else if (this.#headSent) this.#abort(reason as Reason);
    else this.#fail(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#ended) controller.abort(new Error('ended'));
  }

  onRequestSent(): void {
    if (!this.#headSent) this.deadlineMs = this.#answerer.clock.monotonicMs() + this.route.responseTimeoutMs;
  }

  onResponseStarted(): void {
    this.#started = true;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Headers,
    statusText?: string,
  ): void {
    if (status < 200 || this.#ended) return;
    const exchange = this.#exchange;
    const response = this.#response;
    exchange.answeredAtMs = this.#answerer.clock.monotonicMs();
    if (this.#becomesStream(headers) && !this.#startStream()) return;
    const out = responseFields(headers as Record<string, string | string[]>, status);
    this.#answerer.addFields(exchange, status, out);
    this.#remaining = exchange.method === 'HEAD' ? -1 : promisedLength(headers as Record<string, string>);
    const text = statusText !== undefined && STATUS_TEXT.test(statusText) ? statusText : (STATUS_CODES[status] ?? '');
    try {
      response.writeHead(status, text, out);
    } catch {
      // A field value that node refuses to write, such as one with a control character.
      this.#fail('upstream_invalid');
      return;
    }
    this.#headSent = true;
    this.deadlineMs = this.isStream ? Number.POSITIVE_INFINITY : exchange.answeredAtMs + this.route.idleTimeoutMs;
    process.nextTick(flushHead, this);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#ended) return;
    this.#wroteBody = true;
    if (this.#remaining >= 0) {
      this.#remaining -= chunk.length;
      if (this.#remaining === 0) {
        // Head and body in one write: the last byte promised is here, so the message is complete.
        if (chunk.length <= ONE_WRITE_BYTES) this.#response.end(chunk.toString('latin1'), 'latin1');
        else this.#response.end(chunk);
        return;
      }
    }
    if (!this.isStream) this.deadlineMs = this.#answerer.clock.monotonicMs() + this.route.idleTimeoutMs;
    if (this.#response.write(chunk)) return;
    controller.pause();
    // A client that does not read holds the response as long as idle_timeout allows.
    this.#response.once('drain', () => {
      if (!this.isStream) this.deadlineMs = this.#answerer.clock.monotonicMs() + this.route.idleTimeoutMs;
      controller.resume();
    });
  }

  onResponseEnd(): void {
    if (this.#ended) return;
    this.#wroteBody = true;
    if (!this.#response.writableEnded) this.#response.end();
    this.#settle();
    this.#answerer.finished(this.#exchange, this.#response.statusCode);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#ended) return;
    if (this.#headSent) {
      // Truncated: never end cleanly, or the client would take half an answer for a whole one (attack 55).
      this.#abort('upstream_reset');
      return;
    }
    if (this.#mayRetry(error)) {
      this.#retried = true;
      this.#dispatch();
      return;
    }
    this.#fail(reasonOf(error));
  }

  /** Writes the head when no data came with it; waiting for data would stall event streams. */
  flush(): void {
    if (!this.#wroteBody && !this.#ended && !this.#response.writableEnded) this.#response.flushHeaders();
  }

  readonly #onClientClose = () => {
    if (this.#ended || this.#response.writableFinished) return;
    if (!this.#slotTaken) this.route.upstream.withdraw(this);
    this.#settle();
    this.#controller?.abort(new Error('the client went away'));
    this.#body?.destroy();
    this.#answerer.aborted(this.#exchange);
  };

  /** Before the head is out: answer with a problem document. */
  #fail(reason: Reason): void {
    if (this.#ended) return;
    this.#settle();
    this.#controller?.abort(new Error(reason));
    this.#body?.destroy();
    this.#answerer.refuse(this.#exchange, reason);
  }

  /** After the head is out: the only honest answer is a reset. */
  #abort(reason: Reason): void {
    if (this.#ended) return;
    this.#settle();
    this.#controller?.abort(new Error(reason));
    this.#response.destroy();
    this.#answerer.finished(this.#exchange, this.#response.statusCode, reason);
  }

  #finishCleanly(): void {
    if (this.#ended) return;
    this.#settle();
    this.#controller?.abort(new Error('draining'));
    this.#response.end();
    this.#answerer.finished(this.#exchange, this.#response.statusCode);
  }

  #settle(): void {
    this.#ended = true;
    this.#response.off('close', this.#onClientClose);
    if (!this.#slotTaken) return;
    this.#answerer.open.remove(this);
    if (this.isStream) {
      this.route.upstream.closeStream();
      this.#answerer.streamClosed();
    } else {
      this.route.upstream.release();
    }
  }

  #becomesStream(headers: Headers): boolean {
    if (this.route.stream) return true;
    const type = headers['content-type'];
    return typeof type === 'string' && type.startsWith('text/event-stream');
  }

  /** Moves from a request slot to a stream slot. */
  #startStream(): boolean {
    const { upstream } = this.route;
    if (!upstream.openStream()) {
      this.#fail('upstream_busy');
      return false;
    }
    this.isStream = true;
    upstream.release();
    this.#answerer.streamOpened();
    return true;
  }

  /**
   * Only what cannot have had an effect goes out again: a safe method without a body, on a connection that had served
   * before (bytesRead above 0) and was closed by the upstream without a byte for this request.
   */
  #mayRetry(error: UpstreamError): boolean {
    if (this.#retried || this.#started || this.#body !== undefined || !IDEMPOTENT.has(this.#exchange.method))
      return false;
    const closed = error.code === 'UND_ERR_SOCKET' || error.code === 'ECONNRESET' || error.code === 'EPIPE';
    return closed && (error.socket?.bytesRead ?? 0) > 0;
  }
}

const flushHead = (transit: Transit) => transit.flush();

function reasonOf(error: UpstreamError): Reason {
  switch (error.code) {
    case 'ECONNREFUSED':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ENOENT':
    case 'UND_ERR_CONNECT_TIMEOUT':
      return 'upstream_unreachable';
    case 'UND_ERR_SOCKET':
    case 'ECONNRESET':
    case 'EPIPE':
      return error.message.startsWith('bad ') ? 'upstream_invalid' : 'upstream_reset';
    default:
      if (
        error instanceof errors.HTTPParserError ||
        error.code?.startsWith('UND_ERR_RES') ||
        error.code === 'UND_ERR_HEADERS_OVERFLOW'
      ) {
        return 'upstream_invalid';
      }
      return error.code?.startsWith('ERR_TLS') || error.code?.includes('CERT')
        ? 'upstream_unreachable'
        : 'upstream_reset';
  }
}
