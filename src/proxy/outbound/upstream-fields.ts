// The fields that go upstream: what strip.ts kept, then ours. Clear first, set after (design 4.5, 4.10).
import type { Exchange } from '../exchange.ts';
import type { Route } from '../inbound/route.ts';

/** Flat array of names and values for the upstream. Uses up `exchange.fields.forward`; call it once. */
export function upstreamFields(exchange: Exchange): string[] {
  const { token, generation } = exchange;
  const out = withoutIdentity(exchange);
  return token === undefined ? out : out.concat(generation.identity(token).fields);
}

/**
 * The head of the request to the upstream, with its empty line. Every part has passed node's parser or comes from us, so none
 * holds a line break. Uses up `exchange.fields.forward`; call it once.
 */
export function upstreamHead(exchange: Exchange): string {
  const fields = withoutIdentity(exchange);
  // Read only now: a token in the query has been taken out of it.
  const { method, path, query, token, generation } = exchange;
  let head = `${method} ${path}${query} HTTP/1.1\r\n`;
  for (let at = 0; at < fields.length; at += 2) head += `${fields[at]}: ${fields[at + 1]}\r\n`;
  if (token !== undefined) head += generation.identity(token).lines;
  if (exchange.fields?.transferEncoding !== undefined) head += 'Transfer-Encoding: chunked\r\n';
  return `${head}Connection: keep-alive\r\n\r\n`;
}

function withoutIdentity(exchange: Exchange): string[] {
  const { fields, peer, client, generation } = exchange;
  const route = exchange.route as Route;
  const read = fields as NonNullable<typeof fields>;
  const source = exchange.credentialSource < 0 ? undefined : route.sources[exchange.credentialSource];
  if (source !== undefined && !route.forwardToken) source.remove(exchange);
  const out = read.forward;
  out.push('Host', route.upstream.hostFor(exchange.authority));
  if (read.contentLength !== undefined) out.push('Content-Length', read.contentLength);
  if (read.authorization !== undefined && passesAuthorization(route, source?.name)) {
    out.push('Authorization', read.authorization);
  }
  const chain =
    peer.trusted && read.forwardedFor.length > 0 ? `${read.forwardedFor.join(', ')}, ${peer.address}` : peer.address;
  const chainStart = peer.trusted && generation.readsForwarded ? client.address : chain;
  out.push(
    'X-Forwarded-For',
    chainStart,
    'X-Forwarded-Proto',
    (peer.trusted ? read.forwardedProto : undefined) ?? generation.scheme,
    'X-Forwarded-Host',
    (peer.trusted ? read.forwardedHost : undefined) ?? exchange.authority,
    'X-Request-Id',
    exchange.requestId,
  );
  if (exchange.traceparent !== undefined) {
    out.push('traceparent', exchange.traceparent);
    if (read.tracestate !== undefined) out.push('tracestate', read.tracestate);
  }
  return out;
}

/**
 * The Authorization field goes upstream where we do not look at it (`auth: none`, or routes that take tokens from elsewhere),
 * and with `forward_token`. Never when it was our credential otherwise.
 */
function passesAuthorization(route: Route, source: string | undefined): boolean {
  if (route.auth === 'none') return true;
  if (source === 'bearer') return route.forwardToken;
  return !route.sources.some(({ name }) => name === 'bearer');
}

/** Whether the Authorization field was our credential, or might have been, and so does not go on. */
export function endsAuthorization({ fields, route, credentialSource }: Exchange): boolean {
  if (fields?.authorization === undefined || route === undefined) return false;
  return !passesAuthorization(route, credentialSource < 0 ? undefined : route.sources[credentialSource]?.name);
}
