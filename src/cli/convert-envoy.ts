// From Envoy's static configuration: the first HTTP listener with its jwt_authn filter, routes and clusters. Envoy takes the first
// route and the first rule that match, Doorward the longest: convert-envoy-routes.ts turns one into the other.
import { parseDocument } from 'yaml';
import { formatPath, type Path } from '../config/places.ts';
import { Draft, SourceTree } from './convert-draft.ts';
import { takeClusters } from './convert-envoy-clusters.ts';
import { takeFilters } from './convert-envoy-filters.ts';
import { hintFor, kindAt } from './convert-envoy-kinds.ts';
import { takeRoutes } from './convert-envoy-routes.ts';
import { CliError } from './exit-codes.ts';

/** Settings that refuse somebody, by a word of their path or in them: filters beside ours, certificates of clients, what a route overrides. */
const GUARDS =
  /\.filters\[|auth|rbac|rate_?limit|require_client_certificate|validation_context|require_tls|typed_per_filter_config|filter_state_rules/;

const HTTP = 'envoy.filters.network.http_connection_manager';

/** Converts the text of a bootstrap file. Throws CliError `usage` for a text that is none. */
export function convertEnvoy(text: string): Draft {
  const document = parseDocument(text, { version: '1.1', maxAliasCount: 100, logLevel: 'error' } as never);
  if (document.errors.length > 0) throw new CliError('usage', `no YAML: ${document.errors[0]?.message}`);
  const source = new SourceTree(document.toJS());
  const draft = new Draft();
  const manager = findManager(source);
  if (manager === undefined) throw new CliError('usage', `no ${HTTP} in static_resources.listeners`);
  takeListener(source, draft, manager);
  const filters = takeFilters(source, draft, [...manager.config, 'http_filters']);
  const used = takeRoutes(source, draft, [...manager.config, 'route_config'], filters);
  takeClusters(source, draft, used, filters.keyClusters);
  ignore(source, manager);
  for (const { path, value } of source.untouched()) {
    // Names of providers are somebody's choice, and may be words of guards.
    const place = path.replace(formatPath(manager.config), '').replace(/\.providers\.[^.]+/, '');
    const within = `${place} ${JSON.stringify(value)}`;
    draft.leave(path, hintFor(path), !path.startsWith('static_resources.clusters') && GUARDS.test(within));
  }
  return draft;
}

interface Manager {
  readonly listener: Path;
  readonly chain: Path;
  readonly filter: Path;
  /** Its `typed_config`. */
  readonly config: Path;
}

function findManager(source: SourceTree): Manager | undefined {
  for (const listener of source.elements(['static_resources', 'listeners']))
    for (const chain of source.elements([...listener, 'filter_chains']))
      for (const filter of source.elements([...chain, 'filters']))
        if (kindAt(source, filter) === HTTP) return { listener, chain, filter, config: [...filter, 'typed_config'] };
  return undefined;
}

function takeListener(source: SourceTree, draft: Draft, { listener, chain, config }: Manager): void {
  const address = [...listener, 'address', 'socket_address'];
  const [host, port] = [source.take([...address, 'address']), source.take([...address, 'port_value'])];
  const proxy: Record<string, unknown> = {};
  if (typeof host === 'string' && typeof port === 'number')
    proxy.listen = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const tls = [...chain, 'transport_socket', 'typed_config', 'common_tls_context'];
  const certificates = source.elements([...tls, 'tls_certificates']).map((each) => ({
    certificate: { file: source.take([...each, 'certificate_chain', 'filename']) },
    key: { file: source.take([...each, 'private_key', 'filename']) },
  }));
  if (certificates.length > 0) {
    source.take([...chain, 'transport_socket', 'name']);
    source.take([...chain, 'transport_socket', 'typed_config', '@type']);
    proxy.tls = { certificates };
    const protocols = source.take([...tls, 'alpn_protocols']);
    if (Array.isArray(protocols) && protocols.includes('h2')) proxy.http2 = true;
  }
  if (source.look([...config, 'use_remote_address']) === true) source.take([...config, 'use_remote_address']);
  if (Object.keys(proxy).length > 0) draft.tree.proxy = proxy;
}

/** What needs no counterpart: names, types, and what Doorward does anyway. */
function ignore(source: SourceTree, { listener, filter, config }: Manager): void {
  const dull = [
    'stat_prefix',
    'codec_type',
    'access_log',
    '@type',
    'normalize_path',
    'merge_slashes',
    'upgrade_configs',
    'generate_request_id',
  ];
  for (const key of dull) source.take([...config, key]);
  source.take([...filter, 'name']);
  source.take([...listener, 'name']);
  source.take([...listener, 'address', 'socket_address', 'protocol']);
  for (const key of ['admin', 'node', 'layered_runtime', 'stats_sinks', 'stats_config']) source.take([key]);
}
