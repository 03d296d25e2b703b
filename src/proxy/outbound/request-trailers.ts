// Which trailers of a request go on to an HTTP/2 upstream. They come when everything has been decided, and there are servers that
// put them among the fields of the head: so nothing passes that could be judged, routed or believed there (attack 26). HTTP/1.1
// upstreams are never sent any. RFC 9110 section 6.5.1.
import { foldName, listTokens } from '../../http/headers.ts';
import type { Exchange } from '../exchange.ts';

/** Framing, routing, controls, conditions, credentials and the form of the content; names folded. */
const HEAD_ONLY = new Set([
  'age',
  'authorization',
  'baggage',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'expect',
  'from',
  'host',
  'max-forwards',
  'origin',
  'pragma',
  'range',
  'referer',
  'set-cookie',
  'traceparent',
  'tracestate',
  'user-agent',
  'via',
]);
const HEAD_ONLY_PREFIXES = ['accept', 'access-control-', 'if-', 'proxy-', 'sec-'];

/** Names in lower case, and values, in turn. */
export function passableTrailers(exchange: Exchange): string[] {
  const { request, rawFields, generation, fields, route } = exchange;
  const inHead = new Set(listTokens(fields?.connection ?? '').map(foldName));
  // A second value beside the one that was judged.
  for (let at = 0; at < rawFields.length; at += 2) inHead.add(foldName(rawFields[at] as string));
  const isCredential = (folded: string) => route?.sources.some(({ name }) => foldName(name) === `header-${folded}`);
  // What a head may not say, a trailer may not either.
  const { forward } = generation.readFields(request.rawTrailers);
  const passed: string[] = [];
  for (let at = 0; at < forward.length; at += 2) {
    const name = forward[at] as string;
    const folded = foldName(name);
    if (HEAD_ONLY.has(folded) || HEAD_ONLY_PREFIXES.some((prefix) => folded.startsWith(prefix))) continue;
    if (!inHead.has(folded) && !isCredential(folded)) passed.push(name.toLowerCase(), forward[at + 1] as string);
  }
  return passed;
}
