// The structured configuration of oauth2-proxy (--alpha-config, YAML), put into the words of its settings file, which the rest of the
// conversion reads. Headers have no words there and are written at once.
import { parse } from 'yaml';
import type { Path } from '../config/places.ts';
import { type Block, type Draft, IDENTITY_HEADERS, SourceTree } from './convert-draft.ts';
import { CliError } from './exit-codes.ts';

/** Who may come in; without them more people do. */
const GUARDS = /allowed|\.(?:azure|bitbucket|github|gitlab|google|keycloak)Config/;
const LOGIN =
  /(?:clientSecret|clientSecretFile|scope|prompt|loginURL|loginURLParameters|redeemURL|profileURL|validateURL|resource|code_challenge_method|caFiles|insecureSkipNonce)$/;

/** What our settings of an identity header are called there. */
const CLAIMS: Readonly<Record<string, unknown>> = { user: 'subject', groups: 'roles' };

/** Returns settings as oauth2-proxy.cfg has them, and says what has none. Throws CliError `usage` for a text that is no YAML. */
export function readAlpha(text: string, draft: Draft): Record<string, unknown> {
  let root: unknown;
  try {
    root = parse(text, { maxAliasCount: 100 });
  } catch (cause) {
    throw new CliError('usage', `no YAML: ${(cause as Error).message.split('\n')[0]}`, { cause });
  }
  const source = new SourceTree(root);
  const settings = {
    ...serverOf(source),
    ...upstreamsOf(source, draft),
    ...providerOf(source, draft),
    // Nothing is injected by default there.
    pass_user_headers: false,
    ...(takeHeaders(source, draft) && { pass_authorization_header: true }),
  };
  for (const { path, value } of source.untouched())
    if (value === undefined) continue;
    else if (LOGIN.test(path)) draft.leave(path, 'belongs to logging browsers in, which Doorward does not do yet');
    else if (GUARDS.test(path))
      draft.leave(path, 'kept people out; see `issuers.<name>.require` and `routes.<name>.require`', true);
    else draft.leave(path, 'has no counterpart here');
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/** Its names begin in capitals or not, by release. */
function takeEither(source: SourceTree, path: Path, name: string): unknown {
  const capital = `${name[0]?.toUpperCase()}${name.slice(1)}`;
  return source.take([...path, name]) ?? source.take([...path, capital]);
}

function serverOf(source: SourceTree) {
  const tls = source.look(['server', 'TLS']) === undefined ? 'tls' : 'TLS';
  const fileOf = (name: string) =>
    [name, `${name[0]?.toUpperCase()}${name.slice(1)}`]
      .map((each) => source.take(['server', tls, each, 'fromFile']))
      .find((file) => file !== undefined);
  const address = (block: string, name: string) => {
    const text = takeEither(source, [block], name);
    return text === '-' ? undefined : text;
  };
  return {
    http_address: address('server', 'bindAddress'),
    https_address: address('server', 'secureBindAddress'),
    tls_cert_file: fileOf('cert'),
    tls_key_file: fileOf('key'),
    metrics_address: address('metricsServer', 'bindAddress'),
  };
}

/** Settings of one upstream are those of all there: what differs is said. */
function upstreamsOf(source: SourceTree, draft: Draft) {
  const at = ['upstreamConfig', 'upstreams'];
  const served = source.elements(at).flatMap((each) => {
    const url = upstreamOf(source, draft, each);
    return url === undefined ? [] : [{ each, url }];
  });
  const [list, urls] = [served.map(({ each }) => each), served.map(({ url }) => url)];
  const shared = (name: string) => {
    const values = list.map((each) => source.take([...each, name]));
    if (new Set(values).size > 1) draft.leave(at, `${name} is not the same for all; put it where it belongs`);
    return new Set(values).size === 1 ? values[0] : undefined;
  };
  for (const each of list) source.take([...each, 'flushInterval']);
  return {
    upstreams: urls,
    pass_host_header: shared('passHostHeader'),
    proxy_websockets: shared('proxyWebSockets'),
    ssl_upstream_insecure_skip_verify: list.some((each) => source.take([...each, 'insecureSkipTLSVerify']) === true),
    upstream_timeout: shared('timeout'),
  };
}

/** As the file has it: the address with the path that leads to it. */
function upstreamOf(source: SourceTree, draft: Draft, at: Path): string | undefined {
  source.take([...at, 'id']);
  const [path, uri] = [String(source.take([...at, 'path']) ?? '/'), String(source.take([...at, 'uri']) ?? '')];
  const url = URL.parse(uri);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    source.take(at);
    draft.leave(at, 'is not http or https: Doorward serves no files and no answers of its own');
    return undefined;
  }
  if (path.startsWith('^')) {
    source.take(at);
    draft.leave(at, `${path}: paths are no regular expressions here, and are not rewritten`, true);
    return undefined;
  }
  if (url.pathname !== '/') draft.leave([...at, 'uri'], 'paths go on as they came: the application has to serve them');
  return `${url.origin}${path}`;
}

