// WebSockets: an upgrade that the pipeline has accepted gets a connection to an endpoint, on which http-proxy shakes hands and
// pipes. We end the tunnel when its token expires or is revoked and when we drain, with a close frame between two frames of
// the upstream (design 4.11, attack 52).
import { Agent, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Duplex, pipeline } from 'node:stream';
import HttpProxy from 'http-proxy';
import type { Reason } from '../../core/reasons.ts';
import { findField } from '../../http/headers.ts';
import { problem } from '../../http/problem.ts';
import { writeRawAnswer } from '../../http/raw-answer.ts';
import type { Ending, Exchange } from '../exchange.ts';
import type { Generation } from '../generation.ts';
import type { Route } from '../inbound/route.ts';
import type { OpenExchange } from '../open-exchanges.ts';
import type { Answerer } from './answer.ts';
import { closingWords } from './closing-words.ts';
import type { Endpoint } from './endpoints/endpoint.ts';
import { closeFrame, FrameTracker } from './frames.ts';
import { acceptsHandshake, pruneHandshakeAnswer } from './handshake.ts';
import { upstreamFields } from './upstream-fields.ts';

const BOUNDARY_WAIT_MS = 1000;
/** How long a side may take to close after the other one has; a peer that never does must not hold the tunnel. */
const CLOSE_WAIT_MS = 1000;

/** The ending of upgrade requests. */
export function websocketEnding(answerer: Answerer): Ending & { close(): void } {
  const proxy = HttpProxy.createProxyServer({ ws: true, xfwd: false });
  const tunnels = new WeakMap<object, Tunnel>();
  // The library repeats every error of a client's socket here and throws it when nobody listens: one reset would end the
  // process. The tunnel settles when that socket closes.
  proxy.on('error', () => {});
  proxy.on('proxyReqWs', (outgoing, request) => {
    const tunnel = tunnels.get(request);
    if (tunnel === undefined) return;
    // The library parses and joins paths; ours goes out byte for byte.
    outgoing.path = tunnel.exchange.path + tunnel.exchange.query;
    tunnel.asked(outgoing);
    outgoing.once('upgrade', (response, upstreamSocket: Socket) => {
      pruneHandshakeAnswer(response.headers, 101);
      tunnel.opened(response.headers, upstreamSocket);
    });
  });
  return {
    refuse(exchange, reason) {
      const answer = problem(reason, exchange.requestId, exchange.generation.problemOptions, exchange.details);
      const version = reason === 'websocket_malformed' ? ['Sec-WebSocket-Version', '13'] : [];
      answerer.refused(exchange, reason, answer.status);
      writeRawAnswer(exchange.socket as Duplex, answer.status, [...answer.headers, ...version], answer.body);
    },
    proceed(exchange) {
      // Gone while the token was verified or the store asked: its socket says `close` to nobody any more.
      if (exchange.socket?.destroyed) {
        answerer.aborted(exchange);
        return;
      }
      const route = exchange.route as Route;
      const full = route.upstream.endpoints.isOut ? 'upstream_unavailable' : route.upstream.openStream(exchange.caller);
      if (full !== undefined) {
        this.refuse(exchange, full);
        return;
      }
      const tunnel = new Tunnel(exchange, answerer, this);
      exchange.dispatchedAtMs = answerer.clock.monotonicMs();
      tunnel.dial(route.upstream.endpointFor(), (upstreamSocket) => {
        const request = outgoingRequest(exchange);
        tunnels.set(request, tunnel);
        // The library is not told where to: it would connect by itself, and take the name for TLS from the client's Host.
        const options = { target: NOWHERE, agent: new GivenSocket(upstreamSocket) };
        proxy.ws(request, exchange.socket as Socket, exchange.upgradeHead as Buffer, options as never, () =>
          tunnel.failed(),
        );
        tunnel.relaysAnswer();
      });
    },
    close: () => proxy.close(),
  };
}

const NOWHERE = { protocol: 'http:', hostname: 'upstream.invalid', host: 'upstream.invalid', port: '80' };

/** An agent for one request, on a connection that stands already. */
class GivenSocket extends Agent {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super({ keepAlive: false });
    this.#socket = socket;
  }

  override createConnection(): Socket {
    return this.#socket;
  }
}

/** What http-proxy reads of a request: our fields instead of the client's. */
function outgoingRequest(exchange: Exchange): Exchange['request'] {
  const flat = upstreamFields(exchange);
  // Without a prototype, or a field `constructor` would be sent with the value that every object has.
  const headers: Record<string, string | string[]> = Object.create(null);
  headers.connection = 'Upgrade';
  headers.upgrade = 'websocket';
  for (let at = 0; at < flat.length; at += 2) {
    const name = (flat[at] as string).toLowerCase();
    const before = headers[name];
    const value = flat[at + 1] as string;
    headers[name] = before === undefined ? value : [before, value].flat();
  }
  return Object.create(exchange.request, {
    headers: { value: headers },
    url: { value: exchange.path + exchange.query },
  }) as Exchange['request'];
}

