// Which extension an entry of Envoy's lists is, and what Doorward has instead of settings that no mapping takes.
import type { Path } from '../config/places.ts';
import type { SourceTree } from './convert-draft.ts';

/**
 * The extension, under its usual name such as envoy.filters.http.jwt_authn. Envoy goes by the type of the configuration, and so do we:
 * the name is somebody's choice, and counts where no type is written.
 */
export function kindAt(source: SourceTree, at: Path): string {
  const type = source.look([...at, 'typed_config', '@type']);
  const [, kind] = /\/envoy\.extensions\.([a-z0-9_.]+)\.v\d+\w*\.\w+$/.exec(String(type)) ?? [];
  return kind === undefined ? String(source.look([...at, 'name'])) : `envoy.${kind}`;
}

/** End of a path, and what to look at. */
const HINTS: readonly (readonly [end: RegExp, hint: string])[] = [
  [/\.xff_num_trusted_hops$/, 'proxies are named by address here; see `proxy.trusted_proxies`'],
  [
    /\.(?:prefix_rewrite|regex_rewrite|path_rewrite_policy)$/,
    'paths go on as they came: the application has to serve them',
  ],
  [/\.(?:host_rewrite_literal|auto_host_rewrite|host_rewrite_header)$/, 'see `upstreams.<name>.host`'],
  [/\.(?:pad_)?forward_payload_header$|\.payload_in_metadata$/, 'see `identity_headers` and `identity_assertion`'],
  [/\.cors$/, 'see `routes.<name>.cors`'],
  [
    /\.(?:common_http_protocol_options|stream_idle_timeout|request_timeout|request_headers_timeout)$/,
    'see `proxy.keep_alive`, `proxy.header_timeout` and `defaults.idle_timeout`',
  ],
  [/\.outlier_detection$/, 'see `upstreams.<name>.ejection`'],
  [/\.retry_policy$/, 'what was sent is never sent again here; see `upstreams.<name>.retries`'],
  [/\.circuit_breakers$/, 'see `upstreams.<name>.connections` and `queue`'],
];

/** What to say of a setting that nothing took. */
export const hintFor = (path: string): string =>
  HINTS.find(([end]) => end.test(path))?.[1] ?? 'has no counterpart here';
