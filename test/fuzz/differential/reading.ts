// The reference reading of a connection: RFC 9112 taken literally, with nothing left to the recipient's kindness. Both the
// client's bytes and what upstreams receive are read by it, so "they agree" has one meaning. No code of src is used here.

/** One request of a connection. */
export interface ReadRequest {
  readonly method: string;
  readonly target: string;
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** Undefined where it is broken or not all there. */
  readonly body: string | undefined;
  /** Position behind it. */
  readonly end: number;
}

/** All whole requests of a connection, and what becomes of the rest. */
export interface Reading {
  readonly requests: readonly ReadRequest[];
  /** `whole`: nothing follows. `partial`: bytes are missing. `broken`: not HTTP/1.x, or of two meanings. `closed`: who asked said close. */
  readonly rest: 'whole' | 'partial' | 'broken' | 'closed';
  /** A request whose head is sound and whose body is broken or not all there: who does not wait for it may have answered. */
  readonly begun: ReadRequest | undefined;
}

const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP\/1\.([01])$/;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*?)[\t ]*$/;
const SIZE = /^([0-9A-Fa-f]{1,12})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?$/;

/** Values of one field, in order; `name` in lower case. */
export function valuesOf(request: Pick<ReadRequest, 'fields'>, name: string): readonly string[] {
  return request.fields.filter(([given]) => given.toLowerCase() === name).map(([, value]) => value);
}

/** Reads bytes (latin1). */
export function readRequests(text: string): Reading {
  const requests: ReadRequest[] = [];
  let at = 0;
  for (;;) {
    // Blank bytes before a request line mean nothing in any reading (RFC 9112 section 2.2, read generously).
    while (text[at] === '\r' || text[at] === '\n') at += 1;
    if (at === text.length) return { requests, rest: 'whole', begun: undefined };
    const read = readRequest(text, at);
    if (typeof read === 'string') return { requests, rest: read, begun: undefined };
    if (read.trouble !== undefined) return { requests, rest: read.trouble, begun: read.request };
    requests.push(read.request);
    at = read.request.end;
    if (read.closes) return { requests, rest: 'closed', begun: undefined };
  }
}

interface Read {
  readonly request: ReadRequest;
  readonly closes: boolean;
  readonly trouble: 'partial' | 'broken' | undefined;
}

function readRequest(text: string, from: number): Read | 'partial' | 'broken' {
  const headEnd = text.indexOf('\r\n\r\n', from);
  const [line = '', ...lines] = text.slice(from, headEnd < 0 ? undefined : headEnd).split('\r\n');
  if (/[\r\n]/.test([line, ...lines].join('').replace(/\r$/, ''))) return 'broken';
  if (headEnd < 0) return 'partial';
  const match = REQUEST_LINE.exec(line);
  const fields = lines
    .map((given) => FIELD.exec(given))
    .map((field) => field && ([field[1], field[2]] as [string, string]));
  if (match === null || !fields.every((field) => field !== null)) return 'broken';
  const [, method = '', target = '', minor] = match;
  const head = { method, target, fields };
  const body = readBody(text, headEnd + 4, head, minor === '1');
  if (typeof body === 'string') {
    return { request: { ...head, body: undefined, end: text.length }, closes: true, trouble: body };
  }
  const tokens = valuesOf(head, 'connection')
    .join(',')
    .toLowerCase()
    .split(/[\t ]*,[\t ]*/);
  const closes = tokens.includes('close') || (minor === '0' && !tokens.includes('keep-alive'));
  return { request: { ...head, ...body }, closes, trouble: undefined };
}

