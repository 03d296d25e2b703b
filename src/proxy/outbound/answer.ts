// How an exchange ends for the client: refusals as problem documents with limit fields, lingering close when a body is
// unread, and one decision record (design 4.12, 4.13).

import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../core/clock.ts';
import { type Reason, reasons } from '../../core/reasons.ts';
import type { ClientResponse } from '../../http/client-response.ts';
import { endWith } from '../../http/last-request.ts';
import { problem } from '../../http/problem.ts';
import type { Decision, DecisionRecorder } from '../../telemetry/decision.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import type { Exchange } from '../exchange.ts';
import type { OpenExchanges } from '../open-exchanges.ts';
import type { Overload } from '../overload.ts';
import { finishSpans } from '../trace-spans.ts';
import { traceIdOf } from '../tracing.ts';
import { corsFields } from './cors.ts';
import { grpcRefusal, isGrpc } from './grpc.ts';
import { limitFields } from './limit-fields.ts';

/** What endings share. */
export interface Answerer {
  readonly clock: Clock;
  readonly open: OpenExchanges;
  readonly overload: Overload;
  /** Answers with a problem document and records the decision. */
  refuse(exchange: Exchange, reason: Reason): void;
  /** Records a refusal that the caller answers itself. */
  refused(exchange: Exchange, reason: Reason, status: number): void;
  /** Records a request that the parser refused and the listener answered. */
  parserRefused(reason: Reason, requestId: string, peer: string | undefined): void;
  /** Our own fields on an upstream's response. */
  addFields(exchange: Exchange, status: number, out: string[]): void;
  /** The response is out, or was cut for `reason`. */
  finished(exchange: Exchange, status: number, reason?: Reason): void;
  /** The client went away first. */
  aborted(exchange: Exchange): void;
  streamOpened(): void;
  streamClosed(): void;
  /** We ended a stream, and why. */
  streamsClosed(reason: string): void;
}

const DRAIN_BYTES = 65_536;
const DRAIN_MS = 1000;

/** Builds the answerer of one data plane. */
export function answerer(options: {
  readonly clock: Clock;
  readonly open: OpenExchanges;
  readonly overload: Overload;
  readonly recorder: DecisionRecorder;
  readonly metrics: Metrics;
  readonly isDraining: () => boolean;
}): Answerer {
  const { clock, open, overload, recorder, metrics, isDraining } = options;
  return {
    clock,
    open,
    overload,
    refuse(exchange, reason) {
      if (exchange.ended) return;
      const { generation } = exchange;
      const answer = problem(reason, exchange.requestId, generation.problemOptions, exchange.details);
      const headers = [...answer.headers];
      limitFields(exchange, answer.status, headers);
      corsFields(exchange, headers);
      record(exchange, reason, false, answer.status);
      const { request, response, expectsContinue } = exchange;
      if (response === undefined) return;
      if (speaksGrpc(exchange)) response.writeHead(200, grpcRefusal(answer.status, headers, answer.body)).end();
      else writeRefusal(request, response, answer.status, headers, answer.body, expectsContinue);
    },
    refused: (exchange, reason, status) => record(exchange, reason, false, status),
    parserRefused: (reason, requestId, peer) => recorder.record(unparsed(reason, requestId, peer)),
    addFields(exchange, status, out) {
      limitFields(exchange, status, out);
      corsFields(exchange, out);
      if (exchange.credentialSource > 0) noStore(exchange, out);
      if (isDraining()) out.push('Connection', 'close');
    },
    finished(exchange, status, reason) {
      record(exchange, reason ?? acceptedReason(exchange), reason === undefined, status);
      if (!exchange.request.complete && status !== 101) boundRest(exchange);
    },
    aborted: (exchange) => record(exchange, 'client_aborted', false, 0),
    streamOpened: () => metrics.streamsOpen.inc(),
    streamClosed: () => metrics.streamsOpen.dec(),
    streamsClosed: (reason) => metrics.streamsClosed.labels(reason).inc(),
  };

  function record(exchange: Exchange, reason: Reason, allowed: boolean, status: number): void {
    // A WebSocket is under way until its tunnel settles, and not only until it is open.
    if (exchange.held !== undefined && status !== 101) exchange.generation.gate.leave(exchange);
    if (exchange.ended) return;
    exchange.ended = true;
    overload.end(exchange);
    if (reason === 'overloaded') {
      recorder.countRefused(reason);
      return;
    }
    const endedAtMs = clock.monotonicMs();
    const { dispatchedAtMs, answeredAtMs, startedAtMs, shadowReason } = exchange;
    const upstreamMs = dispatchedAtMs === 0 ? undefined : (answeredAtMs || endedAtMs) - dispatchedAtMs;
    const ownMs = (dispatchedAtMs || endedAtMs) - startedAtMs;
    if (exchange.span !== undefined) finishSpans(exchange, exchange.span, { reason, allowed, status, endedAtMs });
    metrics.overhead.observe(ownMs / 1000);
    if (upstreamMs !== undefined) metrics.upstream.observe(upstreamMs / 1000);
    const plain = allowed && shadowReason === undefined;
    if (plain && !recorder.wantsAllowed(reason, exchange.route?.name ?? '')) return;
    recorder.record(decisionOf(exchange, reason, allowed, { status, ownMs, upstreamMs }), plain);
  }
}

