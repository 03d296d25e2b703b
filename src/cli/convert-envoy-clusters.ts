// Envoy's clusters as upstreams: those that routes lead to. What only serves key sets is not needed, and others are said.
import { formatPath, type Path } from '../config/places.ts';
import { type Block, type Draft, durationOf, type SourceTree } from './convert-draft.ts';
import { kindAt } from './convert-envoy-kinds.ts';

/** Takes clusters and writes `upstreams`, under the names that `used` gives. */
export function takeClusters(
  source: SourceTree,
  draft: Draft,
  used: ReadonlyMap<string, string>,
  keyClusters: ReadonlySet<string>,
): void {
  const upstreams: Block = {};
  for (const cluster of source.elements(['static_resources', 'clusters'])) {
    const name = String(source.look([...cluster, 'name']));
    const upstream = used.get(name);
    if (upstream !== undefined) upstreams[upstream] = upstreamBlock(source, draft, cluster);
    else if (keyClusters.has(name)) source.take(cluster);
    else {
      source.take(cluster);
      draft.leave(cluster, `no route that was converted leads to ${name}`);
    }
  }
  for (const [cluster, upstream] of used) {
    if (upstreams[upstream] !== undefined) continue;
    draft.leave('static_resources.clusters', `${cluster} is not there; put the address of your application`);
    upstreams[upstream] = { url: 'http://127.0.0.1:1' };
  }
  draft.tree.upstreams = upstreams;
}

function upstreamBlock(source: SourceTree, draft: Draft, at: Path): Block {
  for (const key of ['name', 'type', 'lb_policy', 'dns_lookup_family']) source.take([...at, key]);
  const tls = takeTls(source, draft, [...at, 'transport_socket']);
  const urls = takeEndpoints(source, draft, at, tls === undefined ? 'http' : 'https');
  const timeout = durationOf(source.take([...at, 'connect_timeout']));
  const isHttp2 = takeProtocol(source, at);
  const health = takeHealth(source, [...at, 'health_checks', 0]);
  return {
    url: urls.length === 1 ? urls[0] : urls,
    ...(isHttp2 && { protocol: 'http2' }),
    ...(timeout !== undefined && { connect_timeout: timeout }),
    ...(tls !== undefined && Object.keys(tls).length > 0 && { tls }),
    ...(health !== undefined && { health }),
  };
}

function takeEndpoints(source: SourceTree, draft: Draft, at: Path, scheme: string): string[] {
  const urls: string[] = [];
  source.take([...at, 'load_assignment', 'cluster_name']);
  for (const locality of source.elements([...at, 'load_assignment', 'endpoints']))
    for (const each of source.elements([...locality, 'lb_endpoints'])) {
      const address = [...each, 'endpoint', 'address'];
      const pipe = source.take([...address, 'pipe', 'path']);
      const host = source.take([...address, 'socket_address', 'address']) as string | undefined;
      const port = source.take([...address, 'socket_address', 'port_value']);
      if (typeof pipe === 'string') urls.push(`unix:${pipe}`);
      else if (host !== undefined) urls.push(`${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`);
    }
  if (urls.length > 0) return urls;
  draft.leave([...at, 'load_assignment'], 'names no address; put that of your application');
  return ['http://127.0.0.1:1'];
}

function takeTls(source: SourceTree, draft: Draft, at: Path): Block | undefined {
  if (kindAt(source, at) !== 'envoy.transport_sockets.tls') return undefined;
  source.take([...at, 'name']);
  const config = [...at, 'typed_config'];
  source.take([...config, '@type']);
  const name = source.take([...config, 'sni']);
  const ca = source.take([...config, 'common_tls_context', 'validation_context', 'trusted_ca', 'filename']);
  if (source.look([...config, 'common_tls_context', 'validation_context']) === undefined)
    draft.note(
      `${formatPath(at)}: Envoy compared its certificate with nothing; here it is verified, see \`upstreams.<name>.tls.ca\``,
    );
  return {
    // Node's own authorities are what a file of the system holds anyway.
    ...(typeof ca === 'string' && !/^\/etc\/ssl\/certs\/ca-certificates\.crt$/.test(ca) && { ca: { file: ca } }),
    ...(typeof name === 'string' && { server_name: name }),
  };
}

function takeProtocol(source: SourceTree, at: Path): boolean {
  const options = [...at, 'typed_extension_protocol_options', 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'];
  const isHttp2 = source.look([...options, 'explicit_http_config', 'http2_protocol_options']) !== undefined;
  if (isHttp2) source.take(options);
  // As it was written before that.
  return source.take([...at, 'http2_protocol_options']) !== undefined || isHttp2;
}

function takeHealth(source: SourceTree, at: Path): Block | undefined {
  const path = source.take([...at, 'http_health_check', 'path']);
  if (typeof path !== 'string') return undefined;
  const [interval, timeout] = [
    durationOf(source.take([...at, 'interval'])),
    durationOf(source.take([...at, 'timeout'])),
  ];
  const [healthy, unhealthy] = [source.take([...at, 'healthy_threshold']), source.take([...at, 'unhealthy_threshold'])];
  return {
    path,
    ...(interval !== undefined && { interval }),
    ...(timeout !== undefined && { timeout }),
    ...(typeof healthy === 'number' && { healthy }),
    ...(typeof unhealthy === 'number' && { unhealthy }),
  };
}
