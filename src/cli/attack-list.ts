// The published attacks that `doorward attack` fires, as a table: number (shared/attack-cases and the names of test/attacks), name,
// what must come of it, and the requests. Those that need a control plane, a clock or many replicas stand in the tests only.
import { type AttackTarget, head, type Shot, withToken } from './attack-target.ts';
import { tokenAttacks } from './attack-tokens.ts';

/** One attack. */
export interface Attack {
  readonly id: number;
  readonly name: string;
  /** `refused`: nothing of it may reach the application. `clean`: it may, without what the attacker wrote. */
  readonly wants: 'refused' | 'clean';
  /** The requests against a target; none where the attack does not apply. */
  readonly shots: (target: AttackTarget) => readonly Shot[];
}

/** What must not arrive at an application. */
export const SPOOFED = 'doorward-attack-spoofed';

/** A GET of each path without a token; none where a token is not needed. */
const paths =
  (of: (path: string, open: string) => readonly string[], needsOpen = true): Attack['shots'] =>
  (target) => {
    const { method, path, open, anonymous } = target;
    if (anonymous || (needsOpen && open === undefined)) return [];
    const base = path === '/' ? '' : path;
    const from = open === undefined || open === '/' ? '' : open;
    return of(base, from).map((one) => ({ what: `${method} ${one}`, bytes: head(target, `${method} ${one}`) }));
  };

/** The target without a token, with fields. */
const fields =
  (...lists: readonly (readonly string[])[]): Attack['shots'] =>
  (target) =>
    target.anonymous
      ? []
      : lists.map((list) => ({
          what: list.join(', ') || 'nothing',
          bytes: head(target, `${target.method} ${target.path}`, list),
        }));

/** A path of the target beneath an open one is dressed up by a field that a proxy might believe. */
const disguised =
  (...names: readonly string[]): Attack['shots'] =>
  (target) =>
    target.anonymous
      ? []
      : names.map((name) => ({
          what: `${name}: ${target.open ?? '/'}`,
          bytes: head(target, `${target.method} ${target.path}`, [`${name}: ${target.open ?? '/'}`]),
        }));

/** With an accepted token, or on an open path: a request that would be forwarded but for its framing, and one behind it. */
const framed =
  (lists: readonly (readonly string[])[], body: string, version?: string): Attack['shots'] =>
  (target) => {
    const { token, open, method } = target;
    if (token === undefined && open === undefined) return [];
    const shown = token === undefined ? {} : target.show(token);
    const path = token === undefined ? open : shown.query === undefined ? target.path : `${target.path}?${shown.query}`;
    const smuggled = head(target, `${method} ${target.path}`);
    const lead = [...(shown.field === undefined ? [] : [shown.field]), 'Connection: keep-alive'];
    return lists.map((list) => ({
      what: list.join(', ').replace(/[\0-\x1f]/g, '·'),
      bytes: `${head(target, `${method} ${path}`, [...lead, ...list], version)}${body}${smuggled}`,
    }));
  };

/** Names that fold to `name` in one program or another. */
const lookAlikes = (name: string) => [name.replaceAll('-', '_'), name.replaceAll('-', '.'), name.toUpperCase(), name];

const spoofing: Attack['shots'] = (target) => {
  if (target.token === undefined) return [];
  const names = target.identityHeaders.flatMap((name) => [...new Set(lookAlikes(name))]);
  return names.map((name) => ({
    what: name,
    bytes: withToken(target, target.token as string, [`${name}: ${SPOOFED}`]),
  }));
};

/** With a good token, so that only the size is wrong; the body is announced and never sent. */
const oversized: Attack['shots'] = (target) => {
  const { token } = target;
  if (token === undefined) return [];
  const beyond = (what: string, field: string) => ({ what, bytes: withToken(target, token, [field]) });
  return [
    beyond('a head of 1 MiB', `X-Fill: ${'a'.repeat(1024 * 1024)}`),
    beyond('a body of 1 TiB', 'Content-Length: 1099511627776'),
  ];
};