class Tunnel implements OpenExchange {
  deadlineMs = Number.POSITIVE_INFINITY;
  place = -1;
  isStream = true;
  isLasting = true;
  readonly exchange: Exchange;
  judged: Exchange;
  judgedBy: Generation | undefined;
  recordsVersion = -1;
  readonly #answerer: Answerer;
  readonly #ending: Ending;
  readonly #client: Socket;
  readonly #fromUpstream = new FrameTracker();
  /** Counted there until it is over. */
  #endpoint: Endpoint | undefined;
  #unreached = 0;
  #outgoing: { destroy(): void } | undefined;
  #asked: ClientRequest | undefined;
  #upstream: Socket | undefined;
  #settled = false;
  #cutting = false;
  /** Status of an answer that is no 101 and on its way to the client. */
  #relayed: number | undefined;

  constructor(exchange: Exchange, answerer: Answerer, ending: Ending) {
    this.exchange = exchange;
    this.judged = exchange;
    this.judgedBy = exchange.generation;
    this.#answerer = answerer;
    this.#ending = ending;
    this.#client = exchange.socket as Socket;
    this.deadlineMs = answerer.clock.monotonicMs() + (exchange.route as Route).responseTimeoutMs;
    this.#client.once('close', () => this.#settle());
    answerer.open.add(this);
    answerer.streamOpened();
  }

  get endpointUrl(): string | undefined {
    return this.#endpoint?.url;
  }

