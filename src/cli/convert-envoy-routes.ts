// Envoy tries routes, and then rules, in their order; Doorward takes the longest match. So each path that either list names is
// asked, as Envoy would, which route and which rule come first, and becomes a route of ours when the answer differs from that
// of the path around it.
import type { Path } from '../config/places.ts';
import { type Block, type Draft, durationOf, namer, type SourceTree } from './convert-draft.ts';
import type { Filters, Need } from './convert-envoy-filters.ts';
import { type Matcher, readMatcher, takes } from './convert-envoy-match.ts';

/** Methods that a route may name; GET includes HEAD. */
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
/** No path of a configuration ends so: stands for anything below a prefix. */
const PROBE = '~any';

interface EnvoyRoute {
  readonly matcher: Matcher;
  /** undefined: answered by Envoy itself, or in a way that cannot be said. */
  readonly cluster: string | undefined;
  readonly timeout: string | undefined;
  /** What the route says about tokens, over the rules. */
  readonly need: Need | undefined;
}

interface Pattern {
  readonly kind: 'prefix' | 'path';
  /** Without a slash at its end. */
  readonly text: string;
}

/** Takes virtual hosts and writes `routes`; returns the clusters that they lead to, with the names their upstreams have. */
export function takeRoutes(
  source: SourceTree,
  draft: Draft,
  path: Path,
  filters: Filters,
): ReadonlyMap<string, string> {
  const upstreams = new Map<string, string>();
  const upstreamOf = namer('app');
  const routes: Block = {};
  source.take([...path, 'name']);
  const hosts = source.elements([...path, 'virtual_hosts']);
  const labelled = namer('route');
  for (const host of hosts) {
    const names = hostsOf(source, draft, host);
    const list = source.elements([...host, 'routes']).flatMap((each) => readRoute(source, draft, each, filters));
    if (names === undefined) continue;
    const table = new Table(list, filters);
    for (const { match, label, outcome } of table.routes(draft)) {
      const hostName = hosts.length > 1 ? `${String(source.look([...host, 'name']) ?? '')} ` : '';
      const name = labelled(`${hostName}${label}`, JSON.stringify([host, match]));
      upstreams.set(outcome.cluster, upstreamOf(outcome.cluster));
      routes[name] = routeBlock(match, names, outcome, filters, upstreams);
    }
  }
  if (filters.isPartial)
    draft.note('some rule could not be read, so nothing is left open: every route asks for a token');
  draft.tree.routes = routes;
  return upstreams;
}

