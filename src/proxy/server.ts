// The proxy port: takes requests from the listener, gives each one the current configuration and an ending, and lets the
// pipeline run. Owns the switch to a new configuration and the drain.

import type { IncomingMessage } from 'node:http';
import { METHODS, IncomingMessage as Message } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import type { Explanation, Question } from '../core/explanation.ts';
import { requestId } from '../core/ids.ts';
import type { Reason } from '../core/reasons.ts';
import { addressReader } from '../http/client-address.ts';
import type { ClientResponse } from '../http/client-response.ts';
import type { ListenerHandlers } from '../http/listener.ts';
import { secureConnectionOf } from '../http/secure-connection.ts';
import type { HandshakeFailure } from '../http/tls-server.ts';
import { JWKS_TYPE } from '../token/jwks.ts';
import { type Ending, Exchange, type ExchangeKind } from './exchange.ts';
import type { Generation } from './generation.ts';
import type { OpenExchanges } from './open-exchanges.ts';
import type { Answerer } from './outbound/answer.ts';
import { isPreflight, preflightFields } from './outbound/cors.ts';
import { forward } from './outbound/forward.ts';
import { websocketEnding } from './outbound/upgrade.ts';
import { upstreamFields, upstreamHead } from './outbound/upstream-fields.ts';
import { run } from './pipeline.ts';
import { allowance, refusal, verdictEnding } from './verdict.ts';
import { describe, flavourOf, type VerdictFlavour } from './verdict-description.ts';

/** The data plane behind the proxy port. */
export interface DataPlane {
  readonly handlers: ListenerHandlers;
  /** Requests that begin from now on see `generation`. */
  use(generation: Generation): void;
  explain(question: Question): Promise<Explanation>;
  /** Ends streams with 1001. */
  endStreams(): void;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
  close(): void;
}

/** Builds the data plane around its first configuration. */
export function dataPlane(options: {
  readonly generation: Generation;
  readonly answerer: Answerer;
  readonly open: OpenExchanges;
  readonly clock: Clock;
  /** Endpoints of ours that are no routes; answers true for a request that it takes over. */
  readonly site?:
    | { serve(request: IncomingMessage, response: ClientResponse, expectsContinue: boolean): boolean }
    | undefined;
  readonly onParserRefusal: (reason: Reason, requestId: string, peer: string | undefined) => void;
  readonly onHandshakeFailed: (cause: HandshakeFailure) => void;
}): DataPlane {
  const { answerer, clock, open, site } = options;
  const { overload } = answerer;
  let current = options.generation;
  const forwardEnding: Ending = { refuse: answerer.refuse, proceed: (exchange) => proceedForward(exchange, answerer) };
  const websocket = websocketEnding(answerer);
  const verdicts = {
    nginx: verdictEnding('nginx', answerer),
    forward: verdictEnding('forward', answerer),
    envoy: verdictEnding('envoy', answerer),
  };
  const begin = (
    kind: ExchangeKind,
    ending: Ending,
    request: IncomingMessage,
    sink: { response?: ClientResponse; socket?: Duplex; head?: Buffer },
  ) => {
    const peer = current.addresses.peer(request.socket.remoteAddress);
    const exchange = new Exchange(current, kind, ending, request, sink, peer, requestId(), clock.monotonicMs());
    if (current.scheme === 'https' && kind !== 'verdict') exchange.secure = secureConnectionOf(request.socket);
    return exchange;
  };
  const onRequest = (request: IncomingMessage, response: ClientResponse, expectsContinue: boolean) => {
    if (site?.serve(request, response, expectsContinue) || serveAssertionKeys(current, request, response)) return;
    const flavour = verdictFlavour(current, request.url as string);
    const ending = flavour === undefined ? forwardEnding : verdicts[flavour];
    const exchange = begin(flavour === undefined ? 'forward' : 'verdict', ending, request, { response });
    exchange.expectsContinue = expectsContinue;
    if (overload.refuses()) {
      exchange.ending.refuse(exchange, 'overloaded');
      return;
    }
    overload.begin(exchange);
    const badDescription = flavour === undefined ? undefined : describe(exchange, flavour);
    if (badDescription === undefined) run(exchange);
    else ending.refuse(exchange, badDescription);
  };
  const onWebSocket = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const exchange = begin('websocket', websocket, request, { socket, head });
    if (overload.refuses()) {
      websocket.refuse(exchange, 'overloaded');
      return;
    }
    overload.begin(exchange);
    run(exchange);
  };
  return {
    handlers: {
      onRequest,
      onWebSocket,
      // Caddy asks about a WebSocket by a handshake; what it wants is a verdict.
      takesWebSocket: (request) => verdictFlavour(current, request.url as string) === undefined,
      onRefused: options.onParserRefusal,
      onHandshakeFailed: options.onHandshakeFailed,
    },
    use(generation) {
      current = generation;
    },
    explain: (question) => explain(current, question, clock),
    endStreams: () => open.cutStreams(),
    idle: () => open.idle(),
    close: () => {
      websocket.close();
      overload[Symbol.dispose]();
    },
  };
}

