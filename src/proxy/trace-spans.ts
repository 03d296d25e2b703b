// The spans of one request: serving it, and below that verifying its token, the check, and the upstream. Made at once when it
// is over, by OpenTelemetry's conventions for HTTP. They say what was decided and what took how long, and nothing of who
// called: no token, no header, no query, no subject, no address. Those are in the decision record, under the same trace id.
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/
import type { Reason } from '../core/reasons.ts';
import { newSpanId } from '../telemetry/trace-context.ts';
import { type Attributes, type Span, spanKind, spanText } from '../telemetry/trace-otlp.ts';
import type { Exchange } from './exchange.ts';

/** What is noted of a request that is recorded. Times are monotonic ms, 0 for what has not happened. */
export class RequestSpan {
  readonly traceId: string;
  readonly parentSpanId: string | undefined;
  readonly traceState: string | undefined;
  readonly spanId = newSpanId();
  /** The span that the upstream is told of. */
  readonly upstreamSpanId = newSpanId();
  verifyAtMs = 0;
  /** The verdict on the token was remembered. */
  verifiedAtOnce = false;
  checkAtMs = 0;
  checkedAtMs = 0;
  /** The url of the endpoint it went to last, as configured. */
  endpointUrl: string | undefined = undefined;
  sends = 0;

  constructor(traceId: string, parentSpanId: string | undefined, traceState: string | undefined) {
    this.traceId = traceId;
    this.parentSpanId = parentSpanId;
    this.traceState = traceState;
  }

  /** The request goes to an endpoint, for the first time or once more. */
  sentTo(endpointUrl: string): void {
    this.endpointUrl = endpointUrl;
    this.sends += 1;
  }
}

/** How a request ended. */
export interface Outcome {
  readonly reason: Reason;
  readonly allowed: boolean;
  /** What the client got; 0 when the connection ended first. */
  readonly status: number;
  readonly endedAtMs: number;
}

/** Those of the convention; any other word would be one that a client chose. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', 'QUERY']);
const MAX_PATH = 512;
const MAX_HOST = 255;

/** Hands over the spans of a request that is over. Never throws: the answer may still have to be written. */
export function finishSpans(exchange: Exchange, noted: RequestSpan, outcome: Outcome): void {
  const { tracing, onDefect } = exchange.generation;
  if (tracing === undefined) return;
  const { clock } = tracing;
  try {
    const maker = new SpanMaker(exchange, noted, outcome, clock.nowMs() - clock.monotonicMs());
    const spans = [maker.server(), maker.verify(), maker.check(), maker.upstream()];
    tracing.add(spans.filter((span) => span !== undefined).map(spanText));
  } catch (error) {
    onDefect(error);
  }
}

class SpanMaker {
  readonly #exchange: Exchange;
  readonly #noted: RequestSpan;
  readonly #outcome: Outcome;
  /** From monotonic time to that of the world. */
  readonly #offsetMs: number;
  readonly #method: string;

  constructor(exchange: Exchange, noted: RequestSpan, outcome: Outcome, offsetMs: number) {
    this.#exchange = exchange;
    this.#noted = noted;
    this.#outcome = outcome;
    this.#offsetMs = offsetMs;
    this.#method = METHODS.has(exchange.method) ? exchange.method : '_OTHER';
  }

  server(): Span {
    const { route, startedAtMs } = this.#exchange;
    const { spanId, parentSpanId } = this.#noted;
    const { reason, allowed, status, endedAtMs } = this.#outcome;
    const match = route?.config.match;
    const template = match?.path ?? match?.prefix;
    const method = this.#method === '_OTHER' ? 'HTTP' : this.#method;
    // An answer that was cut in the middle has the status of a good one.
    const failed = status >= 500 || (!allowed && status > 0 && status < 400);
    return {
      ...this.#span(spanId, parentSpanId, startedAtMs, endedAtMs),
      name: template === undefined ? method : `${method} ${template}`,
      kind: spanKind.server,
      failed,
      attributes: {
        'http.route': template,
        'url.scheme': this.#exchange.generation.scheme,
        'url.path': shortPath(this.#exchange.path),
        'server.address': this.#exchange.host.slice(0, MAX_HOST) || undefined,
        'network.protocol.version': this.#exchange.request.httpVersionMajor === 2 ? '2' : '1.1',
        'http.request.method': this.#method,
        'http.response.status_code': status || undefined,
        'error.type': failed ? reason : undefined,
        ...this.#decision(),
      },
    };
  }

  #decision(): Attributes {
    const { requestId, route, shadowReason, details, stageName } = this.#exchange;
    const { reason, allowed } = this.#outcome;
    const shadow = allowed && shadowReason !== undefined;
    return {
      'doorward.request_id': requestId,
      'doorward.route': route?.name,
      'doorward.outcome': allowed ? 'allow' : 'deny',
      'doorward.reason': shadow ? shadowReason : reason,
      'doorward.stage': stageName,
      'doorward.shadow': shadow || undefined,
      'doorward.limits': details?.violatedPolicies,
    };
  }

