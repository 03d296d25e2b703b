// One request on its way through the pipeline: what was read, what was decided, what is owed. One object per request, all
// fields set in the constructor so that every exchange has the same shape. The stages in pipeline.ts fill it in order.

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ClientAddress } from '../core/address.ts';
import type { Reason } from '../core/reasons.ts';
import type { Peer } from '../http/client-address.ts';
import type { ClientResponse } from '../http/client-response.ts';
import { findField } from '../http/headers.ts';
import type { ProblemDetails } from '../http/problem.ts';
import type { SecureConnection } from '../http/secure-connection.ts';
import type { ConcurrentSlot } from '../limits/concurrent.ts';
import type { RequestCharges } from '../limits/plan.ts';
import type { RateStates } from '../stores/contracts/checks.ts';
import type { VerifiedToken } from '../token/verified-token.ts';
import type { Generation } from './generation.ts';
import type { Route } from './inbound/route.ts';
import type { InboundFields } from './inbound/strip.ts';
import type { RequestSpan } from './trace-spans.ts';

/** Where the request came in, which decides how it ends. */
export type ExchangeKind = 'forward' | 'websocket' | 'verdict' | 'explain';

/** How an exchange ends; one implementation per {@link ExchangeKind}. */
export interface Ending {
  /** All stages passed: send the request on, or say yes. */
  proceed(exchange: Exchange): void;
  /** A stage refused. */
  refuse(exchange: Exchange, reason: Reason): void;
}

/** The request as the pipeline judges it. */
export class Exchange {
  readonly generation: Generation;
  readonly kind: ExchangeKind;
  readonly ending: Ending;
  readonly request: IncomingMessage;
  /** Absent for upgrades and explanations. */
  readonly response: ClientResponse | undefined;
  /** Only for upgrades. */
  readonly socket: Duplex | undefined;
  readonly upgradeHead: Buffer | undefined;
  readonly peer: Peer;
  /** The TLS connection of the caller; undefined without TLS, and for verdicts, whose caller is somewhere else. */
  secure: SecureConnection | undefined = undefined;
  readonly startedAtMs: number;
  expectsContinue = false;

  requestId: string;
  method: string;
  /** Request target as sent; a verdict replaces it by the described one. */
  rawTarget: string;
  rawFields: readonly string[];

  path = '';
  query = '';
  /** Lower case, no port. */
  host = '';
  /** As sent, for the upstream. */
  authority = '';
  oddities = 0;
  ambiguous = false;
  fields: InboundFields | undefined = undefined;
  client: ClientAddress;
  route: Route | undefined = undefined;
  preflight = false;
  credential: string | undefined = undefined;
  /** Which source the credential came from; what must be removed before the upstream. */
  credentialSource = -1;
  token: VerifiedToken | undefined = undefined;
  charges: RequestCharges | undefined = undefined;
  /** Its places under limits on what is under way, until it is over; check-gate.ts alone writes it. */
  held: readonly ConcurrentSlot[] | undefined = undefined;
  rateStates: RateStates | undefined = undefined;
  /** The states are this replica's own, since the shared store is away. */
  countedLocally = false;

  /** Index of the next stage. */
  stage = 0;
  stageName = 'parse';
  ended = false;
  /** Counted among the requests under way; overload.ts alone writes it. */
  isUnderWay = false;
  /** First refusal that shadow mode let through. */
  shadowReason: Reason | undefined = undefined;
  details: ProblemDetails | undefined = undefined;
  /** One line for operators: the rule that decided. */
  rule: string | undefined = undefined;

  /** What the upstream is told of the trace; undefined without `tracing`. */
  traceparent: string | undefined = undefined;
  /** Only for requests that are traced. */
  span: RequestSpan | undefined = undefined;

  dispatchedAtMs = 0;
  answeredAtMs = 0;

  constructor(
    generation: Generation,
    kind: ExchangeKind,
    ending: Ending,
    request: IncomingMessage,
    sink: { readonly response?: ClientResponse; readonly socket?: Duplex; readonly head?: Buffer },
    peer: Peer,
    requestId: string,
    startedAtMs: number,
  ) {
    this.generation = generation;
    this.kind = kind;
    this.ending = ending;
    this.request = request;
    this.response = sink.response;
    this.socket = sink.socket;
    this.upgradeHead = sink.head;
    this.peer = peer;
    this.client = peer;
    this.requestId = requestId;
    this.startedAtMs = startedAtMs;
    this.method = request.method as string;
    this.rawTarget = request.url as string;
    this.rawFields = request.rawHeaders;
  }

  /** Whether it asks for a WebSocket: it came as one, or a front describes one, and keeps Upgrade and Connection to itself. */
  get opensWebSocket(): boolean {
    if (this.kind === 'verdict') return findField(this.rawFields, 'sec-websocket-key') !== undefined;
    return this.kind === 'websocket';
  }

  /** Whose streams are counted together: one subject of one client, or one address without a token. */
  get caller(): string {
    const principal = this.token?.principal;
    if (principal === undefined) return this.client.key;
    return JSON.stringify([principal.issuer, principal.client, principal.subject]);
  }
}