/** Hosts to name; an empty list means any, undefined none that can be said. */
function hostsOf(source: SourceTree, draft: Draft, path: Path): string[] | undefined {
  source.take([...path, 'name']);
  const domains = (source.take([...path, 'domains']) as string[] | undefined) ?? [];
  if (domains.includes('*')) return [];
  const named = new Set<string>();
  for (const domain of domains) {
    const host = domain.replace(/:(?:\d+|\*)$/, '').toLowerCase();
    if (/^(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*$/.test(host)) named.add(host);
    else draft.leave([...path, 'domains'], `${domain} cannot be said: hosts are names, or *.name for one label`);
    if (host.startsWith('*.')) draft.note(`${host}: one label here, any number of them in Envoy`);
  }
  return named.size === 0 ? undefined : [...named];
}

function readRoute(source: SourceTree, draft: Draft, path: Path, filters: Filters): EnvoyRoute[] {
  source.take([...path, 'name']);
  const matcher = readMatcher(source, [...path, 'match']);
  const own = source.names(path).find((key) => ['redirect', 'direct_response', 'non_forwarding_action'].includes(key));
  if (own !== undefined) {
    source.take([...path, own]);
    draft.leave([...path, own], 'is answered by Envoy itself; here the path goes where the one around it goes', true);
  }
  const need = readOverride(source, draft, [...path, 'typed_per_filter_config', filters.name], filters);
  if (typeof matcher === 'string') {
    source.take(path);
    draft.leave([...path, 'match'], matcher, need === undefined || need.auth !== 'none');
    return [];
  }
  const cluster = readCluster(source, draft, [...path, 'route']);
  source.take([...path, 'route', 'upgrade_configs']);
  const timeout = durationOf(source.take([...path, 'route', 'timeout']));
  if (timeout === '0s')
    draft.leave([...path, 'route', 'timeout'], 'no bound cannot be said; see `routes.<name>.stream`');
  if (cluster === undefined && own === undefined)
    draft.leave([...path, 'route'], 'names no cluster; here the path goes where the one around it goes', true);
  return [{ matcher, cluster, timeout: timeout === '0s' ? undefined : timeout, need }];
}

/** One cluster; of several with weights the heaviest. */
function readCluster(source: SourceTree, draft: Draft, path: Path): string | undefined {
  const [one, several] = [source.take([...path, 'cluster']), [...path, 'weighted_clusters']];
  const shares = source
    .elements([...several, 'clusters'])
    .map((each) => [String(source.look([...each, 'name'])), Number(source.look([...each, 'weight']) ?? 0)] as const)
    .sort(([, a], [, b]) => b - a);
  const [heaviest] = shares;
  if (typeof one === 'string' || heaviest === undefined) return one as string | undefined;
  source.take(several);
  draft.leave(several, `requests are not divided here: all go to ${heaviest[0]}`);
  return heaviest[0];
}

function readOverride(source: SourceTree, draft: Draft, path: Path, { named }: Filters): Need | undefined {
  if (source.look(path) === undefined) return undefined;
  source.take([...path, '@type']);
  if (source.take([...path, 'disabled']) === true) return { auth: 'none', providers: [] };
  const name = source.take([...path, 'requirement_name']);
  const need = typeof name === 'string' ? named(name) : undefined;
  if (need === undefined) draft.leave(path, 'names no requirement', true);
  return need;
}

interface Outcome {
  readonly cluster: string;
  readonly timeout: string | undefined;
  readonly need: Need;
}

/** The routes of one virtual host beside the rules, as Envoy would use them. */
class Table {
  readonly #list: readonly EnvoyRoute[];
  readonly #filters: Filters;
  readonly #patterns: readonly Pattern[];

  constructor(list: readonly EnvoyRoute[], filters: Filters) {
    this.#list = list;
    this.#filters = filters;
    const matchers = [...list, ...filters.rules].map(({ matcher }) => matcher);
    const patterns = new Map<string, Pattern>();
    const add = (pattern: Pattern) => patterns.set(`${pattern.kind} ${pattern.text}`, pattern);
    for (const { kind, text } of matchers) {
      const plain = text.length > 1 ? text.replace(/\/$/, '') : text;
      if (kind === 'path') add({ kind, text });
      else add({ kind, text: plain });
      // A prefix of ours takes the path without the slash too, which Envoy gives to somebody else.
      if (kind === 'prefix' && plain !== text) add({ kind: 'path', text: plain });
    }
    this.#patterns = [...patterns.values()].sort((a, b) => a.text.length - b.text.length);
  }

  /** What Envoy would do with a request; undefined: not served. */
  #ask(path: string, method: string): Outcome | undefined {
    const route = this.#list.find(({ matcher }) => takes(matcher, path, method));
    if (route?.cluster === undefined) return undefined;
    const rule = this.#filters.rules.find(({ matcher }) => takes(matcher, path, method));
    const need = route.need ?? rule?.need ?? { auth: 'none', providers: [] };
    return { cluster: route.cluster, timeout: route.timeout, need };
  }

  #answers({ kind, text }: Pattern): string {
    const path = kind === 'path' ? text : `${text === '/' ? '' : text}/${PROBE}`;
    return JSON.stringify(METHODS.map((method) => this.#ask(path, method) ?? null));
  }

  /** The prefix that takes a path when `pattern` is not there. */
  #around({ kind, text }: Pattern): Pattern | undefined {
    return this.#patterns.findLast(
      (each) =>
        each.kind === 'prefix' &&
        (each.text === '/' || text === each.text || text.startsWith(`${each.text}/`)) &&
        !(kind === 'prefix' && each.text === text),
    );
  }

  *routes(draft: Draft): Generator<{ match: Block; label: string; outcome: Outcome }> {
    for (const pattern of this.#patterns) {
      const answers = this.#answers(pattern);
      const around = this.#around(pattern);
      this.#compareNeighbours(pattern, around, draft);
      if (around !== undefined && this.#answers(around) === answers) continue;
      const groups = Map.groupBy(JSON.parse(answers).entries() as Iterable<[number, Outcome | null]>, ([, outcome]) =>
        JSON.stringify(outcome),
      );
      for (const [outcome, members] of groups) {
        if (outcome === 'null') continue;
        const methods = members.map(([index]) => METHODS[index] as string);
        const some = groups.size > 1;
        yield {
          match: { [pattern.kind]: pattern.text, ...(some && { methods }) },
          label: `${pattern.text === '/' ? 'all' : pattern.text}${some ? ` ${methods.join(' ')}` : ''}`,
          outcome: JSON.parse(outcome),
        };
      }
    }
  }

  /** Envoy's prefix /api takes /apix too; here that goes the way of the prefix around, which may ask for less. */
  #compareNeighbours({ kind, text }: Pattern, around: Pattern | undefined, draft: Draft): void {
    if (kind === 'path' || text === '/' || around === undefined || this.#filters.isPartial) return;
    for (const method of METHODS) {
      const there = this.#ask(`${text}${PROBE}`, method);
      const here = this.#ask(`${around.text === '/' ? '' : around.text}/${PROBE}`, method);
      if (here === undefined || !asksLess(here.need, there?.need)) continue;
      draft.leave(
        text,
        `in Envoy this prefix takes ${text}… too (${said(there?.need)}); here prefixes are whole segments, and that is ${said(here.need)}`,
        true,
      );
      return;
    }
  }
}

