// Field names and what a proxy does with them: hop-by-hop fields, forwarded fields, look-alikes. Pure; the one pass over a
// request's fields is proxy/inbound/strip.ts. RFC 9110 sections 5 and 7.6.1.

/** Fields that belong to one connection and are never passed on, in either direction. */
export const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/**
 * Fields with which a client could pose as a proxy, or make the upstream see another URL, method, address or caller than we
 * judged. Compared after {@link foldName}; a name that ends in `-` is a prefix.
 */
export const overrideFields: readonly string[] = [
  'forwarded',
  'x-forwarded',
  'x-forwarded-',
  'x-original-',
  'x-rewrite-url',
  'x-envoy-',
  'x-real-ip',
  'x-client-ip',
  'client-ip',
  'true-client-ip',
  'cf-connecting-ip',
  'cf-connecting-ipv6',
  'cf-pseudo-ipv4',
  'do-connecting-ip',
  'fastly-client-ip',
  'fly-client-ip',
  'proxy-client-ip',
  'wl-proxy-client-ip',
  'x-appengine-user-ip',
  'x-azure-clientip',
  'x-azure-socketip',
  'x-cluster-client-ip',
  'x-nf-client-connection-ip',
  // Who is calling, in the words of other proxies: an application that stood behind one of them believes it still. REMOTE_USER of
  // CGI and Authelia, Kubernetes, oauth2-proxy, Grafana, authentik, Google, Azure, Tailscale.
  'remote-user',
  'remote-groups',
  'remote-name',
  'remote-email',
  'x-remote-',
  'x-auth-request-',
  'x-webauth-',
  'x-authentik-',
  'x-goog-authenticated-user-',
  'x-ms-client-principal',
  'x-ms-client-principal-',
  'tailscale-user-',
  // Whose certificate was shown, in the words of proxies that end mutual TLS: ingress-nginx, HAProxy, Traefik's, Azure, AWS.
  'ssl-client-',
  'x-ssl-client-',
  'x-ssl-cert',
  'x-client-cert',
  'x-client-cert-',
  'x-client-dn',
  'x-client-verify',
  'x-arr-clientcert',
  'x-amzn-mtls-',
  // HTTP_PROXY in the environment of a CGI program: the proxy of the requests that it makes (httpoxy, CVE-2016-5385).
  'proxy',
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-http-host-override',
  'x-host',
];

/**
 * One spelling for all names that some server reads alike: names are case-insensitive, CGI and WSGI turn `-` into `_`, PHP `.`
 * too, and lighttpd whatever is no letter or digit. `X_Auth!Subject` folds to `x-auth-subject`.
 */
export function foldName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-');
}

/** True when `folded` is one of {@link overrideFields}. */
export function isOverride(folded: string): boolean {
  return overrideFields.some((field) => (field.endsWith('-') ? folded.startsWith(field) : folded === field));
}

/** Lower-cased tokens of a comma-separated list field. */
export function listTokens(value: string): readonly string[] {
  return value
    .toLowerCase()
    .split(',')
    .map((token) => token.trim())
    .filter((token) => token !== '');
}

/** First value of a field in a flat array of names and values; `name` in lower case. */
export function findField(raw: readonly string[], name: string): string | undefined {
  for (let at = 0; at < raw.length; at += 2) {
    if ((raw[at] as string).toLowerCase() === name) return raw[at + 1];
  }
  return undefined;
}