const wireAttacks: readonly Attack[] = [
  {
    id: 1,
    name: 'dot segments out of an open path',
    wants: 'refused',
    shots: paths((path, open) => [`${open}/..${path}`, `${open}/./..${path}`, `${open}/..;${path}`, `/.${path}`]),
  },
  {
    id: 2,
    name: 'encoded dot segments and slashes',
    wants: 'refused',
    shots: paths((path, open) => [
      `${open}/%2e%2e${path}`,
      `${open}/.%2e${path}`,
      `${open}/%2E%2E%2F${path.slice(1)}`,
      `${open}/..%2f${path.slice(1)}`,
    ]),
  },
  {
    id: 3,
    name: 'backslashes',
    wants: 'refused',
    shots: paths((path, open) => [`${open}\\..${path}`, `${open}/%2e%2e%5c${path.slice(1)}`]),
  },
  {
    id: 4,
    name: 'double encoding',
    wants: 'refused',
    shots: paths((path, open) => [`${open}/%252e%252e${path}`, `${open}/%25252e%25252e${path}`]),
  },
  { id: 5, name: 'double slashes', wants: 'refused', shots: paths((path) => [`/${path}`, `//${path}`], false) },
  {
    id: 7,
    name: 'absolute form with another authority',
    wants: 'refused',
    shots: paths((path) => [`http://other.invalid${path}`, `http://app@other.invalid${path}`], false),
  },
  {
    id: 8,
    name: 'fragments',
    wants: 'refused',
    shots: paths((path, open) => [`${path}#${open}`, `${path}%23${open}`], false),
  },
  {
    id: 9,
    name: 'an open path in the query',
    wants: 'refused',
    shots: paths((path, open) => [`${path}?x=${open}`, `${path}?${open}`, `${path}?/..${open}`], false),
  },
  {
    id: 10,
    name: 'path parameters',
    wants: 'refused',
    shots: paths((path, open) => [`${path};x=y`, `${open};/..${path}`, `${path}%3b`]),
  },
  {
    id: 11,
    name: 'another spelling of the path',
    wants: 'refused',
    shots: paths(
      (path) => [path.toUpperCase(), `${path}%00`, `${path}%20`, encodedLetter(path), `${path}%c0%af`],
      false,
    ),
  },
  {
    id: 14,
    name: 'Host that is missing, repeated or no host',
    wants: 'refused',
    shots: (target) => [
      ...fields(['Host: a,b'], ['Host: u@a'], ['Host: a/b'], ['Host: a', 'Host: a'])(target),
      ...(target.anonymous
        ? []
        : [
            {
              what: 'no Host',
              bytes: `${target.method} ${target.path} HTTP/1.1\r\nUser-Agent: ${target.agent}\r\n\r\n`,
            },
          ]),
    ],
  },
  {
    id: 15,
    name: 'the method in another spelling, or overridden',
    wants: 'refused',
    shots: (target) =>
      target.anonymous
        ? []
        : [
            ...['get', 'FOO', 'TRACE'].map((method) => ({
              what: method,
              bytes: head(target, `${method} ${target.path}`),
            })),
            ...fields(['X-HTTP-Method-Override: OPTIONS'], ['X_HTTP_Method_Override: OPTIONS'])(target),
          ],
  },
  {
    id: 19,
    name: 'identity headers, and names that fold to them, beside a good token',
    wants: 'clean',
    shots: spoofing,
  },
  {
    id: 25,
    name: 'Authorization or our headers named in Connection',
    wants: 'refused',
    shots: fields(['Connection: authorization'], ['Connection: close, x-auth-subject'], ['Connection: host']),
  },
  {
    id: 27,
    name: 'Authorization that is repeated, empty or of another scheme',
    wants: 'refused',
    shots: fields(
      ['Authorization:'],
      ['Authorization: Bearer'],
      ['Authorization: Basic YTpi'],
      ['Authorization: Bearer a', 'Authorization: Bearer b'],
    ),
  },
  {
    id: 34,
    name: 'an open path in X-Forwarded-Uri and its like',
    wants: 'refused',
    shots: disguised('X-Forwarded-Uri', 'X-Original-URL', 'X-Rewrite-URL', 'X-Original-URI', 'X-Envoy-Original-Path'),
  },
  {
    id: 36,
    name: 'an internal address or name in forwarded fields',
    wants: 'refused',
    shots: fields(
      ['X-Forwarded-For: 127.0.0.1'],
      ['X-Real-IP: 127.0.0.1'],
      ['Forwarded: for=127.0.0.1;proto=https'],
      ['X_Forwarded_For: 127.0.0.1'],
    ),
  },
  {
    id: 44,
    name: 'Content-Length and Transfer-Encoding that disagree',
    wants: 'refused',
    shots: framed(
      [
        ['Content-Length: 5', 'Transfer-Encoding: chunked'],
        ['Transfer-Encoding: chunked, identity'],
        ['Transfer-Encoding: xchunked'],
        ['Transfer-Encoding: \x0bchunked'],
        ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
      ],
      '0\r\n\r\n',
    ),
  },
  {
    id: 45,
    name: 'Content-Length that is no number, or two',
    wants: 'refused',
    shots: framed(
      [
        ['Content-Length: +5'],
        ['Content-Length: 5,5'],
        ['Content-Length: 0x5'],
        ['Content-Length: 5', 'Content-Length: 6'],
      ],
      'hello',
    ),
  },
  {
    id: 46,
    name: 'bare CR or LF, NUL, folded lines',
    wants: 'refused',
    shots: framed([['X: a\rb'], ['X: a\0b'], ['X: a\r\n b'], [': b'], ['X[1]: b'], ['X : b']], ''),
  },
  {
    id: 47,
    name: 'an h2c upgrade, with a request behind it',
    wants: 'refused',
    shots: fields(['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA']),
  },
  {
    id: 49,
    name: 'a WebSocket without a token, or with a bad one in the subprotocol',
    wants: 'refused',
    shots: (target) => {
      const handshake = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
      const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
      const bad = 'Sec-WebSocket-Protocol: doorward.bearer.nonsense';
      return fields([...handshake, key], [...handshake, key, bad])(target);
    },
  },
  {
    id: 50,
    name: 'CONNECT',
    wants: 'refused',
    shots: (target) => [{ what: 'CONNECT', bytes: head(target, 'CONNECT internal.invalid:80') }],
  },
  {
    id: 54,
    name: 'a head and a body beyond any bound, with a good token',
    wants: 'refused',
    shots: oversized,
  },
  {
    id: 76,
    name: 'no token at all',
    wants: 'refused',
    shots: fields([]),
  },
  {
    id: 77,
    name: 'OPTIONS that is no preflight, and GET that says it is one',
    wants: 'refused',
    shots: (target) =>
      target.anonymous
        ? []
        : [
            { what: 'OPTIONS', bytes: head(target, `OPTIONS ${target.path}`) },
            ...fields(['Origin: https://evil.invalid', 'Access-Control-Request-Method: POST'])(target),
          ],
  },
  {
    id: 78,
    name: 'the User-Agent of a health check',
    wants: 'refused',
    shots: fields(['User-Agent: GoogleHC/1.0'], ['User-Agent: kube-probe/1.33'], ['User-Agent: ELB-HealthChecker/2.0']),
  },
];

/** All attacks, by number. */
export const attacks: readonly Attack[] = [...wireAttacks, ...tokenAttacks].sort((a, b) => a.id - b.id);

/** The last letter of a path as %xx. */
function encodedLetter(path: string): string {
  const code = path.charCodeAt(path.length - 1);
  return `${path.slice(0, -1)}%${Number.isNaN(code) ? '2f' : code.toString(16)}`;
}
