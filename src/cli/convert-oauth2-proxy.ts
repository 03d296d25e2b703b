// From an oauth2-proxy.cfg (TOML), with or without its structured configuration (YAML): its issuer, upstreams, open paths, groups and headers. oauth2-proxy logs browsers in; Doorward
// takes bearer tokens, so all that belongs to logging in is left out and said.
import { parse } from 'smol-toml';
import { type Block, Draft, durationOf, IDENTITY_HEADERS, SourceTree } from './convert-draft.ts';
import { readAlpha } from './convert-oauth2-proxy-alpha.ts';
import { takeAuthority } from './convert-oauth2-proxy-issuers.ts';
import { takeOpenPaths } from './convert-oauth2-proxy-paths.ts';
import { takeUpstreams } from './convert-oauth2-proxy-upstreams.ts';
import { CliError } from './exit-codes.ts';

const LOGIN =
  /^(?:cookie_|session_|redis_|custom_|client_secret|redirect_url|login_url|redeem_url|profile_url|validate_url|scope$|prompt$|approval_prompt|acr_values|provider_display|skip_provider_button|sign_in|banner|footer|whitelist_domains|code_challenge_method|display_htpasswd|htpasswd_|proxy_prefix|backend_logout|show_debug|encode_state|force_json_errors|relative_redirect_url|force_https|allow_query_semicolons)/;
/** What Doorward does anyway, or what says nothing about requests. */
const DULL =
  /^(?:standard_logging|auth_logging|request_logging|logging_|silence_ping|api_routes|flush_interval|request_id_header|gcp_healthchecks|disable_keep_alives|errors_to_info_log)/;
/** Who may come in; without them more people do. */
const GUARDS =
  /^(?:authenticated_emails_file|email_domains?|azure_|github_|gitlab_|bitbucket_|google_|keycloak_|allowed_roles|org$|team$)/;

/** Converts the text of an oauth2-proxy.cfg, and of what stands beside it. Throws CliError `usage` for a text that is no TOML, or no YAML. */
export function convertOauth2Proxy(text: string, alpha?: string): Draft {
  let settings: Record<string, unknown>;
  try {
    settings = parse(text);
  } catch (cause) {
    throw new CliError(
      'usage',
      `no TOML: ${(cause as Error).message.split('\n')[0]}; the structured configuration (YAML) goes to --alpha-config`,
      { cause },
    );
  }
  const draft = new Draft();
  const source = new SourceTree({ ...settings, ...(alpha !== undefined && readAlpha(alpha, draft)) });
  takeListeners(source, draft);
  const upstreams = takeUpstreams(source, draft);
  const { issuers, roles } = takeAuthority(source, draft);
  const shared = sharedOf(source, roles, issuers);
  const routes: Block = takeOpenPaths(source, draft, upstreams, shared);
  const open = Object.values(routes).map((route) => JSON.stringify((route as Block).match));
  for (const { route, match, upstream } of upstreams)
    if (!open.includes(JSON.stringify(match))) routes[route] = { match, upstream, ...shared };
  draft.tree.routes = routes;
  takeHeaders(source, draft);
  leaveTheRest(source, draft);
  return draft;
}

function takeListeners(source: SourceTree, draft: Draft): void {
  const [plain, secure] = [source.take(['http_address']), source.take(['https_address'])] as (string | undefined)[];
  const [certificate, key] = [source.take(['tls_cert_file']), source.take(['tls_key_file'])];
  const hasTls = typeof certificate === 'string' && typeof key === 'string' && certificate !== '';
  const listen = (hasTls ? (secure ?? ':443') : (plain ?? '127.0.0.1:4180')).replace(/^https?:\/\//, '');
  const proxy: Block = { listen: listen.startsWith(':') ? `0.0.0.0${listen}` : listen };
  if (hasTls) proxy.tls = { certificates: [{ certificate: { file: certificate }, key: { file: key } }] };
  const peers = source.take(['trusted_proxy_ips']);
  if (Array.isArray(peers)) proxy.trusted_proxies = peers.map(asRange);
  if (source.take(['reverse_proxy']) === true && !Array.isArray(peers))
    draft.leave(
      'reverse_proxy',
      'believed every peer; name yours under proxy.trusted_proxies, or limits count it as one client',
    );
  const header = source.take(['real_client_ip_header']);
  if (header !== undefined && header !== 'X-Forwarded-For')
    draft.leave('real_client_ip_header', 'client addresses are read from X-Forwarded-For or Forwarded only');
  if (source.take(['set_xauthrequest']) === true) {
    proxy.endpoints = { verdict: true };
    draft.tree.identity_headers = {
      'X-Auth-Request-User': 'subject',
      'X-Auth-Request-Email': { claim: 'email' },
      'X-Auth-Request-Groups': 'roles',
      'X-Auth-Request-Preferred-Username': { claim: 'preferred_username' },
    };
    draft.note(
      'set_xauthrequest: nginx asks /.doorward/verdict/nginx instead of /oauth2/auth; see docs/guides/ingress.md',
    );
  }
  draft.tree.proxy = proxy;
  const metrics = source.take(['metrics_address']);
  if (typeof metrics === 'string' && metrics !== '')
    draft.tree.observe = { listen: metrics.startsWith(':') ? `0.0.0.0${metrics}` : metrics };
  for (const path of ['ping_path', 'ready_path', 'ping_user_agent'])
    if (source.take([path]) !== undefined) draft.note(`${path}: health is /healthz and /readyz on the observe port`);
}

const asRange = (address: unknown) =>
  String(address).includes('/') ? address : `${address}/${String(address).includes(':') ? 128 : 32}`;

/** What every protected route has. */
function sharedOf(source: SourceTree, roles: readonly string[], issuers: readonly string[]): Block {
  const timeout = durationOf(source.take(['upstream_timeout']));
  return {
    issuers,
    ...(roles.length > 0 && { require: { roles: { any: roles } } }),
    ...(source.take(['skip_auth_preflight']) === true && { cors: 'pass' }),
    ...(source.take(['pass_authorization_header']) === true && { forward_token: true }),
    ...(timeout !== undefined && { response_timeout: timeout }),
  };
}

function takeHeaders(source: SourceTree, draft: Draft): void {
  if (source.take(['pass_user_headers']) !== false)
    draft.tree.identity_headers = {
      ...(draft.tree.identity_headers as Block | undefined),
      ...IDENTITY_HEADERS,
      'X-Forwarded-User': 'subject',
      'X-Forwarded-Email': { claim: 'email' },
      'X-Forwarded-Groups': 'roles',
      'X-Forwarded-Preferred-Username': { claim: 'preferred_username' },
    };
  for (const header of ['pass_basic_auth', 'pass_access_token', 'set_authorization_header', 'set_basic_auth'])
    if (source.take([header]) === true)
      draft.leave(
        header,
        'the application gets identity headers, not credentials; see docs/identity.md and forward_token',
      );
  for (const password of ['basic_auth_password', 'prefer_email_to_user']) source.take([password]);
}

function leaveTheRest(source: SourceTree, draft: Draft): void {
  const domains = source.look(['email_domains']);
  if (Array.isArray(domains) && domains.includes('*')) source.take(['email_domains']);
  for (const { path: name } of source.untouched()) {
    if (DULL.test(name)) continue;
    if (LOGIN.test(name)) draft.leave(name, 'belongs to logging browsers in, which Doorward does not do yet');
    else if (GUARDS.test(name))
      draft.leave(name, 'kept people out; see `issuers.<name>.require` and `routes.<name>.require`', true);
    else draft.leave(name, 'has no counterpart here');
  }
}