  /** Connects to `endpoint`, or to another one that can be reached; then calls `connected`, unless the client left first. */
  dial(endpoint: Endpoint | undefined, connected: (socket: Socket) => void): void {
    if (this.#endpoint !== undefined) this.#endpoint.active -= 1;
    this.#endpoint = endpoint;
    if (endpoint === undefined) {
      this.#ending.refuse(this.exchange, this.#unreached === 0 ? 'upstream_unavailable' : 'upstream_unreachable');
      return;
    }
    endpoint.active += 1;
    this.exchange.span?.sentTo(endpoint.url);
    const { upstream } = this.exchange.route as Route;
    const socket = endpoint.connections.open({
      onOpen: () => connected(socket),
      onUnreachable: () => {
        this.#unreached += 1;
        const mayTry = this.#unreached <= upstream.config.retries;
        this.dial(mayTry ? upstream.endpointInstead(endpoint) : undefined, connected);
      },
    });
    this.#outgoing = socket;
  }

  /** The handshake is on its way; it is given up when the client leaves first. */
  asked(outgoing: ClientRequest): void {
    this.#outgoing = outgoing;
    this.#asked = outgoing;
  }

  /** Called when the library listens: its own relay of an answer that is no 101 holds in memory what a client does not read. */
  relaysAnswer(): void {
    this.#asked?.removeAllListeners('response').once('response', (answer) => this.#relay(answer));
  }

  opened(headers: IncomingHttpHeaders, upstream: Socket): void {
    this.exchange.answeredAtMs = this.#answerer.clock.monotonicMs();
    this.#upstream = upstream;
    this.deadlineMs = Number.POSITIVE_INFINITY;
    if (this.#settled) {
      upstream.destroy();
      return;
    }
    if (!acceptsHandshake(headers, findField(this.exchange.rawFields, 'sec-websocket-key') ?? '')) {
      this.#judge(undefined);
      // The answer ends the client's side, so that the library cannot write its 101 there any more.
      upstream.destroy();
      this.#ending.refuse(this.exchange, 'upstream_invalid');
      return;
    }
    // Both ends allow half-open connections, WebSockets do not know them (RFC 6455 section 7.1.1).
    this.#client.once('end', () => this.#destroyLater());
    upstream.once('end', () => this.#destroyLater());
    upstream.once('close', () => this.#destroyLater());
    upstream.on('data', (chunk: Buffer) => {
      if (!this.#cutting) this.#fromUpstream.feed(chunk);
    });
    this.#judge(101);
    this.#answerer.finished(this.exchange, 101);
  }

  /** The upstream answered without upgrading: what it says goes to the client, and the connection ends with it. */
  #relay(answer: IncomingMessage): void {
    const { exchange } = this;
    const status = answer.statusCode as number;
    exchange.answeredAtMs = this.#answerer.clock.monotonicMs();
    this.#judge(status);
    pruneHandshakeAnswer(answer.headers, status);
    const response = new ServerResponse(exchange.request);
    response.shouldKeepAlive = false;
    response.assignSocket(this.#client);
    // Node's server tells its responses; this connection has left it.
    this.#client.on('drain', () => response.emit('drain'));
    try {
      response.writeHead(status, answer.statusMessage, answer.headers);
    } catch {
      response.detachSocket(this.#client);
      answer.destroy();
      this.#ending.refuse(exchange, 'upstream_invalid');
      return;
    }
    this.#relayed = status;
    // From here on it ends as any answer does: a drain waits for it.
    this.isStream = false;
    this.isLasting = false;
    this.#moved();
    answer.on('data', () => this.#moved());
    answer.on('error', () => this.#abort('upstream_reset'));
    pipeline(answer, response, (error) => {
      if (error != null) return;
      this.#answerer.finished(exchange, status);
      this.#client.destroySoon();
    });
  }

  #moved(): void {
    this.deadlineMs = this.#answerer.clock.monotonicMs() + (this.exchange.route as Route).idleTimeoutMs;
  }

  /** Never ended as if it were whole (attack 55), nor with words of ours in the middle of it. */
  #abort(reason: Reason): void {
    this.#client.destroy();
    if (this.#relayed !== undefined) this.#answerer.finished(this.exchange, this.#relayed, reason);
  }

  /** The connection broke: before an answer, under the tunnel, or in the middle of another answer. */
  failed(): void {
    if (this.exchange.ended) return;
    if (this.#relayed !== undefined) {
      this.#abort('upstream_reset');
      return;
    }
    this.#judge(undefined);
    this.#ending.refuse(this.exchange, 'upstream_reset');
  }

  /** The upstream has not answered the handshake in time, or what it answered instead does not move. */
  expire(): void {
    this.#cutting = true;
    // Until the client has closed it stays among the open ones, and each look would blame the endpoint once more.
    this.deadlineMs = Number.POSITIVE_INFINITY;
    if (this.#relayed !== undefined) {
      this.#abort('upstream_timeout');
      return;
    }
    if (this.exchange.ended) return;
    this.#judge(undefined);
    this.#ending.refuse(this.exchange, 'upstream_timeout');
  }

  cut(reason: Reason): void {
    if (this.#cutting || this.#settled) return;
    this.#cutting = true;
    if (this.#relayed !== undefined) {
      this.#abort(reason);
      return;
    }
    this.#answerer.streamsClosed(reason);
    const upstream = this.#upstream;
    if (upstream === undefined) {
      this.#client.destroy();
      return;
    }
    upstream.unpipe(this.#client);
    this.#client.unpipe(upstream);
    const finish = () => {
      const { code, text } = closingWords(reason);
      this.#client.end(closeFrame(code, text));
      this.#client.resume();
      upstream.destroy();
      this.#destroyLater();
    };
    if (this.#fromUpstream.atBoundary) {
      finish();
      return;
    }
    const timer = setTimeout(() => this.#client.destroy(), BOUNDARY_WAIT_MS);
    this.#client.once('close', () => clearTimeout(timer));
    upstream.on('data', (chunk: Buffer) => {
      const taken = this.#fromUpstream.feedToBoundary(chunk);
      this.#client.write(chunk.subarray(0, taken));
      if (!this.#fromUpstream.atBoundary) return;
      upstream.removeAllListeners('data');
      finish();
    });
    upstream.resume();
  }

  /** `status` of the answer to the handshake; undefined for none or a bad one. */
  #judge(status: number | undefined): void {
    const { endpoints } = (this.exchange.route as Route).upstream;
    if (this.#endpoint === undefined || !endpoints.watchesAnswers) return;
    if (status === undefined) endpoints.failed(this.#endpoint, this.exchange.dispatchedAtMs);
    else endpoints.answered(this.#endpoint, status, this.exchange);
  }

  #destroyLater(): void {
    const timer = setTimeout(() => this.#client.destroy(), CLOSE_WAIT_MS);
    this.#client.once('close', () => clearTimeout(timer));
  }

  #settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    // What the client sent last still goes out, to an upstream that takes it.
    const upstream = this.#upstream;
    if (upstream === undefined) this.#outgoing?.destroy();
    upstream?.destroySoon();
    if (upstream !== undefined) setTimeout(() => upstream.destroy(), CLOSE_WAIT_MS).unref();
    const { open, streamClosed, aborted } = this.#answerer;
    this.exchange.generation.gate.leave(this.exchange);
    open.remove(this);
    (this.exchange.route as Route).upstream.closeStream(this.exchange.caller);
    if (this.#endpoint !== undefined) this.#endpoint.active -= 1;
    streamClosed();
    if (!this.exchange.ended) aborted(this.exchange);
  }
}
