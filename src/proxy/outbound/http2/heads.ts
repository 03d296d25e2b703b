// Heads between the two forms: our request from HTTP/1.1 to a header list, the upstream's answer from a header list to what
// forward.ts reads. Pure. RFC 9113 section 8.3.
import { hopByHop } from '../../../http/headers.ts';
import type { ResponseHead } from '../http1/response-head.ts';

const LINE_END = '\r\n';
/** What the head of an HTTP/1.1 connection says and a stream must not. */
const CONNECTION_FIELDS = new Set(['connection', 'transfer-encoding', 'host']);

/** The header list of a request whose head upstream-fields.ts has built. Trailers are always welcome (gRPC needs them). */
export function requestList(head: string, scheme: 'http' | 'https'): string[] {
  const [line = '', ...fields] = head.slice(0, -2 * LINE_END.length).split(LINE_END);
  const [method = '', target = ''] = line.split(' ');
  const list = [':method', method, ':scheme', scheme, ':authority', '', ':path', target];
  for (const field of fields) {
    const colon = field.indexOf(': ');
    const name = field.slice(0, colon).toLowerCase();
    const value = field.slice(colon + 2);
    if (name === 'host') list[5] = value;
    else if (!CONNECTION_FIELDS.has(name)) list.push(name, value);
  }
  list.push('te', 'trailers');
  return list;
}

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const LENGTH = /^\d{1,15}$/;
/** An upstream cannot speak in our name (attack 56). */
const OURS = new Set(['ratelimit', 'ratelimit-policy']);

/** A head, and what its body must come to. */
export interface ReadHead {
  readonly head: ResponseHead;
  /** Value of Content-Length where a body follows. */
  readonly length: number | undefined;
}

/** Reads the header list of an answer; `isWhole`: it ends the stream. Undefined for what HTTP/1.1 could not say. */
export function readHead(list: readonly string[], method: string, isWhole: boolean): ReadHead | undefined {
  const fields: string[] = [];
  let status = 0;
  let contentType = '';
  let contentLength: string | undefined;
  for (let at = 0; at < list.length; at += 2) {
    const name = list[at] as string;
    const value = list[at + 1] as string;
    if (name === ':status') {
      status = Number(value);
      continue;
    }
    if (!NAME.test(name) || !VALUE.test(value)) return undefined;
    if (hopByHop.has(name) || OURS.has(name)) continue;
    if (name === 'content-length') {
      if (contentLength !== undefined || !LENGTH.test(value)) return undefined;
      contentLength = value;
      if (status === 204) continue;
    } else if (name === 'content-type') contentType = value;
    fields.push(name, value);
  }
  if (!(status >= 200 && status <= 599)) return undefined;
  const isBodiless = isWhole || method === 'HEAD' || status === 204 || status === 304;
  // Never a number: the answer is over when its trailers are.
  const framing = isBodiless ? 'none' : 'chunked';
  const head = {
    status,
    reasonPhrase: '',
    fields,
    contentType,
    framing,
    persistent: true,
    keepAliveMs: undefined,
  } as const;
  return { head, length: isBodiless || contentLength === undefined ? undefined : Number(contentLength) };
}

/** Trailers as the client may see them: nothing that belongs to a head, nothing that is ours. */
export function readTrailers(list: readonly string[]): string[] {
  const fields: string[] = [];
  for (let at = 0; at < list.length; at += 2) {
    const name = list[at] as string;
    const value = list[at + 1] as string;
    const isOurs = hopByHop.has(name) || OURS.has(name) || name === 'content-length' || name === 'set-cookie';
    if (!isOurs && NAME.test(name) && VALUE.test(value)) fields.push(name, value);
  }
  return fields;
}
