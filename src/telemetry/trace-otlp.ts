// Spans in the words of OTLP/HTTP: JSON as the OpenTelemetry Protocol 1.x spells it (ids in hexadecimal, 64-bit numbers as
// text, enumerations as numbers). https://opentelemetry.io/docs/specs/otlp/ Pure; trace-exporter.ts sends it.

/** What an attribute may hold. Numbers are whole ones. */
export type AttributeValue = string | number | boolean | readonly string[];

/** Attributes by name; undefined ones are left out. */
export type Attributes = Readonly<Record<string, AttributeValue | undefined>>;

/** Whose view a span is: our own work, serving a request, or making one. The numbers are the protocol's. */
export const spanKind = { internal: 1, server: 2, client: 3 } as const;

/** One span. Times in ms since the epoch, with a fraction. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly traceState: string | undefined;
  readonly name: string;
  readonly kind: (typeof spanKind)[keyof typeof spanKind];
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  readonly failed: boolean;
  /** When the head of the answer came; undefined for spans without one. */
  readonly answeredMs?: number | undefined;
}

const STATUS_ERROR = 2;

/** A span as the JSON of the protocol. */
export function spanText(span: Span): string {
  const { traceId, spanId, parentSpanId, traceState, name, kind, startMs, endMs, answeredMs } = span;
  return JSON.stringify({
    traceId,
    spanId,
    parentSpanId,
    traceState,
    name,
    kind,
    startTimeUnixNano: nanoseconds(startMs),
    endTimeUnixNano: nanoseconds(Math.max(startMs, endMs)),
    attributes: attributeList(span.attributes),
    events: answeredMs === undefined ? undefined : [{ timeUnixNano: nanoseconds(answeredMs), name: 'response_head' }],
    status: span.failed ? { code: STATUS_ERROR } : undefined,
  });
}

/** What frames the spans of one message: who sends them, and in which release. Made once, and used for every message. */
export function envelope(resource: Attributes, release: string): (spans: readonly string[]) => string {
  const whose = JSON.stringify({ attributes: attributeList(resource) });
  const scope = JSON.stringify({ name: 'doorward', version: release });
  const before = `{"resourceSpans":[{"resource":${whose},"scopeSpans":[{"scope":${scope},"spans":[`;
  return (spans) => `${before}${spans.join(',')}]}]}]}`;
}

/** A double holds the nanoseconds of a date to some hundreds; the text is made of its two halves. */
function nanoseconds(ms: number): string {
  const whole = Math.floor(ms);
  const rest = Math.floor((ms - whole) * 1_000_000);
  return `${whole}${String(rest).padStart(6, '0')}`;
}

function attributeList(attributes: Attributes): readonly unknown[] {
  const list: unknown[] = [];
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) list.push({ key, value: anyValue(value) });
  }
  return list;
}

function anyValue(value: AttributeValue): unknown {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number') return { intValue: String(value) };
  return { arrayValue: { values: value.map((each) => ({ stringValue: each })) } };
}
