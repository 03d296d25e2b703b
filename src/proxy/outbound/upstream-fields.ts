// The fields that go upstream: what strip.ts kept, then ours. Clear first, set after (design 4.5, 4.10).
import type { Exchange } from '../exchange.ts';
import type { Route } from '../inbound/route.ts';

/** Flat array of names and values for the upstream. Uses up `exchange.fields.forward`; call it once. */
export function upstreamFields(exchange: Exchange): string[] {
  const { fields, peer, client, token, generation } = exchange;
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
    (peer.trusted ? read.forwardedProto : undefined) ?? 'http',
    'X-Forwarded-Host',
    (peer.trusted ? read.forwardedHost : undefined) ?? exchange.authority,
    'X-Request-Id',
    exchange.requestId,
  );
  if (token === undefined) return out;
  const identity = generation.identity(token);
  for (let at = 0; at < identity.length; at += 1) out.push(identity[at] as string);
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