  /** Only where there was something to verify. */
  verify(): Span | undefined {
    const { verifyAtMs, checkAtMs, verifiedAtOnce } = this.#noted;
    if (verifyAtMs === 0 || this.#exchange.credential === undefined) return undefined;
    return this.#internal('verify', verifyAtMs, checkAtMs, {
      'doorward.token.cached': verifiedAtOnce,
      'doorward.reason': this.#reasonOf('authenticate'),
    });
  }

  /** Only where a revocation or a limit was looked up. */
  check(): Span | undefined {
    const { checkAtMs, checkedAtMs } = this.#noted;
    if (checkAtMs === 0 || this.#exchange.charges === undefined) return undefined;
    return this.#internal('check', checkAtMs, checkedAtMs, { 'doorward.reason': this.#reasonOf('check') });
  }

  /** Why the stage refused; undefined when it did not. */
  #reasonOf(stage: string): string | undefined {
    const { reason, allowed } = this.#outcome;
    return !allowed && this.#exchange.stageName === stage ? reason : undefined;
  }

  #internal(name: string, startMs: number, endMs: number, attributes: Attributes): Span {
    const times = this.#span(newSpanId(), this.#noted.spanId, startMs, endMs || this.#outcome.endedAtMs);
    return { ...times, name, kind: spanKind.internal, failed: false, attributes };
  }

  upstream(): Span | undefined {
    const { dispatchedAtMs, answeredAtMs, route } = this.#exchange;
    const { upstreamSpanId, spanId, endpointUrl, sends } = this.#noted;
    if (dispatchedAtMs === 0) return undefined;
    const { reason, allowed, status, endedAtMs } = this.#outcome;
    const answered = allowed && answeredAtMs > 0 ? status : undefined;
    const answerError = answered !== undefined && answered >= 400 ? String(answered) : undefined;
    const error = allowed ? answerError : reason;
    return {
      ...this.#span(upstreamSpanId, spanId, dispatchedAtMs, endedAtMs),
      name: this.#method === '_OTHER' ? 'HTTP' : this.#method,
      kind: spanKind.client,
      failed: error !== undefined && reason !== 'client_aborted',
      answeredMs: answeredAtMs > 0 ? answeredAtMs + this.#offsetMs : undefined,
      attributes: {
        'http.request.method': this.#method,
        'http.response.status_code': answered,
        'error.type': error,
        'http.request.resend_count': sends > 1 ? sends - 1 : undefined,
        'doorward.upstream': route?.upstream.name,
        ...serverOf(endpointUrl, this.#exchange.path),
      },
    };
  }

  #span(spanId: string, parentSpanId: string | undefined, startMs: number, endMs: number) {
    const { traceId, traceState } = this.#noted;
    const [start, end] = [startMs + this.#offsetMs, endMs + this.#offsetMs];
    return { traceId, spanId, parentSpanId, traceState, startMs: start, endMs: end };
  }
}

const shortPath = (path: string) => (path === '' ? undefined : path.slice(0, MAX_PATH));

/** Where the request went; `url.full` without its query. */
function serverOf(endpointUrl: string | undefined, path: string): Attributes {
  if (endpointUrl === undefined) return {};
  if (endpointUrl.startsWith('unix:')) return { 'server.address': endpointUrl.slice('unix:'.length) };
  const { protocol, hostname, port, origin } = new URL(endpointUrl);
  const standardPort = protocol === 'https:' ? 443 : 80;
  return {
    'server.address': hostname,
    'server.port': port === '' ? standardPort : Number(port),
    'url.full': origin + (shortPath(path) ?? ''),
  };
}
