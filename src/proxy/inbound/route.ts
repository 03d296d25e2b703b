// Which route a request takes: host, then exact path or template, then longest prefix, then method (design 4.4). The table
// is built when the configuration loads; looking up never throws and never falls to a looser route.
import type { RouteConfig } from '../../config/schema.ts';
import { oddity, readingsOf } from '../../http/canonical.ts';
import type { LimitPlan } from '../../limits/plan.ts';
import type { Requirement } from '../decide/authorize.ts';
import type { Upstream } from '../outbound/upstream.ts';
import type { CredentialSource } from './credential.ts';

/** A route, compiled. */
export interface Route {
  readonly name: string;
  readonly config: RouteConfig;
  readonly upstream: Upstream;
  readonly auth: 'required' | 'optional' | 'none';
  /** Names of the issuer blocks accepted here. */
  readonly issuers: readonly string[];
  readonly sources: readonly CredentialSource[];
  /** The client certificate counts where none of them holds a token. */
  readonly byCertificate: boolean;
  readonly requirement: Requirement | undefined;
  readonly limits: LimitPlan;
  /** Bits of `oddity` that the route tolerates. */
  readonly relax: number;
  readonly shadow: boolean;
  readonly forwardToken: boolean;
  readonly stream: boolean;
  readonly origins: ReadonlySet<string> | undefined;
  readonly bodyBytes: number;
  readonly bodyTimeoutMs: number;
  readonly responseTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** Everything about the route that decides who gets what; equal text, equal policy. */
  readonly policy: string;
}

/** What host and path chose: the routes by method. */
export interface RouteEntry {
  readonly byMethod: ReadonlyMap<string, Route>;
  readonly anyMethod: Route | undefined;
  /** Undefined for one path or template. */
  readonly prefix: string | undefined;
  /** For 405. */
  readonly allow: string;
}

interface HostGroup {
  readonly exact: Map<string, RouteEntry>;
  readonly templates: { readonly segments: readonly string[]; readonly entry: RouteEntry }[];
  /** Longest first; `/` last. */
  readonly prefixes: { readonly prefix: string; readonly entry: RouteEntry }[];
}

/** The compiled table. */
export interface RouteTable {
  /** The entry that host and path choose; undefined is 404. */
  find(host: string, path: string): RouteEntry | undefined;
  /** The same for an application to which all cases are one; `path` is in lower case. */
  findFolded(host: string, path: string): RouteEntry | undefined;
  /** The path of some route has a capital letter: only then other cases of plain paths can lead elsewhere. */
  readonly hasCapitals: boolean;
  /** Some route is one path with a slash at its end. */
  readonly hasSlashes: boolean;
  readonly routes: readonly Route[];
}

/** The route of an entry that serves `method`; undefined is 405. GET includes HEAD. */
export function routeFor(entry: RouteEntry, method: string): Route | undefined {
  return entry.byMethod.get(method) ?? (method === 'HEAD' ? entry.byMethod.get('GET') : undefined) ?? entry.anyMethod;
}

const MATCH_ANY_HOST = '*';

/** Builds the table. Two routes that match the same are refused by config/validate.ts before. */
export function routeTable(routes: readonly Route[]): RouteTable {
  const find = finder(routes, (match) => match);
  const hasCapitals = routes.some(({ config: { match } }) => folded(match) !== match);
  const findFolded = hasCapitals ? finder(routes, folded) : find;
  const hasSlashes = routes.some(({ config: { match } }) => /.\/$/.test(match.path ?? ''));
  return { routes, find, findFolded, hasCapitals, hasSlashes };
}

type Match = RouteConfig['match'];

function folded(match: Match): Match {
  const { path, prefix } = match;
  if (!/[A-Z]/.test(path ?? prefix ?? '')) return match;
  return { ...match, path: path?.toLowerCase(), prefix: prefix?.toLowerCase() };
}

/** Where several cases of a path have routes of their own, the one in lower case is what a request in lower case means. */
function asWritten(sharing: readonly Route[], spelled: Spelling): readonly Route[] {
  const written = sharing.filter(({ config: { match } }) => spelled(match) === match);
  return written.length > 0 ? written : sharing;
}

type Spelling = (match: Match) => Match;

function finder(routes: readonly Route[], spelled: Spelling): RouteTable['find'] {
  const exactHosts = new Map<string, HostGroup>();
  const wildcardHosts = new Map<string, HostGroup>();
  const anyHost = groupFor(routes, MATCH_ANY_HOST, spelled);
  for (const host of new Set(routes.flatMap((route) => route.config.match.hosts ?? []))) {
    const name = host.toLowerCase();
    const group = groupFor(routes, host, spelled);
    if (name.startsWith('*.')) wildcardHosts.set(name.slice(2), group);
    else exactHosts.set(name, group);
  }
  const onlyAnyHost = exactHosts.size === 0 && wildcardHosts.size === 0;
  return (host, path) => {
    if (onlyAnyHost) return findInGroup(anyHost, path);
    const exact = exactHosts.get(host);
    const wildcard = wildcardHosts.get(host.slice(host.indexOf('.') + 1));
    return (
      (exact && findInGroup(exact, path)) ??
      (wildcard && host.includes('.') ? findInGroup(wildcard, path) : undefined) ??
      findInGroup(anyHost, path)
    );
  };
}

