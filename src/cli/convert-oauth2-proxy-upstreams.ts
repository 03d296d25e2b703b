// Upstreams of oauth2-proxy: the path of each URL says which requests it gets.
import { pathProblem } from '../config/checks/match.ts';
import { type Block, type Draft, namer, type SourceTree } from './convert-draft.ts';
import { listAt } from './convert-oauth2-proxy-issuers.ts';

/** An upstream with the route that leads to it. */
export interface Upstream {
  readonly route: string;
  readonly upstream: string;
  readonly match: { readonly prefix?: string; readonly path?: string };
}

/** Takes them, and writes `upstreams`. */
export function takeUpstreams(source: SourceTree, draft: Draft): Upstream[] {
  const [upstreamOf, routeOf] = [namer('app'), namer('route')];
  const keepsHost = source.take(['pass_host_header']) !== false;
  if (source.take(['ssl_upstream_insecure_skip_verify']) === true)
    draft.leave(
      'ssl_upstream_insecure_skip_verify',
      'certificates of upstreams are always verified; see upstreams.<name>.tls.ca',
    );
  if (source.take(['proxy_websockets']) === false) draft.leave('proxy_websockets', 'WebSockets are passed on');
  const blocks: Block = {};
  const found: Upstream[] = [];
  for (const [index, text] of listAt(source, 'upstreams', 'upstream').entries()) {
    const url = URL.parse(text);
    if (url === null || !/^(?:https?|unix):$/.test(url.protocol)) {
      draft.leave(
        `upstreams[${index}]`,
        'is not http, https or unix: Doorward serves no files and no answers of its own',
      );
      continue;
    }
    const isUnix = url.protocol === 'unix:';
    const path = isUnix ? '/' : decodeURI(url.pathname);
    const problem = pathProblem(path, 'path');
    if (problem !== undefined) {
      draft.leave(`upstreams[${index}]`, `${path} cannot be the path of a route: ${problem}`);
      continue;
    }
    const name = isUnix ? 'app' : url.host;
    const upstream = upstreamOf(/^(?:localhost|127\.0\.0\.1|\[::1\])/.test(name) ? 'app' : name);
    const origin = isUnix ? `unix:${url.pathname}` : url.origin;
    const known = blocks[upstream] as { url: string } | undefined;
    const block = known !== undefined && known.url !== origin ? upstreamOf(`${name} ${index}`) : upstream;
    blocks[block] = { url: origin, ...(!keepsHost && { host: 'upstream' }) };
    // A path with a slash at its end takes everything below, one without is that path alone.
    const match = path === '/' ? { prefix: '/' } : path.endsWith('/') ? { prefix: path.slice(0, -1) } : { path };
    found.push({ route: routeOf(path === '/' ? 'all' : path), upstream: block, match });
  }
  if (found.length === 0) {
    draft.leave('upstreams', 'names no application; put the address of yours');
    blocks.app = { url: 'http://127.0.0.1:1' };
    found.push({ route: 'all', upstream: 'app', match: { prefix: '/' } });
  }
  draft.tree.upstreams = blocks;
  return found;
}
