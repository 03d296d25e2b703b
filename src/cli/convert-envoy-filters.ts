// The http_filters of Envoy: the providers and rules of jwt_authn; every other filter is left out and said.
import type { Path } from '../config/places.ts';
import { type Block, type Draft, durationOf, IDENTITY_HEADERS, namer, type SourceTree } from './convert-draft.ts';
import { kindAt } from './convert-envoy-kinds.ts';
import { type Matcher, readMatcher } from './convert-envoy-match.ts';
import { CliError } from './exit-codes.ts';

/** What a matching request needs. */
export interface Need {
  readonly auth: 'required' | 'optional' | 'none';
  /** Names of providers as Envoy has them. */
  readonly providers: readonly string[];
  /** Of which a token must name one, whatever else its provider takes. */
  readonly audiences?: readonly string[];
}

/** What the filters make of requests. */
export interface Filters {
  /** What the jwt_authn filter is called, and routes call it. */
  readonly name: string;
  /** Preflights need no token. */
  readonly bypassesPreflights: boolean;
  /** In Envoy's order: the first that matches counts, and where none does, no token is asked for. */
  readonly rules: readonly { readonly matcher: Matcher; readonly need: Need }[];
  /** The need of a name in requirement_map. */
  readonly named: (name: string) => Need | undefined;
  /** Some rule could not be read: what looks open might not have been. */
  readonly isPartial: boolean;
  /** Providers by Envoy's name. */
  readonly providers: ReadonlyMap<string, Provider>;
  /** Clusters that only key sets are fetched from. */
  readonly keyClusters: ReadonlySet<string>;
}

/** A provider as an issuer block, and what it asks of routes. */
export interface Provider {
  readonly issuer: string;
  readonly credentials: readonly unknown[];
  readonly forwardToken: boolean;
}

const JWT = 'envoy.filters.http.jwt_authn';
const OPEN: Need = { auth: 'none', providers: [] };
/** Filters that let every request through; any other may have refused some. */
const HARMLESS =
  /\.(?:cors|compressor|decompressor|grpc_web|grpc_stats|grpc_http1_bridge|grpc_json_transcoder|header_to_metadata|header_mutation|set_metadata|cache|tap|on_demand|stateful_session)$/;

/** Takes them, and writes the issuer blocks. */
export function takeFilters(source: SourceTree, draft: Draft, path: Path): Filters {
  const keyClusters = new Set<string>();
  let [name, found]: [string, Path | undefined] = [JWT, undefined];
  for (const filter of source.elements(path)) {
    const kind = kindAt(source, filter);
    const isFirst = kind === JWT && found === undefined;
    if (kind === 'envoy.filters.http.router') source.take(filter);
    else if (isFirst) {
      name = String(source.take([...filter, 'name']));
      found = [...filter, 'typed_config'];
    } else {
      source.take(filter);
      draft.leave(
        filter,
        `the filter ${kind} has no counterpart that could be made from it${hintFor(kind)}`,
        !HARMLESS.test(kind),
      );
    }
  }
  const shared = { name, keyClusters };
  if (found === undefined)
    return {
      ...shared,
      rules: [],
      named: () => undefined,
      isPartial: false,
      providers: new Map(),
      bypassesPreflights: false,
    };
  source.take([...found, '@type']);
  const providers = takeProviders(source, draft, [...found, 'providers'], keyClusters);
  const bypassesPreflights = source.take([...found, 'bypass_cors_preflight']) === true;
  return { ...takeRules(source, draft, found, [...providers.keys()]), ...shared, providers, bypassesPreflights };
}

function hintFor(name: string): string {
  if (name.includes('ratelimit')) return '; see `limits`, such as {per_ip: {key: ip, rate: 100/1m}}';
  if (name.endsWith('cors')) return '; see `routes.<name>.cors`';
  return name.endsWith('rbac') ? '; see `routes.<name>.require`' : '';
}

function takeProviders(source: SourceTree, draft: Draft, path: Path, keyClusters: Set<string>): Map<string, Provider> {
  const nameOf = namer('issuer');
  const issuers: Block = {};
  const providers = new Map<string, Provider>();
  for (const name of source.names(path)) {
    const at = [...path, name];
    const issuer = nameOf(name);
    issuers[issuer] = issuerBlock(source, draft, at, keyClusters);
    const forwardToken = source.take([...at, 'forward']) === true;
    providers.set(name, { issuer, credentials: takeCredentials(source, draft, at), forwardToken });
  }
  if (providers.size > 0) draft.tree.issuers = issuers;
  return providers;
}

