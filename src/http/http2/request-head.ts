// An HTTP/2 request put into the words of HTTP/1.1, once, at the door: everything behind it judges one kind of request, and what
// goes to an HTTP/1.1 upstream has already been read as that. Pure. nghttp2 has refused what breaks the protocol before: names
// in upper case, connection fields, missing or repeated pseudo-fields; it drops fields whose name or value is malformed, as
// if the client had not sent them. RFC 9113 sections 8.2 and 8.3; what is said twice is refused again here.
import { METHODS } from 'node:http';
import type { Reason } from '../../core/reasons.ts';

/** A request head as node's HTTP/1.1 parser would have read it. */
export interface RequestHead {
  readonly method: string;
  readonly target: string;
  /** Names and values in turn. */
  readonly fields: string[];
  readonly expectsContinue: boolean;
}

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
/** No control but tab, and no blank at either end: CR, LF and NUL would end a line of HTTP/1.1 (RFC 9113 section 8.2.1). */
const VALUE = /^(?![\t ])[\t\x20-\x7e\x80-\xff]*(?<![\t ])$/;
/** A closed list, as for HTTP/1.1: `post` is POST to many an application, and `PRI` the end of a connection to it. */
const KNOWN_METHODS: ReadonlySet<string> = new Set(METHODS);
const CONNECTION_FIELDS = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

interface Pseudo {
  ':method': string;
  ':scheme': string;
  ':path': string;
  ':authority': string;
}

/** How a header list came. */
export interface Circumstances {
  /** The list does not end the stream. */
  readonly hasBody: boolean;
  /** It came over TLS. */
  readonly secure: boolean;
  /** Most bytes that the head may have when written as HTTP/1.1. */
  readonly headerBytes: number;
}

/** What HTTP/1.1 writes around a field: `: ` and the end of the line. */
const FIELD_OVERHEAD = 4;

/** What a list of names and values takes when written as HTTP/1.1. */
export function headBytes(list: readonly string[]): number {
  let bytes = 0;
  for (const text of list) bytes += text.length + FIELD_OVERHEAD / 2;
  return bytes;
}

/** A name in lower case and a value that can stand in a line of HTTP/1.1. */
export const isField = (name: string, value: string): boolean => NAME.test(name) && VALUE.test(value);

/** Reads a header list: names and values in turn, pseudo-fields first. A reason where it must be refused. */
export function readRequestHead(
  list: readonly string[],
  { hasBody, secure, headerBytes }: Circumstances,
): RequestHead | Reason {
  if (headBytes(list) > headerBytes) return 'headers_too_large';
  const pseudo: Partial<Pseudo> = {};
  const fields: string[] = [];
  let host: string | undefined;
  let cookie: string | undefined;
  let expect: string | undefined;
  let hasLength = false;
  for (let at = 0; at < list.length; at += 2) {
    const name = list[at] as string;
    const value = list[at + 1] as string;
    if (name.charCodeAt(0) === 0x3a) {
      if (fields.length > 0 || !takePseudo(pseudo, name, value)) return 'request_malformed';
      continue;
    }
    if (!isField(name, value) || CONNECTION_FIELDS.has(name)) return 'request_malformed';
    if (name === 'te' && value !== 'trailers') return 'request_malformed';
    if (name === 'host') {
      if (host !== undefined) return 'host_malformed';
      host = value;
    } else if (name === 'cookie') cookie = cookie === undefined ? value : `${cookie}; ${value}`;
    else {
      if (name === 'expect') expect = value;
      if (name === 'content-length') hasLength = true;
      fields.push(name, value);
    }
  }
  const refused = refusalOf(pseudo, secure, expect);
  if (refused !== undefined) return refused;
  const authority = pseudo[':authority'];
  // Two names for one request: one would choose the route, the other what the application sees.
  if (authority !== undefined && host !== undefined && authority.toLowerCase() !== host.toLowerCase())
    return 'host_malformed';
  if (cookie !== undefined) fields.push('cookie', cookie);
  const named = authority ?? host;
  if (named !== undefined) fields.push('host', named);
  // What a body without a length is called in HTTP/1.1.
  if (hasBody && !hasLength) fields.push('transfer-encoding', 'chunked');
  const { ':method': method, ':path': target } = pseudo as Pseudo;
  return { method, target, fields, expectsContinue: expect !== undefined };
}

function takePseudo(pseudo: Partial<Pseudo>, name: string, value: string): boolean {
  if (name !== ':method' && name !== ':scheme' && name !== ':path' && name !== ':authority') return false;
  if (pseudo[name] !== undefined) return false;
  pseudo[name] = value;
  return true;
}

function refusalOf(pseudo: Partial<Pseudo>, secure: boolean, expect: string | undefined): Reason | undefined {
  const { ':method': method, ':scheme': scheme, ':path': path } = pseudo;
  if (method === 'CONNECT') return 'connect_unsupported';
  if (method === undefined || path === undefined || !KNOWN_METHODS.has(method)) return 'request_malformed';
  // Without TLS here it may have ended before us, and either scheme be true.
  if (scheme !== 'https' && (secure || scheme !== 'http')) return 'request_malformed';
  // An absolute URL here would be a second authority.
  if (path.charCodeAt(0) !== 0x2f) return 'path_malformed';
  return expect === undefined || expect.toLowerCase() === '100-continue' ? undefined : 'expectation_failed';
}
