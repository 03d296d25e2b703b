// Routes: what they refer to, what they demand, and that each request has one answer. match.ts of this folder looks at
// their paths.
import type { Path } from '../places.ts';
import type { LimitConfig, RouteConfig } from '../schema.ts';
import { type Check, type CheckContext, refers, refuseEndWithoutShadow, refuseRepeated } from './context.ts';
import { checkCredentials } from './credentials.ts';
import { checkMatch, refuseSameMatches } from './match.ts';

/** Checks `routes` and `defaults`. */
export const checkRoutes: Check = (context) => {
  const { defaults, routes } = context.config;
  checkNames(context, 'issuers', defaults.issuers, ['defaults', 'issuers']);
  checkNames(context, 'limits', defaults.limits, ['defaults', 'limits']);
  if (context.names.routes.length === 0) checkRouteless(context);
  for (const [name, route] of Object.entries(routes)) checkRoute(context, ['routes', name], route);
  refuseSameMatches(context);
};

/** A control plane may serve nobody's traffic; a data plane that does was given half a file. */
function checkRouteless(context: CheckContext): void {
  if (context.given(['routes'])) context.warn(['routes'], 'is empty: every request is answered 404');
  else if (!context.config.postgres) context.problem(['routes'], 'is missing: needs a mapping of names');
}

function checkRoute(context: CheckContext, path: Path, route: RouteConfig): void {
  checkMatch(context, [...path, 'match'], route.match);
  checkUpstreamOf(context, path, route);
  refuseEndWithoutShadow(context, path, route);
  checkNames(context, 'limits', route.limits, [...path, 'limits']);
  checkAuthentication(context, path, route);
  checkLimitKeys(context, path, route);
  checkCredentials(context, [...path, 'credentials'], route.credentials);
  checkOrigins(context, [...path, 'cors', 'origins'], route.cors);
}

function checkNames(
  context: CheckContext,
  section: 'issuers' | 'limits',
  names: readonly string[] = [],
  path: Path,
): void {
  for (const [index, name] of names.entries()) refers(context, section, name, [...path, index]);
  refuseRepeated(context, names, path, 'the name');
}

function checkUpstreamOf(context: CheckContext, path: Path, route: RouteConfig): void {
  const { upstreams } = context.names;
  if (upstreams.length === 0 && !context.given(['upstreams'])) return;
  if (route.upstream !== undefined) refers(context, 'upstreams', route.upstream, [...path, 'upstream']);
  else if (upstreams.length > 1) context.problem(path, `needs upstream: one of ${upstreams.join(', ')}`);
}

function checkAuthentication(context: CheckContext, path: Path, route: RouteConfig): void {
  if (route.auth === 'none') {
    if (route.require) context.problem([...path, 'require'], 'cannot be kept with auth: none');
    if (route.issuers) context.problem([...path, 'issuers'], 'has no meaning with auth: none');
    return;
  }
  checkNames(context, 'issuers', route.issuers, [...path, 'issuers']);
  const { issuers } = context.names;
  if (route.credentials.every((each) => each === 'certificate')) return;
  if (issuers.length === 0) context.problem(path, `needs an issuer for auth: ${route.auth}`);
  else if (issuers.length > 1 && !route.issuers && !context.given(['defaults', 'issuers'])) {
    context.problem(path, `needs issuers, here or in defaults: some of ${issuers.join(', ')}`);
  }
  if (route.auth === 'optional' && route.require) {
    context.warn([...path, 'require'], 'with auth: optional, requests without a token have nothing that is required');
  }
}

/** Limits keyed by who is calling count nobody where nobody authenticates. */
function checkLimitKeys(context: CheckContext, path: Path, route: RouteConfig): void {
  if (route.auth !== 'none') return;
  for (const [index, name] of (route.limits ?? context.config.defaults.limits).entries()) {
    const limit = Object.hasOwn(context.config.limits, name) ? context.config.limits[name] : undefined;
    const word = limit && keyedByCaller(limit);
    const place = route.limits ? [...path, 'limits', index] : path;
    if (word)
      context.problem(place, `limit ${name} counts by ${word}, which auth: none never knows; set other limits here`);
  }
}

function keyedByCaller(limit: LimitConfig): string | undefined {
  const part = limit.key.find((each) => typeof each !== 'string' || (each !== 'ip' && each !== 'route'));
  return typeof part === 'object' ? 'claim' : part;
}

function checkOrigins(context: CheckContext, path: Path, cors: RouteConfig['cors']): void {
  if (typeof cors === 'string') return;
  for (const [index, origin] of cors.origins.entries()) {
    const url = URL.parse(origin);
    if (url && /^https?:$/.test(url.protocol) && url.origin === origin) continue;
    context.problem([...path, index], 'needs an origin as browsers send it, such as https://app.example.com');
  }
  refuseRepeated(context, cors.origins, path, 'the origin');
}
