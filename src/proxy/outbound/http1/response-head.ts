// Reads the head of an upstream's answer: strictly, because a head that two programs read differently is how one client gets
// another's answer. Whatever RFC 9112 leaves to the recipient's kindness is refused. Pure; bytes come from connection.ts.
// RFC 9112 sections 2.2, 4, 5, 6; RFC 9110 sections 7.6.1 and 15.2.
import { hopByHop, listTokens } from '../../../http/headers.ts';

/** How long the body is. */
export type Framing = 'none' | 'chunked' | 'until_close' | number;

/** The head of an answer, as far as the client may see it. */
export interface ResponseHead {
  readonly status: number;
  /** Reason phrase; '' when there is none. */
  readonly reasonPhrase: string;
  /** Flat array of names, as sent, and values; hop-by-hop fields and those that only we set are left out. */
  readonly fields: string[];
  /** Value of Content-Type; '' when there is none. */
  readonly contentType: string;
  readonly framing: Framing;
  /** True when the connection may serve another request. */
  readonly persistent: boolean;
  /** `timeout` of Keep-Alive in ms: the upstream closes after that. */
  readonly keepAliveMs: number | undefined;
}

const HEAD =
  /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)*)$/;
const LENGTH = /^\d{1,15}$/;
const BLANKS = /^[\t ]+|[\t ]+$/g;

const KEEP = 0;
const DROP = 1;
const CONTENT_LENGTH = 2;
const TRANSFER_ENCODING = 3;
const CONNECTION = 4;
const KEEP_ALIVE = 5;
const CONTENT_TYPE = 6;
const ROLES: ReadonlyMap<string, number> = new Map([
  ...[...hopByHop].map((name): [string, number] => [name, DROP]),
  // An upstream cannot speak in our name (attack 56).
  ['ratelimit', DROP],
  ['ratelimit-policy', DROP],
  ['content-length', CONTENT_LENGTH],
  ['transfer-encoding', TRANSFER_ENCODING],
  ['connection', CONNECTION],
  ['keep-alive', KEEP_ALIVE],
  ['content-type', CONTENT_TYPE],
]);
/** By spelling, so that the common case is one look-up; bounded, since the upstream chooses the names. */
const rolesBySpelling = new Map<string, number>();
const MAX_SPELLINGS = 1000;

function roleOf(name: string): number {
  const known = rolesBySpelling.get(name);
  if (known !== undefined) return known;
  const role = ROLES.get(name.toLowerCase()) ?? KEEP;
  if (rolesBySpelling.size < MAX_SPELLINGS) rolesBySpelling.set(name, role);
  return role;
}

/** What the fields of one head say about connection and body. */
class Reading {
  readonly fields: string[] = [];
  contentType = '';
  contentLength: string | undefined = undefined;
  transferEncoding: string | undefined = undefined;
  connection: string | undefined = undefined;
  keepAlive: string | undefined = undefined;
  /** A field that decides the framing stands there twice. */
  contradictory = false;

  take(name: string, value: string): void {
    const role = roleOf(name);
    if (role === KEEP) this.fields.push(name, value);
    else if (role === CONTENT_TYPE) {
      this.contentType = value;
      this.fields.push(name, value);
    } else if (role === CONTENT_LENGTH) {
      // Twice is refused even when equal: who folds `5, 5` and who does not would disagree.
      if (this.contentLength !== undefined) this.contradictory = true;
      this.contentLength = value;
      this.fields.push(name, value);
    } else if (role !== DROP) this.#takeConnection(role, value);
  }

  #takeConnection(role: number, value: string): void {
    if (role === TRANSFER_ENCODING) {
      if (this.transferEncoding !== undefined) this.contradictory = true;
      this.transferEncoding = value;
    } else if (role === KEEP_ALIVE) this.keepAlive = value;
    else this.connection = this.connection === undefined ? value : `${this.connection},${value}`;
  }
}