function groupFor(routes: readonly Route[], host: string, spelled: Spelling): HostGroup {
  const mine = routes.filter((route) => (route.config.match.hosts ?? [MATCH_ANY_HOST]).includes(host));
  const byPattern = Map.groupBy(mine, ({ config }) => {
    const { path, prefix } = spelled(config.match);
    return path ?? `${prefix} `;
  });
  const group: HostGroup = { exact: new Map(), templates: [], prefixes: [] };
  for (const sharing of byPattern.values()) {
    const { path, prefix } = spelled((sharing[0] as Route).config.match);
    const entry = entryOf(asWritten(sharing, spelled), prefix);
    if (prefix !== undefined) group.prefixes.push({ prefix, entry });
    else if (path?.includes('{')) group.templates.push({ segments: path.split('/'), entry });
    else group.exact.set(path as string, entry);
  }
  group.prefixes.sort((a, b) => b.prefix.length - a.prefix.length);
  group.templates.sort((a, b) => parameters(a.segments) - parameters(b.segments));
  return group;
}

const parameters = (segments: readonly string[]) => segments.filter((segment) => segment.startsWith('{')).length;

function entryOf(routes: readonly Route[], prefix: string | undefined): RouteEntry {
  const byMethod = new Map<string, Route>();
  let anyMethod: Route | undefined;
  for (const route of routes) {
    if (route.config.match.methods === undefined) anyMethod = route;
    else for (const method of route.config.match.methods) byMethod.set(method, route);
  }
  const allowed = new Set(byMethod.keys());
  if (allowed.has('GET')) allowed.add('HEAD');
  return { byMethod, anyMethod, prefix, allow: [...allowed].sort().join(', ') };
}

function findInGroup(group: HostGroup, path: string): RouteEntry | undefined {
  const exact = group.exact.get(path);
  if (exact !== undefined) return exact;
  if (group.templates.length > 0) {
    const segments = path.split('/');
    const template = group.templates.find((candidate) => fits(candidate.segments, segments));
    if (template !== undefined) return template.entry;
  }
  for (const { prefix, entry } of group.prefixes) {
    if (prefix === '/') return entry;
    if (path.startsWith(prefix) && (path.length === prefix.length || path.charCodeAt(prefix.length) === 0x2f))
      return entry;
  }
  return undefined;
}

function fits(template: readonly string[], segments: readonly string[]): boolean {
  return (
    template.length === segments.length &&
    template.every((part, at) => part === segments[at] || (part.startsWith('{') && segments[at] !== ''))
  );
}

/**
 * Whether a path that lenient servers could read differently may still take `route`: its oddities are relaxed there, and
 * every other reading leads to the same policy. Otherwise one rule would judge and another part of the application serve.
 * `method` is the one that chose the route: of a preflight the method it asks about.
 */
export function toleratesReadings(
  table: RouteTable,
  route: Route,
  request: { readonly host: string; readonly path: string; readonly oddities: number },
  method: string,
): boolean {
  if ((request.oddities & ~route.relax) !== 0) return false;
  const readings = readingsOf(request.path);
  if (readings === undefined) return false;
  const { host } = request;
  return (
    readings.kept.every((path) => isJudgedAlike(table.find, host, path, method, route)) &&
    readings.folded.every((path) => isJudgedAlike(table.findFolded, host, path, method, route))
  );
}

/**
 * The same for a plain path, which is in lower case, where routes are written with capitals: to an application that ignores case,
 * `/admin` is `/Admin` and must not pass by the route around it.
 */
export function toleratesCase(
  table: RouteTable,
  route: Route,
  { host, path }: { readonly host: string; readonly path: string },
  method: string,
): boolean {
  return isJudgedAlike(table.findFolded, host, path, method, route);
}

/**
 * The same for the slash at the end of a path: many routers serve `/users/7/` as `/users/7`, and the other way round. Where one of
 * them is a path of its own and the other goes by a shorter prefix, both need the same policy. Who also names the prefix (`path:
 * /docs` beside `prefix: /docs`) has said what the slash means.
 */
export function toleratesSlash(
  { find }: RouteTable,
  route: Route,
  { host, path }: { readonly host: string; readonly path: string },
  method: string,
): boolean {
  return isSlashJudgedAlike(find, host, path, method, route);
}

/** A reading that no route takes is refused by us, and served by nobody. */
function isJudgedAlike(find: RouteTable['find'], host: string, path: string, method: string, route: Route): boolean {
  const entry = find(host, path);
  if (entry !== undefined && routeFor(entry, method)?.policy !== route.policy) return false;
  return isSlashJudgedAlike(find, host, path, method, route);
}

function isSlashJudgedAlike(
  find: RouteTable['find'],
  host: string,
  path: string,
  method: string,
  route: Route,
): boolean {
  if (path === '/') return true;
  const bare = path.endsWith('/') ? path.slice(0, -1) : path;
  const other = find(host, bare === path ? `${path}/` : bare);
  if (other === undefined || other.prefix !== undefined || routeFor(other, method)?.policy === route.policy)
    return true;
  return find(host, path)?.prefix === bare;
}

/** Bits of `oddity` for the names under `relax`. */
export function relaxBits(names: RouteConfig['relax']): number {
  const bits = {
    encoded_slash: oddity.encodedSlash,
    double_slash: oddity.doubleSlash,
    double_encoding: oddity.doubleEncoding,
  };
  return names.reduce((sum, name) => sum | bits[name], 0);
}