function issuerBlock(source: SourceTree, draft: Draft, at: Path, keyClusters: Set<string>): Block {
  const text = (key: string) => source.take([...at, key]) as string | undefined;
  const issuer = text('issuer');
  if (issuer === undefined)
    draft.leave([...at, 'issuer'], 'is missing there, and needed here: put the `iss` of its tokens', false);
  const audience = source.take([...at, 'audiences']) as string[] | undefined;
  if (audience === undefined)
    draft.leave(
      [...at, 'audiences'],
      'is missing there (any audience), and needed here: put yours instead of CHANGE-ME',
    );
  const skew = source.take([...at, 'clock_skew_seconds']) as number | undefined;
  const longest = durationOf(source.take([...at, 'max_lifetime']));
  source.take([...at, 'require_expiration']);
  source.take([...at, 'jwt_cache_config']);
  if (source.look([...at, 'subjects']) !== undefined) {
    source.take([...at, 'subjects']);
    draft.leave([...at, 'subjects'], 'only some subjects were let in; see `issuers.<name>.require`', true);
  }
  takeClaimHeaders(source, draft, [...at, 'claim_to_headers']);
  return {
    issuer: issuer ?? 'urn:change-me',
    audience: audience ?? ['CHANGE-ME'],
    keys: takeKeys(source, draft, at, keyClusters),
    ...(skew !== undefined && { clock_tolerance: `${skew}s` }),
    ...(longest !== undefined && { max_lifetime: longest }),
  };
}

function takeKeys(source: SourceTree, draft: Draft, at: Path, keyClusters: Set<string>): Block {
  const remote = [...at, 'remote_jwks'];
  if (source.look(remote) !== undefined) {
    const cluster = source.take([...remote, 'http_uri', 'cluster']);
    if (typeof cluster === 'string') keyClusters.add(cluster);
    const [timeout, refresh] = [
      durationOf(source.take([...remote, 'http_uri', 'timeout'])),
      durationOf(source.take([...remote, 'cache_duration'])),
    ];
    for (const key of ['async_fetch', 'retry_policy']) source.take([...remote, key]);
    return {
      url: source.take([...remote, 'http_uri', 'uri']),
      ...(timeout !== undefined && { timeout }),
      ...(refresh !== undefined && { refresh }),
    };
  }
  const local = [...at, 'local_jwks'];
  const file = source.take([...local, 'filename']);
  if (typeof file === 'string') return { file };
  const inline = source.take([...local, 'inline_string']);
  if (typeof inline === 'string') return { inline: keySetIn(inline) };
  draft.leave(at, 'its keys are not in the file; put issuers.<name>.keys');
  return { discover: true };
}

function keySetIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CliError('usage', 'an inline_string of local_jwks is no JSON', { cause });
  }
}

function takeCredentials(source: SourceTree, draft: Draft, at: Path): unknown[] {
  const list: unknown[] = [];
  for (const header of source.elements([...at, 'from_headers'])) {
    const name = String(source.take([...header, 'name']));
    const prefix = source.take([...header, 'value_prefix']) as string | undefined;
    if (name.toLowerCase() === 'authorization' && prefix?.trim() === 'Bearer') list.push('bearer');
    else if (prefix === undefined || prefix === '') list.push({ header: name });
    else draft.leave([...header, 'value_prefix'], `${name}: a token behind "${prefix}" is not read`);
  }
  for (const query of (source.take([...at, 'from_params']) as string[] | undefined) ?? []) list.push({ query });
  for (const cookie of (source.take([...at, 'from_cookies']) as string[] | undefined) ?? []) list.push({ cookie });
  if (list.length > 0) return list;
  draft.note(
    `${String(at.at(-1))}: Envoy also reads ?access_token= by default; here only where credentials list {query: access_token}`,
  );
  return ['bearer'];
}

function takeClaimHeaders(source: SourceTree, draft: Draft, path: Path): void {
  for (const each of source.elements(path)) {
    const [header, claim] = [
      String(source.take([...each, 'header_name'])),
      String(source.take([...each, 'claim_name'])),
    ];
    draft.tree.identity_headers ??= { ...IDENTITY_HEADERS };
    // Envoy splits at dots; here a path is a list.
    (draft.tree.identity_headers as Block)[header] = { claim: claim.includes('.') ? claim.split('.') : claim };
  }
}

