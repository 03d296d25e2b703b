// One reading of the request target, made once: the same bytes serve routing, limits, logs and the upstream (design 4.2).
// Owns paths and authorities; which oddities a route tolerates is decided in proxy/inbound/route.ts.
// RFC 3986 section 3.3, RFC 9112 section 3.2.

/** Oddities that some applications need; bits of {@link Target.oddities}. */
export const oddity = { encodedSlash: 1, doubleSlash: 2, doubleEncoding: 4 } as const;

/** A request target in its only accepted reading. */
export interface Target {
  /** Begins with `/`; byte for byte as sent. */
  readonly path: string;
  /** With its `?`, byte for byte as sent; empty without one. */
  readonly query: string;
  /** Authority of an absolute-form target, as sent. */
  readonly authority: string | undefined;
  /** Bits of {@link oddity} that the path shows. */
  readonly oddities: number;
  /** True when a lenient server could read the path as another one: see {@link otherReadings}. */
  readonly ambiguous: boolean;
}

const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;
// What never stands in a path: controls, space, DEL, non-ASCII, backslash, fragment, and quotes or brackets that RFC 3986
// wants encoded but that harm nobody are left alone.
const PATH_REFUSED = /[^\x21-\x7e]|[\\#]/;
const QUERY_REFUSED = /[\x00-\x20\x7f#]/;
const BAD_PERCENT = /%(?![0-9A-Fa-f]{2})/;
// NUL, backslash, and overlong UTF-8: lenient decoders read %c0%ae as a dot and %c0%af as a slash.
const REFUSED_ENCODED = /%(?:00|5c|c[01]%[89ab]|e0%[89]|f0%8)/i;
// A dot segment, raw or encoded, also before path parameters: Tomcat reads `..;x` as `..`.
const DOT_SEGMENT = /(?:^|\/|%2f)(?:\.|%2e){1,2}(?=$|\/|%2f|;|%3b)/i;
const ENCODED_SLASH = /%2f/i;
const DOUBLE_ENCODED = /%25[0-9A-Fa-f]{2}/;
const PLAIN = /^(?:\/[a-z0-9_~-]+(?:\.[a-z0-9_~-]+)*)+\/?$/;

/** Reads a request target; undefined when it must be refused outright (`path_malformed`). */
export function readTarget(target: string): Target | undefined {
  let rest = target;
  let authority: string | undefined;
  if (rest.charCodeAt(0) !== 0x2f) {
    const absolute = ABSOLUTE.exec(rest);
    if (absolute === null) return undefined;
    authority = absolute[1] as string;
    rest = absolute[2] as string;
    if (rest.charCodeAt(0) !== 0x2f) rest = `/${rest}`;
  }
  const mark = rest.indexOf('?');
  const path = mark < 0 ? rest : rest.slice(0, mark);
  const query = mark < 0 ? '' : rest.slice(mark);
  if (query !== '' && QUERY_REFUSED.test(query)) return undefined;
  if (path === '/' || PLAIN.test(path)) return { path, query, authority, oddities: 0, ambiguous: false };
  if (isRefusedPath(path)) return undefined;
  return { path, query, authority, oddities: odditiesOf(path), ambiguous: true };
}

function isRefusedPath(path: string): boolean {
  if (PATH_REFUSED.test(path) || DOT_SEGMENT.test(path)) return true;
  return path.includes('%') && (BAD_PERCENT.test(path) || REFUSED_ENCODED.test(path));
}

function odditiesOf(path: string): number {
  let found = path.includes('//') ? oddity.doubleSlash : 0;
  if (!path.includes('%')) return found;
  if (ENCODED_SLASH.test(path)) found |= oddity.encodedSlash;
  if (DOUBLE_ENCODED.test(path)) found |= oddity.doubleEncoding;
  return found;
}

/** Paths that lenient servers would see. */
export interface Readings {
  /** In the case in which they were sent; the path as it was sent is not among them. */
  readonly kept: readonly string[];
  /** In lower case, for servers to which all cases are one; without trailing dots and blanks of segments. */
  readonly folded: readonly string[];
}

/** {@link readingsOf} as one list, without the path as it was sent. */
export function otherReadings(path: string): readonly string[] | undefined {
  const readings = readingsOf(path);
  return readings && [...new Set([...readings.kept, ...readings.folded])].filter((reading) => reading !== path);
}

/**
 * The paths that servers known to be lenient would see: percent-decoded (repeatedly), parameters cut, slashes merged, case
 * folded, trailing dots and blanks of a segment dropped. Each must lead to a route with the same policy, or the request
 * would be judged by one rule and served under another. Undefined when some reading holds a dot segment.
 */
export function readingsOf(path: string): Readings | undefined {
  const [kept, inLowerCase] = [new Set<string>(), new Set<string>()];
  let decoded = path;
  for (let round = 0; round < 4; round += 1) {
    const withoutParameters = decoded.replace(/;[^/]*/g, '');
    // Who decodes before splitting takes an encoded # or ? for the end of the path (attack 8).
    const cut = decoded.replace(/[?#].*$/s, '');
    for (const reading of [decoded, withoutParameters, cut]) {
      // `..%3f` is a dot segment once the rest is cut, `..%20` once trailing blanks are dropped.
      if (DOT_SEGMENT.test(reading.replace(/ +(?=\/|$)/g, ''))) return undefined;
      const merged = reading.replace(/\/{2,}/g, '/');
      const folded = merged.toLowerCase().replace(/[. ]+(?=\/|$)/g, '');
      for (const variant of [reading, merged]) kept.add(variant === '' ? '/' : variant);
      inLowerCase.add(folded === '' ? '/' : folded);
    }
    const next = decodeOnce(decoded);
    if (next === decoded) break;
    if (isRefusedPath(next.replace(/[^\x21-\x7e]|#/g, '_').replace(BAD_PERCENT, '_'))) return undefined;
    decoded = next;
  }
  kept.delete(path);
  return { kept: [...kept], folded: [...inLowerCase] };
}

function decodeOnce(path: string): string {
  return path.replace(/%([0-9A-Fa-f]{2})/g, (_whole, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

const AUTHORITY = /^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}))(?::(\d{1,5}))?$/;

/**
 * Host name of an authority in lower case, without port and without the root dot; undefined when malformed. Strict on
 * purpose: `a,b`, `a;b`, `user@host` and empty names are how one proxy is made to see another host than the next.
 */
export function hostName(authority: string): string | undefined {
  const match = AUTHORITY.exec(authority);
  if (match === null) return undefined;
  if (match[2] !== undefined && Number(match[2]) > 65_535) return undefined;
  const name = (match[1] as string).toLowerCase();
  if (name.includes('..')) return undefined;
  return name.endsWith('.') && name.length > 1 ? name.slice(0, -1) : name;
}