/**
 * Reads a head without its empty line, for the answer to a request with `method`; undefined when it is not HTTP/1.x as the
 * RFC has it, or when its framing could be read in two ways.
 */
export function readResponseHead(text: string, method: string): ResponseHead | undefined {
  const match = HEAD.exec(text);
  if (match === null) return undefined;
  const reading = readFields(match[4] as string);
  const status = Number(match[2]);
  const isLatest = match[1] === '1';
  const framing = framingOf(reading, method, status, isLatest);
  if (framing === undefined) return undefined;
  let persistent = isLatest;
  if (reading.connection !== undefined) {
    const listed = listTokens(reading.connection);
    persistent = isLatest ? !listed.includes('close') : listed.includes('keep-alive') && !listed.includes('close');
    dropListed(reading.fields, listed);
  }
  if (status === 204) dropListed(reading.fields, ['content-length']);
  return {
    status,
    reasonPhrase: match[3] ?? '',
    fields: reading.fields,
    contentType: reading.contentType,
    framing,
    persistent: persistent && framing !== 'until_close',
    keepAliveMs: reading.keepAlive === undefined ? undefined : keepAliveMs(reading.keepAlive),
  };
}

function readFields(lines: string): Reading {
  const reading = new Reading();
  for (let at = 0; at < lines.length; ) {
    const colon = lines.indexOf(':', at);
    let end = lines.indexOf('\r\n', colon);
    if (end < 0) end = lines.length;
    // The usual `name: value` needs no regular expression.
    const from = lines.charCodeAt(colon + 1) === 0x20 ? colon + 2 : colon + 1;
    let value = lines.slice(from, end);
    if (isPadded(value)) value = value.replace(BLANKS, '');
    reading.take(lines.slice(at + 2, colon), value);
    at = end;
  }
  return reading;
}

function isPadded(value: string): boolean {
  const [first, last] = [value.charCodeAt(0), value.charCodeAt(value.length - 1)];
  return first === 0x20 || first === 0x09 || last === 0x20 || last === 0x09;
}

/** RFC 9112 section 6.3; undefined where a length and a coding contradict each other or cannot be read. */
function framingOf(reading: Reading, method: string, status: number, isLatest: boolean): Framing | undefined {
  const { contentLength, transferEncoding, contradictory } = reading;
  if (contradictory || (contentLength !== undefined && !LENGTH.test(contentLength))) return undefined;
  if (transferEncoding !== undefined) {
    const isChunked = transferEncoding.toLowerCase() === 'chunked';
    // A coding in front of chunked would reach a client that never offered TE (RFC 9110 section 10.1.4).
    if (!isChunked || contentLength !== undefined || !isLatest) return undefined;
  }
  if (status < 200 || status === 204 || status === 304 || method === 'HEAD') return 'none';
  if (transferEncoding !== undefined) return 'chunked';
  if (contentLength === undefined) return 'until_close';
  const length = Number(contentLength);
  return length === 0 ? 'none' : length;
}

function dropListed(fields: string[], listed: readonly string[]): void {
  if (listed.length === 1 && (listed[0] === 'keep-alive' || listed[0] === 'close')) return;
  let to = 0;
  for (let at = 0; at < fields.length; at += 2) {
    if (listed.includes((fields[at] as string).toLowerCase())) continue;
    fields[to] = fields[at] as string;
    fields[to + 1] = fields[at + 1] as string;
    to += 2;
  }
  fields.length = to;
}

function keepAliveMs(value: string): number | undefined {
  const match = /(?:^|[,\s])timeout=(\d{1,6})(?:$|[,\s])/i.exec(value);
  return match === null ? undefined : Number(match[1]) * 1000;
}

/** False as soon as the beginning of a head can no longer become a good one, so that nobody waits for the rest in vain. */
export function mayBecomeHead(text: string): boolean {
  if (!'HTTP/1.'.startsWith(text.slice(0, 7))) return false;
  return !/(?:^|[^\r])\n|\r(?!\n|$)/.test(text);
}
