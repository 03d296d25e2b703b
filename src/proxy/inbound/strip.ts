// One pass over the fields of a request: reads what the pipeline needs and keeps what may go upstream. Identity headers and
// their look-alikes, hop-by-hop fields, and whatever could make the upstream see another URL, method or address than we
// judged are left out here; outbound/identity.ts sets ours afterwards (clear first, set after: attacks 19 to 26, 34 to 37).
import { foldName, hopByHop, isOverride, listTokens } from '../../http/headers.ts';

/** What was read; `forward` holds names and values for the upstream, in order. */
export class InboundFields {
  readonly forward: string[] = [];
  host: string | undefined = undefined;
  authorization: string | undefined = undefined;
  contentLength: string | undefined = undefined;
  transferEncoding: string | undefined = undefined;
  connection: string | undefined = undefined;
  upgrade: string | undefined = undefined;
  cookie: string | undefined = undefined;
  origin: string | undefined = undefined;
  accessControlRequestMethod: string | undefined = undefined;
  websocketProtocol: string | undefined = undefined;
  requestId: string | undefined = undefined;
  /** These two only where traces are made; otherwise they pass like any other field. Two `traceparent` are read as an empty one. */
  traceparent: string | undefined = undefined;
  /** All lines of it. */
  tracestate: string | undefined = undefined;
  readonly forwardedFor: string[] = [];
  readonly forwarded: string[] = [];
  forwardedProto: string | undefined = undefined;
  forwardedHost: string | undefined = undefined;
  /** A field that must stand once stands twice: Host, Authorization, Content-Length, … */
  repeated: string | undefined = undefined;
  /** Another field of which one value is required has two: a forwarded field of a trusted peer (attack 41). */
  repeatedForwarded = false;
}

type Reader = (fields: InboundFields, name: string, value: string) => void;

const keep: Reader = (fields, name, value) => {
  fields.forward.push(name, value);
};
const drop: Reader = () => {};

type SingleField =
  | 'host'
  | 'authorization'
  | 'contentLength'
  | 'transferEncoding'
  | 'upgrade'
  | 'origin'
  | 'accessControlRequestMethod'
  | 'websocketProtocol'
  | 'cookie'
  | 'requestId';

/** Remembers the value; a second one is an error that the canonicalise stage reports. */
const once =
  (field: SingleField, forwarded: boolean): Reader =>
  (fields, name, value) => {
    if (fields[field] !== undefined) fields.repeated = name;
    fields[field] = value;
    if (forwarded) fields.forward.push(name, value);
  };

/** Fields that may repeat; HTTP/1.1 allows only one Cookie but joins are harmless with `; `. */
const cookie: Reader = (fields, name, value) => {
  fields.cookie = fields.cookie === undefined ? value : `${fields.cookie}; ${value}`;
  fields.forward.push(name, value);
};

const onceForwarded =
  (field: 'forwardedProto' | 'forwardedHost'): Reader =>
  (fields, _name, value) => {
    if (fields[field] !== undefined) fields.repeatedForwarded = true;
    fields[field] = value;
  };

const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['host', once('host', false)],
  ['authorization', once('authorization', false)],
  ['content-length', once('contentLength', false)],
  ['transfer-encoding', once('transferEncoding', false)],
  ['upgrade', once('upgrade', false)],
  ['origin', once('origin', true)],
  ['access-control-request-method', once('accessControlRequestMethod', true)],
  ['sec-websocket-protocol', once('websocketProtocol', true)],
  ['x-request-id', once('requestId', false)],
  ['cookie', cookie],
  ['expect', drop],
  [
    'connection',
    (fields, _name, value) => {
      fields.connection = fields.connection === undefined ? value : `${fields.connection},${value}`;
    },
  ],
  ['x-forwarded-for', (fields, _name, value) => void fields.forwardedFor.push(value)],
  ['forwarded', (fields, _name, value) => void fields.forwarded.push(value)],
  ['x-forwarded-proto', onceForwarded('forwardedProto')],
  ['x-forwarded-host', onceForwarded('forwardedHost')],
]);

/** Where spans are made, the application is told of ours instead (W3C Trace Context). */
const traceReaders: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  [
    'traceparent',
    (fields, _name, value) => {
      fields.traceparent = fields.traceparent === undefined ? value : '';
    },
  ],
  [
    'tracestate',
    (fields, _name, value) => {
      fields.tracestate = fields.tracestate === undefined ? value : `${fields.tracestate},${value}`;
    },
  ],
]);

/** Names that only we may set, whatever their spelling. */
const ALWAYS_OURS = ['x-auth-assertion', 'x-request-id'];
/** Standard names whose look-alikes some servers take for the real field. */
const ALIASED = new Set(['content-length', 'transfer-encoding', 'x-forwarded-proto', 'x-forwarded-host']);
const MAX_CACHED = 2048;

/** Reads the fields of a request in one pass. */
export type FieldReader = (raw: readonly string[]) => InboundFields;

/**
 * Builds the pass for one configuration; `identityNames` are the configured identity headers in any spelling. `traced`: the
 * trace context of the request is read and goes no further.
 */
export function fieldReader(identityNames: readonly string[], traced = false): FieldReader {
  const ours = new Set([...identityNames, ...ALWAYS_OURS].map(foldName));
  // By the exact spelling seen, so that the common case is one look-up. Bounded: clients choose the names.
  const byName = new Map<string, Reader>();
  const classify = (name: string): Reader => {
    const lower = name.toLowerCase();
    const exact = readers.get(lower) ?? (traced ? traceReaders.get(lower) : undefined);
    if (exact !== undefined) return exact;
    const folded = foldName(lower);
    const ownedByUs = ours.has(folded) || folded.startsWith('x-doorward-');
    const refused = ownedByUs || hopByHop.has(folded) || ALIASED.has(folded) || isOverride(folded);
    const reader = refused ? drop : keep;
    return reader;
  };
  return (raw) => {
    const fields = new InboundFields();
    for (let at = 0; at < raw.length; at += 2) {
      const name = raw[at] as string;
      let reader = byName.get(name);
      if (reader === undefined) {
        reader = classify(name);
        if (byName.size < MAX_CACHED && name.length <= 64) byName.set(name, reader);
      }
      reader(fields, name, raw[at + 1] as string);
    }
    if (fields.connection !== undefined) dropListed(fields, fields.connection);
    return fields;
  };
}

/** RFC 9110 7.6.1: fields named in Connection end here. Ours are set later and so cannot be named away (attack 24). */
function dropListed(fields: InboundFields, connection: string): void {
  if (connection === 'keep-alive' || connection === 'close' || connection === 'Keep-Alive') return;
  const listed = new Set(listTokens(connection));
  const { forward } = fields;
  let to = 0;
  for (let at = 0; at < forward.length; at += 2) {
    if (listed.has((forward[at] as string).toLowerCase())) continue;
    forward[to] = forward[at] as string;
    forward[to + 1] = forward[at + 1] as string;
    to += 2;
  }
  forward.length = to;
}
