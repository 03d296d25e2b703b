// Paths of oauth2-proxy that need no login: regular expressions, of which those that mean one path or one prefix become routes. The
// others go on needing a token, which is the safe side.
import { type Block, type Draft, namer, type SourceTree } from './convert-draft.ts';
import { listAt } from './convert-oauth2-proxy-issuers.ts';
import type { Upstream } from './convert-oauth2-proxy-upstreams.ts';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/**
 * Takes skip_auth_routes and skip_auth_regex; returns routes with `auth: none`. Where only one method is open, the others get a
 * route with what `guarded` asks for: a method that no route of a path serves would be 405.
 */
export function takeOpenPaths(source: SourceTree, draft: Draft, upstreams: readonly Upstream[], guarded: Block): Block {
  const found: Open[] = [];
  for (const setting of ['skip_auth_routes', 'skip_auth_regex'])
    for (const [index, text] of listAt(source, setting).entries()) {
      const place = `${setting}[${index}]`;
      const open = openPath(text);
      if (open === undefined)
        draft.leave(place, `${text} means neither one path nor one prefix: those paths need a token here`);
      else {
        found.push(open);
        if (open.prefix !== undefined && !open.isBelow)
          draft.note(`${place}: ${open.prefix} and what is below it, whole segments only, is open`);
      }
    }
  return routesOf(found, upstreams, guarded);
}

interface Open {
  readonly path?: string;
  readonly prefix?: string;
  /** Only what is below the prefix, not the prefix itself. */
  readonly isBelow: boolean;
  readonly method: string | undefined;
}

function routesOf(found: readonly Open[], upstreams: readonly Upstream[], guarded: Block): Block {
  const routes: Block = {};
  const nameOf = namer('open');
  const seen = new Set<string>();
  const add = (label: string, match: Block, policy: Block) => {
    const text = JSON.stringify(match);
    if (seen.has(text)) return;
    seen.add(text);
    const place = String(match.prefix ?? match.path);
    const leading = upstreams.filter((each) => leadsTo(each, place)).sort((a, b) => length(b) - length(a));
    routes[nameOf(label, text)] = { match, upstream: (leading[0] ?? upstreams[0])?.upstream, ...policy };
  };
  for (const open of found) {
    const { method, ...match } = matchOf(open);
    const label = `open ${match.prefix ?? match.path}`;
    // One method of a path that is open altogether needs no route of its own.
    const isOpen = found.some(
      (each) => each.method === undefined && JSON.stringify(matchOf(each)) === JSON.stringify(match),
    );
    if (method === undefined || isOpen) add(label, match, { auth: 'none' });
    else {
      const methods = found.filter(
        (each) => JSON.stringify({ ...matchOf(each), method: 0 }) === JSON.stringify({ ...match, method: 0 }),
      );
      const named = methods.flatMap((each) => each.method ?? []);
      add(`${label} ${named.join(' ')}`, { ...match, methods: named }, { auth: 'none' });
      add(`other ${label}`, { ...match, methods: METHODS.filter((each) => !named.includes(each)) }, guarded);
    }
  }
  // Below a path is not the path itself, which our prefix would open too.
  for (const { prefix, isBelow } of found)
    if (prefix !== undefined && isBelow && !found.some(({ path }) => path === prefix))
      add(`itself ${prefix}`, { path: prefix }, guarded);
  return routes;
}

const matchOf = ({ path, prefix, method }: Open) => ({
  ...(path !== undefined && { path }),
  ...(prefix !== undefined && { prefix }),
  ...(method !== undefined && { method }),
});
const length = ({ match }: Upstream) => (match.path ?? match.prefix ?? '').length;

const leadsTo = ({ match }: Upstream, path: string) =>
  match.path === path ||
  match.prefix === '/' ||
  (match.prefix !== undefined && `${path}/`.startsWith(`${match.prefix}/`));

/** `^/$` and `^/a/b$` are paths; `^/a/`, `^/a/.*` and `^/a` are prefixes. An open root would open everything, so it is none of them. */
function openPath(text: string): Open | undefined {
  const [, method, pattern = ''] = /^(?:([A-Z]+)=)?(\^.*)$/s.exec(text) ?? [];
  if (pattern === '^/$') return { path: '/', isBelow: false, method };
  const [, body, end = ''] = /^\^((?:\/(?:[\w~-]|\\[.-])+)+)(\/\.\*\$?|\/|\$|\.\*\$?)?$/.exec(pattern) ?? [];
  if (body === undefined) return undefined;
  const place = body.replace(/\\([.-])/g, '$1');
  return end === '$'
    ? { path: place, isBelow: false, method }
    : { prefix: place, isBelow: end.startsWith('/'), method };
}
