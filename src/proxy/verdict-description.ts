// Which request a front asks about. nginx (auth_request), Traefik and Caddy describe it in fields, Envoy (ext_authz) sends its own
// path behind a prefix. The description is believed from trusted peers only; anybody else is judged by the request that was
// really sent, which no route matches (attack 43). The answers are verdict.ts's.
import type { Reason } from '../core/reasons.ts';
import { findField } from '../http/headers.ts';
import type { Exchange } from './exchange.ts';

const ABSOLUTE_URL = /^https?:\/\/([^/?#]+)(\/[^#]*)?$/i;
/** As all fronts write methods. A list of two, or one in other letters, is a description that two servers could read differently. */
const METHOD = /^[A-Z][A-Z_-]{0,31}$/;
/** Fields with which fronts describe the request; never part of it. */
const DESCRIPTION = /^x-(?:original-(?:url|uri|method|host)|forwarded-(?:uri|method))$/i;
const BODY_FIELDS = /^(?:content-length|transfer-encoding|expect)$/i;

/** The endpoints below `<reserved_prefix>/verdict/`, one for each way of asking. */
export type VerdictFlavour = 'nginx' | 'forward' | 'envoy';

/** What was described; `host` undefined when the Host that was sent is the described one. */
interface Description {
  readonly method: string;
  readonly target: string;
  readonly host: string | undefined;
}

/** The flavour that a request target asks for; undefined for any other target. Envoy's has the described path behind it. */
export function flavourOf(target: string, reservedPrefix: string): VerdictFlavour | undefined {
  const base = `${reservedPrefix}/verdict/`;
  if (!target.startsWith(base)) return undefined;
  const rest = target.slice(base.length);
  if (rest === 'nginx') return 'nginx';
  // Caddy asks with the query of the request behind it; it stands in X-Forwarded-Uri too.
  if (rest === 'forward' || rest.startsWith('forward?')) return 'forward';
  return rest.startsWith('envoy/') ? 'envoy' : undefined;
}

/**
 * Puts the described request in the place of the sent one. Returns a reason when a trusted peer describes it badly; takes
 * nothing from an untrusted one.
 *
 * A field that the front does not set itself comes through from its client. So none may stand twice (attack 41), what the
 * flavour needs must be there, and two that say the same thing must agree: whoever added one would choose what is judged.
 */
export function describe(exchange: Exchange, flavour: VerdictFlavour): Reason | undefined {
  if (!exchange.peer.trusted) return undefined;
  const description = readers[flavour](exchange);
  if (description === undefined || !METHOD.test(description.method)) return 'forwarded_malformed';
  exchange.rawTarget = description.target;
  exchange.method = description.method;
  exchange.rawFields = describedFields(exchange.rawFields, description.host);
  return undefined;
}

const readers: Readonly<Record<VerdictFlavour, (exchange: Exchange) => Description | undefined>> = {
  nginx({ rawFields }) {
    if (!areSingle(rawFields, ['x-original-url', 'x-original-uri', 'x-original-method'])) return undefined;
    const method = findField(rawFields, 'x-original-method');
    const url = findField(rawFields, 'x-original-url');
    const uri = findField(rawFields, 'x-original-uri');
    const absolute = url === undefined ? undefined : ABSOLUTE_URL.exec(url);
    if (absolute === null) return undefined;
    // A front that describes by the one may let the other through, which names a site of its own.
    const sent = findField(rawFields, 'host')?.toLowerCase();
    if (absolute && uri !== undefined && absolute[1]?.toLowerCase() !== sent) return undefined;
    const fromUrl = absolute && (absolute[2] ?? '/');
    const target = uri ?? fromUrl;
    if (target === undefined || method === undefined || (fromUrl !== undefined && fromUrl !== target)) return undefined;
    return { method, target, host: absolute?.[1] };
  },
  // Traefik asks under the address of the sidecar, so only X-Forwarded-Host says which site is meant.
  forward({ rawFields }) {
    if (!areSingle(rawFields, ['x-forwarded-method', 'x-forwarded-uri', 'x-forwarded-host'])) return undefined;
    const method = findField(rawFields, 'x-forwarded-method');
    const target = findField(rawFields, 'x-forwarded-uri');
    const host = findField(rawFields, 'x-forwarded-host');
    return method === undefined || target === undefined || host === undefined ? undefined : { method, target, host };
  },
  // Method, Host and the other fields are the client's own already.
  envoy({ method, rawTarget, generation }) {
    return { method, target: rawTarget.slice(`${generation.reservedPrefix}/verdict/envoy`.length), host: undefined };
  },
};

function areSingle(raw: readonly string[], names: readonly string[]): boolean {
  const seen = new Set<string>();
  for (let at = 0; at < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase();
    if (seen.has(name) && names.includes(name)) return false;
    seen.add(name);
  }
  return true;
}

function describedFields(raw: readonly string[], host: string | undefined): readonly string[] {
  const described: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] as string;
    if (DESCRIPTION.test(name) || BODY_FIELDS.test(name)) continue;
    const isHost = host !== undefined && name.toLowerCase() === 'host';
    described.push(name, isHost ? host : (raw[at + 1] as string));
  }
  return described;
}
