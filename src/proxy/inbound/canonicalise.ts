// Step 2 and 3 of the request path: one reading of target, Host and framing, and who is calling. Everything refused here
// is refused for every route; oddities that a route may tolerate are left to the route stage.
import { hostName, readTarget } from '../../http/canonical.ts';
import { listTokens } from '../../http/headers.ts';
import type { Exchange } from '../exchange.ts';
import type { StageResult } from '../stage.ts';
import type { InboundFields } from './strip.ts';

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;
const WEBSOCKET_KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;
const PROTO = /^(?:https?|wss?)$/;
const MAX_HOSTS = 1000;
const hosts = new Map<string, string>();

/** Reads fields, target, Host and framing. */
export function canonicalise(exchange: Exchange): StageResult {
  const fields = exchange.generation.readFields(exchange.rawFields);
  exchange.fields = fields;
  if (exchange.peer.trusted && fields.requestId !== undefined && REQUEST_ID.test(fields.requestId)) {
    exchange.requestId = fields.requestId;
  }
  const target = readTarget(exchange.rawTarget);
  if (target === undefined) return 'path_malformed';
  exchange.path = target.path;
  exchange.query = target.query;
  exchange.oddities = target.oddities;
  exchange.ambiguous = target.ambiguous;
  if (fields.repeated !== undefined) return repeatedField(fields.repeated);
  const host = fields.host === undefined ? undefined : cachedHostName(fields.host);
  if (host === undefined) return 'host_malformed';
  if (target.authority !== undefined && !isSameOrigin(exchange, target.authority, fields.host as string))
    return 'host_malformed';
  if (exchange.secure?.isMisdirected(host)) return 'host_misdirected';
  exchange.host = host;
  exchange.authority = fields.host as string;
  if (exchange.method === 'TRACE') return methodRefused(exchange);
  if (!isFramingSound(exchange, fields)) return 'request_malformed';
  return exchange.kind === 'websocket' ? checkHandshake(exchange, fields) : undefined;
}

/** Finds the client address behind trusted proxies (design 4.3). */
export function findClient(exchange: Exchange): StageResult {
  const { peer, fields, generation } = exchange;
  if (!peer.trusted || fields === undefined) {
    generation.noteUntrustedForwarding(exchange);
    return undefined;
  }
  if (fields.repeatedForwarded) return 'forwarded_malformed';
  if (fields.forwardedProto !== undefined && !PROTO.test(fields.forwardedProto)) return 'forwarded_malformed';
  if (fields.forwardedHost !== undefined && hostName(fields.forwardedHost) === undefined) return 'forwarded_malformed';
  exchange.client = generation.addresses.behind(
    peer,
    generation.readsForwarded ? fields.forwarded : fields.forwardedFor,
  );
  return undefined;
}

function repeatedField(name: string): StageResult {
  const lower = name.toLowerCase();
  if (lower === 'host') return 'host_malformed';
  return lower === 'authorization' ? 'credential_ambiguous' : 'header_malformed';
}

function methodRefused(exchange: Exchange): StageResult {
  exchange.details = { allow: 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS' };
  return 'method_not_allowed';
}

/** Host names repeat; remembering the reading of the last thousand saves the regular expression. */
function cachedHostName(authority: string): string | undefined {
  const known = hosts.get(authority);
  if (known !== undefined) return known;
  const name = hostName(authority);
  if (name === undefined) return undefined;
  if (hosts.size >= MAX_HOSTS) hosts.clear();
  hosts.set(authority, name);
  return name;
}

/**
 * Whether an absolute-form target names what Host names (attack 7). Over TLS it must say https; without, TLS may have ended
 * before us and either scheme be true.
 */
function isSameOrigin({ rawTarget, generation }: Exchange, authority: string, host: string): boolean {
  const isHttps = rawTarget.slice(0, 6).toLowerCase() === 'https:';
  if (generation.scheme === 'https' && !isHttps) return false;
  const port = isHttps ? HTTPS_PORT : HTTP_PORT;
  return authority.toLowerCase().replace(port, '') === host.toLowerCase().replace(port, '');
}

const HTTP_PORT = /\.?(?::80)?$/;
const HTTPS_PORT = /\.?(?::443)?$/;

/** Framing that the parser let pass but that two servers could read differently (attacks 44, 45; RFC 9112 6.1). */
function isFramingSound(exchange: Exchange, fields: InboundFields): boolean {
  const { contentLength, transferEncoding } = fields;
  if (contentLength !== undefined && !/^\d{1,15}$/.test(contentLength)) return false;
  if (transferEncoding === undefined) return true;
  return (
    transferEncoding.toLowerCase() === 'chunked' &&
    contentLength === undefined &&
    exchange.request.httpVersion !== '1.0'
  );
}

/** RFC 6455 section 4.2.1: anything else must not open a tunnel (attack 48). */
function checkHandshake(exchange: Exchange, fields: InboundFields): StageResult {
  const { rawFields, request, method } = exchange;
  let key: string | undefined;
  let version: string | undefined;
  for (let at = 0; at < rawFields.length; at += 2) {
    const name = (rawFields[at] as string).toLowerCase();
    if (name === 'sec-websocket-key') key = key === undefined ? rawFields[at + 1] : '';
    if (name === 'sec-websocket-version') version = version === undefined ? rawFields[at + 1] : '';
  }
  const sound =
    method === 'GET' &&
    request.httpVersion === '1.1' &&
    version === '13' &&
    key !== undefined &&
    WEBSOCKET_KEY.test(key) &&
    listTokens(fields.connection ?? '').includes('upgrade') &&
    fields.transferEncoding === undefined &&
    (fields.contentLength ?? '0') === '0';
  return sound ? undefined : 'websocket_malformed';
}