function decisionOf(
  exchange: Exchange,
  reason: Reason,
  allowed: boolean,
  measured: Pick<Decision, 'status' | 'ownMs' | 'upstreamMs'>,
): Decision {
  const principal = exchange.token?.principal;
  const shadow = allowed && exchange.shadowReason !== undefined;
  return {
    requestId: exchange.requestId,
    traceId: traceIdOf(exchange),
    reason: shadow ? (exchange.shadowReason as Reason) : reason,
    allowed,
    shadow,
    stage: exchange.stageName,
    route: exchange.route?.name,
    method: exchange.method,
    path: exchange.path === '' ? (exchange.rawTarget.split('?')[0] as string) : exchange.path,
    host: exchange.host,
    address: exchange.client.address,
    subject: principal?.subject,
    client: principal?.client,
    tokenId: principal?.tokenId,
    issuer: principal?.issuer,
    limits: exchange.details?.violatedPolicies,
    rule: exchange.rule,
    config: exchange.generation.configId,
    ...measured,
  };
}

/** The decision about bytes that never became a request. */
function unparsed(reason: Reason, requestId: string, peer: string | undefined): Decision {
  return {
    requestId,
    traceId: undefined,
    reason,
    allowed: false,
    shadow: false,
    stage: 'parse',
    route: undefined,
    method: '',
    path: '',
    host: '',
    address: peer ?? '',
    subject: undefined,
    client: undefined,
    tokenId: undefined,
    issuer: undefined,
    status: reasons[reason].status,
    limits: undefined,
    ownMs: 0,
    upstreamMs: undefined,
    rule: undefined,
    config: undefined,
  };
}

function acceptedReason(exchange: Exchange): Reason {
  return exchange.token === undefined ? 'ok_anonymous' : 'ok';
}

/** RFC 6750 section 2.3: an answer to a token in the query must not be stored by shared caches. */
function noStore(exchange: Exchange, out: string[]): void {
  const source = exchange.route?.sources[exchange.credentialSource];
  if (
    source?.name.startsWith('query') &&
    !out.some((field, at) => at % 2 === 0 && field.toLowerCase() === 'cache-control')
  ) {
    out.push('Cache-Control', 'private, no-store');
  }
}

/**
 * Whether the refusal is to be one of gRPC, whose status is 200. Never below the reserved prefix: a front that asks there, in a
 * way that we do not know or for verdicts that are off, would take it for an allow.
 */
function speaksGrpc({ request, generation }: Exchange): boolean {
  const { httpVersionMajor, rawHeaders, url = '' } = request;
  return httpVersionMajor === 2 && isGrpc(rawHeaders) && !url.startsWith(generation.reservedPrefix);
}

/**
 * Writes a refusal. When the body of the request is still coming, closing at once would reset the connection and the client
 * might never read the answer: the answer goes out whole, at most 64 KiB or 1 s is drained, then the connection closes.
 */
export function writeRefusal(
  request: IncomingMessage,
  response: ClientResponse,
  status: number,
  headers: string[],
  body: string,
  expectsContinue = false,
): void {
  if (request.httpVersionMajor === 2) {
    // The response lets go of what is left of the request; the connection is not its own.
    response.writeHead(status, headers).end(body);
    return;
  }
  const unread = hasBody(request) && !request.complete;
  if (unread || status === 400 || status === 408 || status === 413) {
    headers.push('Connection', 'close');
    endWith(request);
  }
  response.writeHead(status, headers);
  if (!unread || expectsContinue) {
    response.end(body);
    return;
  }
  response.write(body);
  let drained = 0;
  const finish = () => {
    clearTimeout(timer);
    request.off('data', count);
    response.end();
  };
  const count = (chunk: Buffer) => {
    drained += chunk.length;
    if (drained > DRAIN_BYTES) finish();
  };
  const timer = setTimeout(finish, DRAIN_MS);
  request.on('data', count);
  request.once('end', finish);
  request.once('close', finish);
}

/**
 * What is left of an upload when its answer is out has `body_timeout` to come, all of it: nobody wants it any more, and byte by byte
 * it would hold the connection for ever. HTTP/2 lets go of the stream instead.
 */
function boundRest({ request, route, generation }: Exchange): void {
  if (request.httpVersionMajor === 2 || !hasBody(request)) return;
  const timer = setTimeout(
    () => request.socket.destroy(),
    route?.bodyTimeoutMs ?? generation.config.defaults.body_timeout,
  ).unref();
  const clear = () => clearTimeout(timer);
  request.once('end', clear).once('close', clear);
}

/** From the raw fields: node would build its object of all headers first, for every refusal. */
function hasBody({ rawHeaders }: IncomingMessage): boolean {
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') return true;
    if (name.length === 14 && name.toLowerCase() === 'content-length') return rawHeaders[at + 1] !== '0';
  }
  return false;
}
