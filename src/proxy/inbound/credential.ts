// Where a token may stand (design 4.6): only the sources that the route lists, and only one of them at once. What was read
// is removed before the upstream, so that it reaches no log of the application (RFC 6750 section 5.3).
import type { RouteConfig } from '../../config/schema.ts';
import type { Exchange } from '../exchange.ts';

/** A compiled source. */
export interface CredentialSource {
  readonly name: string;
  /** Browsers send it with whatever any page asks for: see cross-site.ts. */
  readonly sentByBrowser?: true;
  /** The token; undefined when the source is absent, `malformed` when it stands there but cannot be read. */
  read(exchange: Exchange): string | undefined | typeof malformed;
  /** Takes it out of what goes upstream. */
  remove(exchange: Exchange): void;
}

/** A credential field that holds something else than one token. */
export const malformed = Symbol('malformed');

const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;
const WEBSOCKET_PREFIX = 'doorward.bearer.';

/** Compiles one entry of `credentials`; `certificate` is no place in a request (decide/certificate.ts). */
export function credentialSource(source: Exclude<RouteConfig['credentials'][number], 'certificate'>): CredentialSource {
  if (source === 'bearer') return bearer;
  if (source === 'websocket') return websocket;
  if ('header' in source) return fromHeader(source.header.toLowerCase());
  if ('cookie' in source) return fromCookie(source.cookie);
  return fromQuery(source.query);
}

const bearer: CredentialSource = {
  name: 'bearer',
  read({ fields }) {
    const value = fields?.authorization;
    if (value === undefined) return undefined;
    if (value.startsWith('Bearer ') && value.charCodeAt(7) !== 0x20 && !/[\s,]/.test(value.slice(7)))
      return value.slice(7);
    const match = BEARER.exec(value);
    if (match !== null) return match[1] as string;
    // Another scheme is no credential of ours; a comma-joined or broken Bearer is an attempt (attack 27).
    return /^bearer\b/i.test(value) ? malformed : undefined;
  },
  remove() {},
};

function fromHeader(name: string): CredentialSource {
  return {
    name: `header ${name}`,
    read({ rawFields }) {
      let found: string | undefined;
      for (let at = 0; at < rawFields.length; at += 2) {
        if ((rawFields[at] as string).toLowerCase() !== name) continue;
        if (found !== undefined) return malformed;
        found = rawFields[at + 1];
      }
      return found;
    },
    remove({ fields }) {
      if (fields !== undefined) removeFields(fields.forward, (field) => field === name);
    },
  };
}

function fromCookie(name: string): CredentialSource {
  const values = (header: string) =>
    header
      .split(';')
      .map((pair) => pair.trim())
      .filter((pair) => pair.startsWith(`${name}=`))
      .map((pair) => pair.slice(name.length + 1).replace(/^"(.*)"$/, '$1'));
  return {
    name: `cookie ${name}`,
    sentByBrowser: true,
    read({ fields }) {
      if (fields?.cookie === undefined) return undefined;
      const found = values(fields.cookie);
      return found.length > 1 ? malformed : found[0];
    },
    remove({ fields }) {
      if (fields === undefined) return;
      const { forward } = fields;
      for (let at = 0; at < forward.length; at += 2) {
        if ((forward[at] as string).toLowerCase() !== 'cookie') continue;
        const rest = (forward[at + 1] as string).split(';').filter((pair) => !pair.trim().startsWith(`${name}=`));
        forward[at + 1] = rest.join(';').trim();
      }
      for (let at = forward.length - 2; at >= 0; at -= 2) {
        if ((forward[at] as string).toLowerCase() === 'cookie' && forward[at + 1] === '') forward.splice(at, 2);
      }
    },
  };
}

function fromQuery(name: string): CredentialSource {
  const isOurs = (pair: string) => decodedName(pair) === name;
  return {
    name: `query ${name}`,
    read({ query }) {
      if (query === '') return undefined;
      const found = query.slice(1).split('&').filter(isOurs);
      if (found.length === 0) return undefined;
      return found.length > 1 ? malformed : (found[0] as string).slice((found[0] as string).indexOf('=') + 1);
    },
    remove(exchange) {
      const rest = exchange.query
        .slice(1)
        .split('&')
        .filter((pair) => !isOurs(pair));
      exchange.query = rest.length === 0 ? '' : `?${rest.join('&')}`;
    },
  };
}

/** Name of a query pair as a form decoder reads it, so that `access%5Ftoken` is found and removed too. */
function decodedName(pair: string): string {
  const equals = pair.indexOf('=');
  const name = (equals < 0 ? pair : pair.slice(0, equals)).replace(/\+/g, ' ');
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

const websocket: CredentialSource = {
  name: 'websocket',
  read(exchange) {
    const { fields } = exchange;
    if (fields?.websocketProtocol === undefined || !exchange.opensWebSocket) return undefined;
    const found = protocols(fields.websocketProtocol).filter((protocol) => protocol.startsWith(WEBSOCKET_PREFIX));
    if (found.length === 0) return undefined;
    return found.length > 1 ? malformed : (found[0] as string).slice(WEBSOCKET_PREFIX.length);
  },
  remove({ fields }) {
    if (fields?.websocketProtocol === undefined) return;
    const rest = protocols(fields.websocketProtocol).filter((protocol) => !protocol.startsWith(WEBSOCKET_PREFIX));
    removeFields(fields.forward, (field) => field === 'sec-websocket-protocol');
    if (rest.length > 0) fields.forward.push('Sec-WebSocket-Protocol', rest.join(', '));
  },
};

const protocols = (value: string) => value.split(',').map((protocol) => protocol.trim());

function removeFields(forward: string[], matches: (lowerName: string) => boolean): void {
  for (let at = forward.length - 2; at >= 0; at -= 2) {
    if (matches((forward[at] as string).toLowerCase())) forward.splice(at, 2);
  }
}