function providerOf(source: SourceTree, draft: Draft) {
  const [at, ...others] = source.elements(['providers']);
  if (at === undefined) return {};
  for (const each of others) {
    source.take(each);
    draft.leave(each, 'a second provider; see `issuers`, where several stand beside one another');
  }
  for (const name of ['id', 'name']) source.take([...at, name]);
  const oidc = (name: string) => source.take([...at, 'oidcConfig', name]);
  return {
    provider: source.take([...at, 'provider']),
    client_id: source.take([...at, 'clientID']),
    allowed_groups: source.take([...at, 'allowedGroups']),
    oidc_issuer_url: oidc('issuerURL'),
    skip_oidc_discovery: oidc('skipDiscovery'),
    oidc_jwks_url: oidc('jwksURL'),
    oidc_email_claim: oidc('emailClaim'),
    oidc_groups_claim: oidc('groupsClaim'),
    user_id_claim: oidc('userIDClaim'),
    oidc_audience_claims: oidc('audienceClaims'),
    oidc_extra_audiences: oidc('extraAudiences'),
    insecure_oidc_allow_unverified_email: oidc('insecureAllowUnverifiedEmail'),
  };
}

/** Writes identity headers; true when the token itself is to be passed on. */
function takeHeaders(source: SourceTree, draft: Draft): boolean {
  const headers: Block = {};
  let forwardsToken = false;
  for (const kind of ['injectRequestHeaders', 'injectResponseHeaders'])
    for (const at of source.elements([kind])) {
      const name = String(source.take([...at, 'name']));
      const [first, ...others] = source.elements([...at, 'values']);
      const claim = first && source.take([...first, 'claim']);
      const prefix = first && source.take([...first, 'prefix']);
      const isPlain = typeof claim === 'string' && others.length === 0 && source.names(first as Path).length === 1;
      const isToken = name.toLowerCase() === 'authorization' && claim === 'access_token' && prefix === 'Bearer ';
      if (isToken && kind === 'injectRequestHeaders') forwardsToken = true;
      else if (isPlain && !/_token$/.test(claim)) headers[name] = CLAIMS[claim] ?? { claim };
      else {
        source.take(at);
        draft.leave(
          at,
          `${name}: the application gets claims in headers, and the token by forward_token; nothing else`,
        );
      }
      if (source.take([...at, 'preserveRequestValue']) === true)
        draft.note(`${name}: what clients send under this name is removed here`);
    }
  if (source.elements(['injectResponseHeaders']).length > 0)
    draft.note('injectResponseHeaders: for a front that asks; see proxy.endpoints.verdict and docs/guides/ingress.md');
  if (Object.keys(headers).length > 0) draft.tree.identity_headers = { ...IDENTITY_HEADERS, ...headers };
  return forwardsToken;
}
