// A real OTLP/HTTP receiver: takes JSON messages as a collector does and refuses every word that the protocol does not have, so
// that a test that gets its spans also knows that they were spelled right.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';

/** A span as it was received. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number;
  readonly startNano: bigint;
  readonly endNano: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly { readonly name: string; readonly nano: bigint }[];
  readonly failed: boolean;
}

/** How the receiver answers a message; nothing leaves it without an answer. */
export type ReceiverAnswer =
  | {
      readonly status: number;
      readonly fields?: Readonly<Record<string, string>>;
      readonly body?: string;
    }
  | 'silence';

/** The receiver, and what it got. */
export interface OtlpReceiver extends AsyncDisposable {
  readonly url: string;
  /** Spans of the messages that were taken (answered 200). */
  readonly spans: ReceivedSpan[];
  /** Attributes of the sender, of the last message. */
  resource: Readonly<Record<string, unknown>>;
  /** Headers and bodies of all messages. */
  readonly messages: { readonly path: string; readonly headers: IncomingHttpHeaders; readonly text: string }[];
  /** Decides the next answers; 200 by default. */
  answer: () => ReceiverAnswer;
  /** Resolves once `count` spans are there. */
  received(count: number): Promise<readonly ReceivedSpan[]>;
}

/** Starts it; with `tls` as an https server. */
export async function otlpReceiver(tls?: ServerOptions): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const messages: OtlpReceiver['messages'][number][] = [];
  const take = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    messages.push({ path: `${request.method} ${request.url}`, headers: request.headers, text });
    const answer = receiver.answer();
    if (answer === 'silence') return;
    if (answer.status === 200) {
      const message = readMessage(request, text);
      spans.push(...message.spans);
      receiver.resource = message.resource;
    }
    response
      .writeHead(answer.status, { 'content-type': 'application/json', ...answer.fields })
      .end(answer.body ?? '{}');
  };
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    take(request, response).catch((error: Error) => response.writeHead(400).end(error.message));
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const receiver: OtlpReceiver = {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    spans,
    resource: {},
    messages,
    answer: () => ({ status: 200 }),
    async received(count) {
      await waitFor(() => spans.length >= count, `${count} spans; ${messages.length} messages came`);
      return spans;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return receiver;
}

/** Waits for a condition, generously: the machine may be busy. */
export async function waitFor(holds: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + 30_000;
  while (!holds()) {
    assert.ok(performance.now() < endMs, `waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

type Tree = Readonly<Record<string, unknown>>;

/** ExportTraceServiceRequest, without anything that is not in it. */
function readMessage({ method, headers }: IncomingMessage, text: string) {
  assert.equal(method, 'POST');
  assert.equal(headers['content-type'], 'application/json');
  const [whole] = list(only(JSON.parse(text), 'resourceSpans').resourceSpans, 1);
  const { resource, scopeSpans } = only(whole, 'resource', 'scopeSpans');
  const [scoped] = list(scopeSpans, 1);
  const { scope, spans } = only(scoped, 'scope', 'spans');
  const { name, version } = only(scope, 'name', 'version');
  assert.equal(name, 'doorward');
  assert.match(String(version), /^\d+\.\d+\.\d+/);
  return { resource: readAttributes(only(resource, 'attributes').attributes), spans: list(spans).map(readSpan) };
}

const SPAN = [
  'traceId',
  'spanId',
  'parentSpanId',
  'traceState',
  'name',
  'kind',
  'startTimeUnixNano',
  'endTimeUnixNano',
];

function readSpan(value: unknown): ReceivedSpan {
  const span = only(value, ...SPAN, 'attributes', 'events', 'status');
  const { traceId, spanId, parentSpanId, traceState, name, kind } = span as Record<string, string> & { kind: number };
  assert.match(traceId as string, /^(?!0{32})[0-9a-f]{32}$/);
  assert.match(spanId as string, /^(?!0{16})[0-9a-f]{16}$/);
  if (parentSpanId !== undefined) assert.match(parentSpanId, /^(?!0{16})[0-9a-f]{16}$/);
  assert.ok([1, 2, 3].includes(kind), `kind ${kind}`);
  const startNano = nano(span.startTimeUnixNano);
  const endNano = nano(span.endTimeUnixNano);
  assert.ok(startNano <= endNano, 'ends before it starts');
  const events = list(span.events ?? []).map((event) => {
    const { timeUnixNano, name: what } = only(event, 'timeUnixNano', 'name');
    return { name: String(what), nano: nano(timeUnixNano) };
  });
  return {
    traceId: traceId as string,
    spanId: spanId as string,
    ...(parentSpanId !== undefined && { parentSpanId }),
    ...(traceState !== undefined && { traceState }),
    name: name as string,
    kind,
    startNano,
    endNano,
    attributes: readAttributes(span.attributes),
    events,
    failed: span.status !== undefined && only(span.status, 'code').code === 2,
  };
}

/** 64-bit numbers are text in the JSON of Protobuf. */
function nano(value: unknown): bigint {
  assert.match(String(value), /^\d{19}$/);
  assert.equal(typeof value, 'string');
  return BigInt(value as string);
}

function readAttributes(value: unknown): Readonly<Record<string, unknown>> {
  const pairs = list(value).map((each) => {
    const { key, value: any } = only(each, 'key', 'value');
    return [String(key), readAny(any)] as const;
  });
  const attributes = Object.fromEntries(pairs);
  assert.equal(Object.keys(attributes).length, pairs.length, 'a name stands twice');
  return attributes;
}

function readAny(value: unknown): unknown {
  const any = only(value, 'stringValue', 'boolValue', 'intValue', 'arrayValue');
  assert.equal(Object.keys(any).length, 1);
  if ('stringValue' in any) assert.equal(typeof any.stringValue, 'string');
  if ('boolValue' in any) assert.equal(typeof any.boolValue, 'boolean');
  if ('intValue' in any) {
    assert.match(any.intValue as string, /^-?\d+$/);
    return Number(any.intValue);
  }
  if ('arrayValue' in any) return list(only(any.arrayValue, 'values').values).map(readAny);
  return any.stringValue ?? any.boolValue;
}

function only(value: unknown, ...names: readonly string[]): Tree {
  assert.ok(typeof value === 'object' && value !== null && !Array.isArray(value));
  for (const name of Object.keys(value)) assert.ok(names.includes(name), `${name} is not of the protocol`);
  return value as Tree;
}

function list(value: unknown, length?: number): readonly unknown[] {
  assert.ok(Array.isArray(value));
  if (length !== undefined) assert.equal(value.length, length);
  return value;
}