function verdictFlavour(generation: Generation, target: string): VerdictFlavour | undefined {
  if (!generation.config.proxy.endpoints.verdict || !target.startsWith(generation.reservedPrefix)) return undefined;
  return flavourOf(target, generation.reservedPrefix);
}

/** The keys of the identity assertion, for the application that verifies it: public, and the same for everybody. */
function serveAssertionKeys(generation: Generation, request: IncomingMessage, response: ClientResponse): boolean {
  const { assertionKeys, reservedPrefix } = generation;
  if (assertionKeys === undefined || request.url !== `${reservedPrefix}/assertion/jwks.json`) return false;
  if (request.method !== 'GET' && request.method !== 'HEAD') return false;
  response.writeHead(200, ['Content-Type', JWKS_TYPE, 'Cache-Control', 'public, max-age=60']).end(assertionKeys);
  return true;
}

function proceedForward(exchange: Exchange, answerer: Answerer): void {
  if (exchange.preflight && exchange.route?.origins !== undefined && isPreflight(exchange)) {
    exchange.response?.writeHead(204, preflightFields(exchange).slice(2)).end();
    answerer.finished(exchange, 204);
    return;
  }
  forward(exchange, upstreamHead(exchange), answerer);
}

/** Why a request over HTTP/1.1 ends before the pipeline: Node's parser knows a closed list of methods. */
function unreadMethod(method: string): Reason | undefined {
  if (method === 'CONNECT') return 'connect_unsupported';
  return METHODS.includes(method) ? undefined : 'request_malformed';
}

/** Runs the pipeline over a question; limits are looked at and not charged, nothing is recorded. */
function explain(generation: Generation, question: Question, clock: Clock): Promise<Explanation> {
  const request = new Message(new Socket());
  request.method = question.method;
  request.url = question.target;
  request.httpVersion = '1.1';
  request.rawHeaders = [...question.fields];
  if (!question.fields.some((name, at) => at % 2 === 0 && name.toLowerCase() === 'host')) {
    request.rawHeaders.push('Host', question.host);
  }
  return new Promise((resolve) => {
    const { verdict } = question;
    const answerOf = (exchange: Exchange, reason: Reason, allowed: boolean) => {
      if (verdict === undefined) return undefined;
      const { status, fields } = allowed ? allowance(verdict, exchange) : refusal(verdict, exchange, reason);
      return { status, headers: fields };
    };
    const done = (exchange: Exchange, reason: Reason, allowed: boolean) => {
      const principal = exchange.token?.principal;
      resolve({
        allowed,
        reason,
        stage: exchange.stageName,
        route: exchange.route?.name,
        rule: exchange.rule,
        config: generation.configId,
        client_address: exchange.client.address,
        subject: principal?.subject,
        client: principal?.client,
        limits: generation.gate.shown(exchange),
        upstream_headers: allowed && verdict === undefined ? upstreamFields(exchange) : [],
        answer: answerOf(exchange, reason, allowed),
      });
    };
    const ending: Ending = {
      refuse: (exchange, reason) => done(exchange, reason, false),
      proceed: (exchange) => done(exchange, exchange.shadowReason ?? (exchange.token ? 'ok' : 'ok_anonymous'), true),
    };
    const peer = addressReader(generation.config.proxy.trusted_proxies, generation.config.proxy.client_address).peer(
      question.peer,
    );
    const exchange = new Exchange(generation, 'explain', ending, request, {}, peer, requestId(), clock.monotonicMs());
    const unread = verdict === undefined ? unreadMethod(question.method) : undefined;
    if (unread !== undefined) done(exchange, unread, false);
    else if (verdict === undefined || generation.config.proxy.endpoints.verdict) run(exchange);
    else {
      exchange.rule = 'proxy.endpoints.verdict';
      done(exchange, 'route_not_found', false);
    }
  });
}
