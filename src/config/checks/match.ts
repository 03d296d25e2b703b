// Paths, hosts and methods of routes. Requests are matched in canonical form, so a route in any other form would never
// match, and its policy never hold.
import type { Path } from '../places.ts';
import type { RouteConfig } from '../schema.ts';
import { type CheckContext, refuse, refuseRepeated } from './context.ts';
import { isHost } from './hosts.ts';

type Match = RouteConfig['match'];

/** Checks one `match` block. */
export function checkMatch(context: CheckContext, path: Path, match: Match): void {
  if ((match.prefix === undefined) === (match.path === undefined)) {
    context.problem(
      path,
      match.path === undefined ? 'needs prefix or path' : 'has both prefix and path; needs one of them',
    );
  }
  for (const kind of ['prefix', 'path'] as const) {
    const text = match[kind];
    if (text === undefined) continue;
    refuse(context, [...path, kind], pathProblem(text, kind) ?? reservedProblem(context, text));
    if (/\/\(/.test(text)) context.warn([...path, kind], 'holds parentheses, which stand for themselves');
  }
  for (const [index, host] of (match.hosts ?? []).entries())
    refuse(context, [...path, 'hosts', index], hostProblem(host));
  refuseRepeated(
    context,
    (match.hosts ?? []).map((host) => host.toLowerCase()),
    [...path, 'hosts'],
    'the host',
  );
  for (const [index, method] of (match.methods ?? []).entries()) {
    if (/^(CONNECT|TRACE)$/.test(method)) context.problem([...path, 'methods', index], `${method} is never served`);
  }
  refuseRepeated(context, match.methods ?? [], [...path, 'methods'], 'the method');
}

const SEGMENT = /^[A-Za-z0-9._~!$&'()*+,;=:@-]*$/;
const TEMPLATE = /^\{[a-z][a-z0-9_]*\}$/;

/**
 * What other proxies and routers read as a pattern. Taken as written, it matches nothing that is ever asked for, and what it was
 * to protect goes to a looser route without a word. `*` is refused anywhere: whoever serves a path with one has {name}.
 */
const FOREIGN: readonly (readonly [RegExp, string])[] = [
  [/\*/, '* stands for nothing in a path: use prefix for everything below, or {name} in path for one segment'],
  [/\.\+|\$$/, 'is no regular expression: use prefix for everything below, path for exactly one path'],
  [/\/:[A-Za-z_]/, ':name stands for nothing in a path: write {name}'],
];

/** Why a route path is not canonical, or reads like a pattern of somebody else's; undefined for a good one. */
export function pathProblem(text: string, kind: 'prefix' | 'path'): string | undefined {
  if (!text.startsWith('/')) return 'needs to start with /';
  const foreign = FOREIGN.find(([notation]) => notation.test(text));
  if (foreign) return foreign[1];
  if (text.includes('//')) return 'must not hold //';
  if (/[?#]/.test(text)) return 'must not hold a query or fragment';
  if (text.includes('%')) return 'must not hold %';
  const segments = text.slice(1).split('/');
  if (segments.some((segment) => segment === '.' || segment === '..')) return 'must not hold dot segments';
  const names = segments.filter((segment) => TEMPLATE.test(segment));
  if (names.length > 0 && kind === 'prefix') return 'must not hold {name}; only path may';
  if (new Set(names).size < names.length) return 'has the same {name} twice';
  if (segments.every((segment) => TEMPLATE.test(segment) || SEGMENT.test(segment))) return undefined;
  return /[{}]/.test(text)
    ? '{name} needs to be a whole segment of a-z, 0-9 and _'
    : 'holds a character that no path has';
}

function reservedProblem(context: CheckContext, text: string): string | undefined {
  const { reserved_prefix: reserved } = context.config.proxy;
  return text === reserved || text.startsWith(`${reserved}/`)
    ? `is below proxy.reserved_prefix (${reserved})`
    : undefined;
}

function hostProblem(host: string): string | undefined {
  const name = host.startsWith('*.') ? host.slice(2) : host;
  if (/:\d*$/.test(host) && !host.endsWith(']')) return 'must not have a port';
  return isHost(name) ? undefined : 'needs a host name such as app.example.com or *.example.com';
}

/** Refuses routes that match the same requests: which policy holds would be chance. */
export function refuseSameMatches(context: CheckContext): void {
  const routes = Object.entries(context.config.routes);
  routes.forEach(([name, route], index) => {
    const other = routes.slice(0, index).find(([, earlier]) => sameMatch(earlier.match, route.match));
    if (other) context.problem(['routes', name, 'match'], `matches the same requests as routes.${other[0]}`);
  });
}

function sameMatch(a: Match, b: Match): boolean {
  return placeOf(a) === placeOf(b) && overlap(hostsOf(a), hostsOf(b)) && overlapOfMethods(a, b);
}

function placeOf({ prefix, path }: Match): string {
  if (path !== undefined) return `path ${path.replace(/\{[^}/]*\}/g, '{}')}`;
  return `prefix ${(prefix ?? '').replace(/(.)\/$/, '$1')}`;
}

const hostsOf = (match: Match): readonly string[] => match.hosts?.map((host) => host.toLowerCase()) ?? ['any host'];
const overlap = (a: readonly string[], b: readonly string[]): boolean => a.some((one) => b.includes(one));

function overlapOfMethods(a: Match, b: Match): boolean {
  if (!a.methods || !b.methods) return true;
  const all = (methods: readonly string[]) => (methods.includes('GET') ? [...methods, 'HEAD'] : methods);
  return overlap(all(a.methods), all(b.methods));
}