/** Whether the first lets somebody in whom the second does not. */
function asksLess(here: Need, there: Need | undefined): boolean {
  if (strictness(here) !== strictness(there)) return strictness(here) < strictness(there);
  if (there === undefined || there.auth === 'none') return false;
  const same = JSON.stringify(here.audiences) === JSON.stringify(there.audiences);
  return !here.providers.every((name) => there.providers.includes(name)) || (there.audiences !== undefined && !same);
}

const said = (need: Need | undefined) =>
  need === undefined || need.auth === 'none' ? 'none' : `${need.auth}, ${need.providers.join(' or ')}`;

const strictness = (need: Need | undefined) =>
  need === undefined ? 0 : ['none', 'optional', 'required'].indexOf(need.auth);

function routeBlock(
  match: Block,
  hosts: readonly string[],
  { cluster, timeout, need }: Outcome,
  { providers, isPartial, bypassesPreflights }: Filters,
  upstreams: ReadonlyMap<string, string>,
): Block {
  const all = [...providers.keys()];
  const closed = isPartial && need.auth !== 'required' && all.length > 0;
  const { auth, providers: named, audiences }: Need = closed ? { auth: 'required', providers: all } : need;
  const block: Block = {
    match: { ...match, ...(hosts.length > 0 && { hosts }) },
    upstream: upstreams.get(cluster),
    auth,
  };
  if (timeout !== undefined) block.response_timeout = timeout;
  if (auth === 'none') return block;
  if (audiences !== undefined) block.require = { claims: { aud: audiences } };
  if (bypassesPreflights) block.cors = 'pass';
  const trusted = named.flatMap((name) => providers.get(name) ?? []);
  block.issuers = trusted.map(({ issuer }) => issuer);
  const credentials = [
    ...new Map(trusted.flatMap((each) => each.credentials).map((each) => [JSON.stringify(each), each])).values(),
  ];
  if (JSON.stringify(credentials) !== '["bearer"]') block.credentials = credentials;
  if (trusted.some(({ forwardToken }) => forwardToken)) block.forward_token = true;
  return block;
}
