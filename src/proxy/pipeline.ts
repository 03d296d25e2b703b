// The request path, in order. Read this first. Each stage looks at the exchange and returns nothing to go on, a reason to
// refuse, or `waiting` when it will call `resume` itself. The list is built once; a cached token and a memory store never
// leave the synchronous path. Steps and their numbers are those of the design, section 4.
import type { Reason } from '../core/reasons.ts';
import { authenticate } from './decide/authenticate.ts';
import type { Exchange } from './exchange.ts';
import { canonicalise, findClient } from './inbound/canonicalise.ts';
import { malformed } from './inbound/credential.ts';
import { isForged } from './inbound/cross-site.ts';
import { type Route, routeFor, toleratesCase, toleratesReadings, toleratesSlash } from './inbound/route.ts';
import { isPreflight } from './outbound/cors.ts';
import { type Stage, type StageResult, waiting } from './stage.ts';
import { withTrace } from './tracing.ts';

const stages: readonly Stage[] = [
  { name: 'canonicalise', run: canonicalise, shadowable: false },
  { name: 'client_address', run: findClient, shadowable: false },
  { name: 'route', run: chooseRoute, shadowable: false },
  { name: 'credential', run: readCredential, shadowable: true },
  { name: 'authenticate', run: authenticate, shadowable: true },
  { name: 'check', run: (exchange, resume) => exchange.generation.gate.check(exchange, resume), shadowable: true },
  { name: 'authorize', run: authorize, shadowable: true },
];

/** The same, for configurations with `tracing`: the others are asked nothing of it. */
const tracedStages = stages.map(withTrace);

const stagesOf = (exchange: Exchange) => (exchange.generation.tracing === undefined ? stages : tracedStages);

/** Runs the stages from where the exchange stands; ends in exactly one of `ending.proceed` and `ending.refuse`. */
export function run(exchange: Exchange): void {
  try {
    const steps = stagesOf(exchange);
    while (exchange.stage < steps.length) {
      const stage = steps[exchange.stage] as Stage;
      exchange.stageName = stage.name;
      exchange.stage += 1;
      const result = stage.run(exchange, resume);
      if (result === undefined) continue;
      if (result === waiting) return;
      if (!letThrough(exchange, stage, result)) {
        exchange.ending.refuse(exchange, result);
        return;
      }
    }
    exchange.stageName = 'forward';
    exchange.ending.proceed(exchange);
  } catch (error) {
    exchange.generation.onDefect(error);
    exchange.ending.refuse(exchange, 'internal');
  }
}

/** Goes on after a stage that waited, with what it found. */
export function resume(exchange: Exchange, result: Reason | undefined): void {
  if (exchange.ended) return;
  const stage = stages[exchange.stage - 1] as Stage;
  if (result === undefined || letThrough(exchange, stage, result)) run(exchange);
  else exchange.ending.refuse(exchange, result);
}

function letThrough(exchange: Exchange, stage: Stage, reason: Reason): boolean {
  if (exchange.route?.shadow !== true || !stage.shadowable) return false;
  exchange.shadowReason ??= reason;
  return true;
}

/** Step 4: host, path, method; then whether an odd path may take this route. */
function chooseRoute(exchange: Exchange): StageResult {
  const { generation, host, path } = exchange;
  if (path.startsWith(generation.reservedPrefix) && isBelow(path, generation.reservedPrefix)) return 'route_not_found';
  const entry = generation.table.find(host, path);
  if (entry === undefined) return 'route_not_found';
  const preflight = isPreflight(exchange);
  const method = preflight ? (exchange.fields?.accessControlRequestMethod as string) : exchange.method;
  const requested = routeFor(entry, method);
  // A preflight asks about another method; only routes that take part in CORS answer for it.
  const corsRoute = preflight && requested !== undefined && requested.config.cors !== 'off';
  const route = corsRoute ? requested : routeFor(entry, exchange.method);
  if (route === undefined) {
    exchange.details = { allow: entry.allow };
    return 'method_not_allowed';
  }
  exchange.route = route;
  exchange.preflight = corsRoute;
  if (isAmbiguous(exchange, route, corsRoute ? method : exchange.method)) return 'path_ambiguous';
  const length = exchange.fields?.contentLength;
  if (length !== undefined && Number(length) > route.bodyBytes) return 'body_too_large';
  const origin = exchange.fields?.origin;
  const foreign = route.origins !== undefined && origin !== undefined && !route.origins.has(origin);
  // A page of another origin can open a WebSocket with the user's cookies and read everything (attack 51).
  return foreign && (exchange.opensWebSocket || exchange.preflight) ? 'origin_refused' : undefined;
}

/** Whether some application could take the path for one that another policy protects; `method` is the one that chose the route. */
function isAmbiguous(exchange: Exchange, route: Route, method: string): boolean {
  const { path, ambiguous, generation } = exchange;
  const { table } = generation;
  const endsInSlash = path.charCodeAt(path.length - 1) === 0x2f;
  if ((endsInSlash || table.hasSlashes) && !toleratesSlash(table, route, exchange, method)) return true;
  if (ambiguous) return !toleratesReadings(table, route, exchange, method);
  return table.hasCapitals && !toleratesCase(table, route, exchange, method);
}

const isBelow = (path: string, prefix: string) =>
  path.length === prefix.length || path.charCodeAt(prefix.length) === 0x2f;

/** Step 6: exactly one credential, from the sources that the route lists. */
function readCredential(exchange: Exchange): StageResult {
  const route = exchange.route as NonNullable<Exchange['route']>;
  if (route.auth === 'none' || exchange.preflight) return undefined;
  const { sources } = route;
  for (let at = 0; at < sources.length; at += 1) {
    const found = sources[at]?.read(exchange);
    if (found === undefined) continue;
    if (found === malformed || exchange.credential !== undefined) return 'credential_ambiguous';
    exchange.credential = found;
    exchange.credentialSource = at;
  }
  return exchange.credential !== undefined && isForged(exchange) ? 'origin_refused' : undefined;
}

/** Step 9: what the route demands of the principal. */
function authorize(exchange: Exchange): StageResult {
  const { route, token } = exchange;
  if (route?.requirement === undefined || exchange.preflight) return undefined;
  // Anonymous on an `optional` route that demands something: there is nobody who could meet it.
  if (token === undefined) return 'credential_missing';
  const unmet = route.requirement.unmet(token.principal);
  if (unmet === 'scope_insufficient') {
    exchange.details = { requiredScopes: route.requirement.scopes, providedScopes: token.principal.scopes };
  }
  if (unmet !== undefined) exchange.rule = `routes.${route.name}.require`;
  return unmet;
}