function readBody(text: string, from: number, head: Pick<ReadRequest, 'fields'>, isLatest: boolean) {
  const lengths = valuesOf(head, 'content-length');
  const codings = valuesOf(head, 'transfer-encoding');
  if (lengths.length + codings.length === 0) return { body: '', end: from };
  if (lengths.length + codings.length > 1) return 'broken';
  if (codings.length === 1)
    return isLatest && codings[0]?.toLowerCase() === 'chunked' ? readChunked(text, from) : 'broken';
  if (!/^\d{1,15}$/.test(lengths[0] as string)) return 'broken';
  const end = from + Number(lengths[0]);
  return end > text.length ? 'partial' : { body: text.slice(from, end), end };
}

function readChunked(text: string, from: number) {
  let at = from;
  let body = '';
  const line = () => {
    const end = text.indexOf('\n', at);
    if (end < 0) return text.indexOf('\r', at) >= 0 && text.indexOf('\r', at) < text.length - 1 ? 'broken' : 'partial';
    const found = text.slice(at, end + 1);
    at = end + 1;
    return /^[^\r\n]*\r\n$/.test(found) ? { line: found.slice(0, -2) } : 'broken';
  };
  for (;;) {
    const first = line();
    if (typeof first === 'string') return first;
    const size = SIZE.exec(first.line);
    if (size === null) return 'broken';
    const length = Number.parseInt(size[1] as string, 16);
    if (length === 0) break;
    if (at + length + 2 > text.length) {
      const after = text.slice(at + length, at + length + 2);
      return '\r\n'.startsWith(after) ? 'partial' : 'broken';
    }
    body += text.slice(at, at + length);
    at += length;
    if (text.slice(at, at + 2) !== '\r\n') return 'broken';
    at += 2;
  }
  for (;;) {
    const trailer = line();
    if (typeof trailer === 'string') return trailer;
    if (trailer.line === '') return { body, end: at };
    if (!FIELD.test(trailer.line)) return 'broken';
  }
}

/** A response as a client that knows what it asked for reads it. */
export interface ReadResponse {
  readonly status: number;
  readonly fields: ReadonlyMap<string, string>;
  readonly body: string;
}

/** Whole final responses, the first to the first of `methods`; undefined when the bytes are none. `closed` ends those without length. */
export function readResponses(
  text: string,
  methods: readonly string[],
  closed: boolean,
): readonly ReadResponse[] | undefined {
  const responses: ReadResponse[] = [];
  let rest = text;
  while (rest !== '') {
    const headEnd = rest.indexOf('\r\n\r\n');
    if (headEnd < 0) return closed ? undefined : responses;
    const [line = '', ...lines] = rest.slice(0, headEnd).split('\r\n');
    const status = Number(/^HTTP\/1\.1 ([1-5]\d\d) /.exec(line)?.[1]);
    if (Number.isNaN(status) || !lines.every((given) => FIELD.test(given))) return undefined;
    rest = rest.slice(headEnd + 4);
    if (status < 200) continue;
    const fields = new Map(
      lines.map((given) => [given.slice(0, given.indexOf(':')).toLowerCase(), given.replace(/^[^:]*:[\t ]*/, '')]),
    );
    const body = readResponseBody(rest, status, fields, methods[responses.length] ?? '', closed);
    if (typeof body === 'string') return body === 'broken' ? undefined : responses;
    responses.push({ status, fields, body: body.body });
    rest = rest.slice(body.end);
  }
  return responses;
}

function readResponseBody(
  text: string,
  status: number,
  fields: ReadonlyMap<string, string>,
  method: string,
  closed: boolean,
) {
  // Who could not read the request refuses with a body and closes, whatever the method may have been.
  const refused = status >= 400 && fields.get('connection') === 'close' && closed;
  if (
    (method === 'HEAD' && !(refused && text.length === Number(fields.get('content-length')))) ||
    status === 204 ||
    status === 304
  )
    return { body: '', end: 0 };
  if (fields.get('transfer-encoding') === 'chunked') return readChunked(text, 0);
  const length = fields.get('content-length');
  if (length === undefined) return closed ? { body: text, end: text.length } : 'partial';
  return Number(length) > text.length ? 'partial' : { body: text.slice(0, Number(length)), end: Number(length) };
}