function takeRules(source: SourceTree, draft: Draft, at: Path, all: readonly string[]) {
  const needs = new Map<string, Need>();
  let isPartial = false;
  const needAt = (path: Path): Need => {
    const need = readNeed(source, draft, path, all);
    if (need !== undefined) return need;
    isPartial = true;
    return { auth: 'required', providers: all };
  };
  for (const name of source.names([...at, 'requirement_map']))
    needs.set(name, needAt([...at, 'requirement_map', name]));
  const rules: { matcher: Matcher; need: Need }[] = [];
  for (const rule of source.elements([...at, 'rules'])) {
    const matcher = readMatcher(source, [...rule, 'match']);
    const named = source.take([...rule, 'requirement_name']) as string | undefined;
    const need = named === undefined ? needAt([...rule, 'requires']) : (needs.get(named) ?? OPEN);
    if (typeof matcher === 'string') {
      source.take([...rule, 'match']);
      // A rule that asked for nothing kept nobody out; one that did may have stood before what now looks open.
      isPartial ||= need.auth !== 'none';
      draft.leave([...rule, 'match'], matcher, need.auth !== 'none');
    } else rules.push({ matcher, need });
  }
  return { rules, named: (name: string) => needs.get(name), isPartial };
}

/** undefined: it cannot be said, and was left out. */
function readNeed(source: SourceTree, draft: Draft, path: Path, all: readonly string[]): Need | undefined {
  const names = source.names(path);
  if (names.length === 0) return OPEN;
  const [kind] = names;
  const at = [...path, kind as string];
  if (kind === 'provider_name') return { auth: 'required', providers: [String(source.take(at))] };
  if (kind === 'allow_missing' || kind === 'allow_missing_or_failed') {
    source.take(at);
    if (kind === 'allow_missing_or_failed') draft.leave(at, 'a bad token is 401 here; without one the request passes');
    return { auth: 'optional', providers: all };
  }
  if (kind === 'provider_and_audiences') return providerAndAudiences(source, draft, at);
  if (kind === 'requires_any') return anyOf(source, draft, [...at, 'requirements'], all);
  if (kind === 'requires_all') return allOf(source, draft, [...at, 'requirements'], all);
  source.take(path);
  draft.leave(path, `${kind} is not known; all issuers are accepted instead`, true);
  return undefined;
}

/** The audiences count instead of those of the provider; here an issuer's count first, so more than those is said. */
function providerAndAudiences(source: SourceTree, draft: Draft, at: Path): Need {
  const provider = String(source.take([...at, 'provider_name']));
  const audiences = (source.take([...at, 'audiences']) as string[] | undefined) ?? [];
  const filter = at.slice(0, at.lastIndexOf('typed_config') + 1);
  const known = source.look([...filter, 'providers', provider, 'audiences']) as string[] | undefined;
  const more = audiences.filter((each) => known?.includes(each) !== true);
  if (more.length > 0)
    draft.leave([...at, 'audiences'], `list ${more.join(', ')} under the audience of the issuer ${provider} too`);
  return { auth: 'required', providers: [provider], ...(audiences.length > 0 && { audiences }) };
}

/** The one that is needed as it is; of several their providers, and no audiences, which differ. */
function together(draft: Draft, path: Path, demanded: readonly Need[]): Need {
  const [first] = demanded;
  if (first !== undefined && demanded.length === 1) return first;
  if (demanded.some(({ audiences }) => audiences !== undefined))
    draft.leave(path, 'audiences of one of several providers; here all that the issuers have are accepted', true);
  return { auth: 'required', providers: [...new Set(demanded.flatMap(({ providers }) => providers))] };
}

function anyOf(source: SourceTree, draft: Draft, path: Path, all: readonly string[]): Need {
  const needs = source
    .elements(path)
    .map((each) => readNeed(source, draft, each, all) ?? { auth: 'required' as const, providers: all });
  const demanded = needs.filter(({ auth }) => auth === 'required');
  const isOptional = demanded.length < needs.length;
  if (demanded.length === 0) return { auth: isOptional ? 'optional' : 'required', providers: all };
  const need = together(draft, path, demanded);
  if (!isOptional) return need;
  if (need.audiences !== undefined)
    draft.leave(path, 'audiences of a token that may be missing; here all that the issuer has are accepted', true);
  return { auth: 'optional', providers: need.providers };
}

/** One request carries one token here: where several are demanded, one of them will do. */
function allOf(source: SourceTree, draft: Draft, path: Path, all: readonly string[]): Need | undefined {
  const needs = source.elements(path).map((each) => readNeed(source, draft, each, all));
  if (needs.some((need) => need === undefined)) return undefined;
  const demanded = (needs as Need[]).filter(({ auth }) => auth === 'required');
  if (demanded.length > 1)
    draft.leave(path, 'several tokens were needed at once; a request carries one here, and one of them will do', true);
  if (demanded.length > 0) return together(draft, path, demanded);
  return needs.some((need) => need?.auth === 'optional') ? { auth: 'optional', providers: all } : OPEN;
}
