// Which header names the configuration may claim for identity or credentials, and which belong to HTTP or to us.

const RESERVED = new Set(
  ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'http2-settings']
    .concat([
      'proxy-authenticate',
      'proxy-authorization',
      'proxy-authentication-info',
      'expect',
      'host',
      'via',
      'range',
    ])
    .concat([
      'authorization',
      'cookie',
      'set-cookie',
      'origin',
      'referer',
      'date',
      'forwarded',
      'x-real-ip',
      'x-client-ip',
    ])
    .concat(['x-request-id', 'traceparent', 'tracestate', 'x-original-url', 'x-original-uri', 'x-original-method'])
    .concat(['x-rewrite-url', 'x-http-method', 'x-http-method-override', 'x-method-override', 'user-agent']),
);
// But the four that say who is calling: applications that stood behind oauth2-proxy read them.
const RESERVED_FAMILIES =
  /^(x-forwarded(?!-(user|email|groups|preferred-username)$)|content|accept|if|sec|access-control|www|x-doorward)-|^accept$/;

/** The form in which header names are compared: applications fold case, and many fold `_` and `.` into `-`. */
export function foldHeaderName(name: string): string {
  return name.toLowerCase().replace(/[_.]/g, '-');
}

/** True for names that carry meaning for HTTP, for proxies or for us. */
export function isReservedHeader(name: string): boolean {
  const folded = foldHeaderName(name);
  return RESERVED.has(folded) || RESERVED_FAMILIES.test(folded);
}
