// The public OAuth endpoints: whose issuer they serve, and whether a request to that issuer can reach us at all.
import type { Path } from '../places.ts';
import type { IssuerConfig } from '../schema.ts';
import { type Check, type CheckContext, refers, refuseRepeated } from './context.ts';
import { fetchProblem, isLoopbackHost } from './hosts.ts';
import { isWildcard, splitAddress } from './proxy.ts';

const TEN_MINUTES_MS = 600_000;
const FIVE_MINUTES_MS = 300_000;

/** Checks `proxy.endpoints.oauth` and `oauth`. */
export const checkOAuth: Check = (context) => {
  const { oauth, proxy } = context.config;
  checkBlock(context, oauth);
  if (!proxy.endpoints.oauth) return;
  const at: Path = ['proxy', 'endpoints', 'oauth'];
  if (!context.config.postgres) context.problem(at, 'needs postgres, where clients and grants are kept');
  const found = oauthIssuer(context);
  if (typeof found === 'string') context.problem(oauth.issuer === undefined ? at : ['oauth', 'issuer'], found);
  else checkIssuerUrl(context, ['issuers', found.name, 'issuer'], found.issuer.issuer);
};

/** The issuer block that the endpoints serve, or what is wrong. */
function oauthIssuer(context: CheckContext): { readonly name: string; readonly issuer: IssuerConfig } | string {
  const signing = Object.entries(context.config.issuers).filter(([, { sign }]) => sign !== undefined);
  const wanted = context.config.oauth.issuer;
  const found = wanted === undefined ? signing : signing.filter(([name]) => name === wanted);
  if (found.length === 1) return { name: found[0]![0], issuer: found[0]![1] };
  if (wanted !== undefined) return `names "${wanted}", which is no issuer block with sign`;
  const names = signing.map(([name]) => name).join(', ');
  return signing.length === 0 ? 'needs an issuer block with sign' : `needs oauth.issuer: one of ${names}`;
}

function checkBlock(context: CheckContext, oauth: CheckContext['config']['oauth']): void {
  if (oauth.code_lifetime > TEN_MINUTES_MS) context.problem(['oauth', 'code_lifetime'], 'needs at most 10m');
  if (oauth.refresh_grace > FIVE_MINUTES_MS) context.problem(['oauth', 'refresh_grace'], 'needs at most 5m');
  if (oauth.refresh_idle > oauth.refresh_lifetime && context.given(['oauth', 'refresh_idle'])) {
    context.problem(['oauth', 'refresh_idle'], 'is above refresh_lifetime');
  }
  for (const [index, origin] of oauth.origins.entries()) {
    const problem = originProblem(origin);
    if (problem) context.problem(['oauth', 'origins', index], problem);
  }
  refuseRepeated(context, oauth.origins, ['oauth', 'origins'], 'the origin');
  const page = oauth.authorization_endpoint;
  const trouble = page === undefined ? undefined : (fetchProblem(page) ?? fragmentProblem(page));
  if (trouble) context.problem(['oauth', 'authorization_endpoint'], trouble);
  for (const [endpoint, names = []] of Object.entries(oauth.limits)) {
    for (const [index, limit] of names.entries()) checkLimit(context, ['oauth', 'limits', endpoint, index], limit);
  }
}

/** Compared byte for byte with what browsers send: no `*`, no `null`, no path, no upper case, no default port. */
function originProblem(text: string): string | undefined {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol) || url.origin !== text) {
    return 'needs an origin as browsers send it, such as https://app.example.com';
  }
  return fetchProblem(text);
}

const fragmentProblem = (url: string) => (url.includes('#') ? 'must not have a fragment (RFC 6749 3.1)' : undefined);

function checkLimit(context: CheckContext, path: Path, name: string): void {
  if (!refers(context, 'limits', name, path)) return;
  const limit = Object.hasOwn(context.config.limits, name) ? context.config.limits[name] : undefined;
  if (limit?.concurrent !== undefined) context.problem(path, `limit ${name} is concurrent; rates are counted here`);
  const key = limit?.key;
  if (key?.every((part) => part === 'ip' || part === 'client' || part === 'route') ?? true) return;
  context.problem(path, `limit ${name} counts by more than ip, client and route, which is all that is known here`);
}

/**
 * What clients find under the issuer must be us. The proxy port answers for any host name that is led to it, so what can be
 * told apart is: an address of this machine with another port than ours, and an address that we do not listen on.
 */
function checkIssuerUrl(context: CheckContext, path: Path, issuer: string): void {
  const url = URL.parse(issuer);
  if (!url || (issuer !== url.origin && issuer !== `${url.origin}/`)) {
    context.problem(path, 'needs an https:// origin without path, because proxy.endpoints.oauth serves it');
    return;
  }
  const { host, port } = splitAddress(context.config.proxy.listen);
  const wanted = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  if (url.protocol === 'http:' && port !== 0 && wanted !== port) {
    context.problem(path, `is served by no listener: port ${wanted}, but proxy.listen has ${port}`);
  }
  const reachable = isWildcard(host) || !isLoopbackHost(host) || isLoopbackHost(url.hostname);
  if (!reachable && context.config.proxy.trusted_proxies.length === 0) {
    context.problem(
      path,
      `is served by no listener: proxy.listen is ${host}, and there are no trusted_proxies on this machine before it`,
    );
  }
}
