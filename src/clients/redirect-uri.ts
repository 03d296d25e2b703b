// Redirect URIs of clients: which may be registered, and which of them a request names. Exact match (RFC 9700 2.1), so that
// no pattern can be bent; the one exception is the port of a native application on a loopback address (RFC 8252 7.3).

const LOOPBACK_LITERAL = /^(?:127(?:\.\d{1,3}){3}|\[::1\])$/;
const isLoopback = (host: string) => host === 'localhost' || LOOPBACK_LITERAL.test(host);
/** RFC 8252 7.1: schemes of native applications are reversed domain names; that also leaves out javascript and data. */
const PRIVATE_SCHEME = /^[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+:$/;

/** Longest one that is taken. */
export const MAX_REDIRECT_URI = 2000;

/** Why this cannot be a redirect URI; undefined when it can. `isPublic`: native applications are public clients. */
export function redirectUriProblem(text: string, isPublic: boolean): string | undefined {
  if (text.length > MAX_REDIRECT_URI) return `is longer than ${MAX_REDIRECT_URI} characters`;
  if (!/^[\x21-\x7e]+$/.test(text)) return 'holds characters that a URI cannot have';
  // Browsers take a backslash for a slash, and then another host is meant than the one that was judged.
  if (/[\\*]/.test(text)) return 'holds a backslash or a wildcard';
  if (text.includes('#')) return 'has a fragment';
  const url = URL.parse(text);
  if (url === null) return 'is no absolute URI';
  if (url.username !== '' || url.password !== '' || /^[^/]*\/\/[^/?]*@/.test(text)) return 'holds credentials';
  if (url.protocol === 'https:') return normalProblem(text, url);
  if (url.protocol === 'http:') {
    return isLoopback(url.hostname) ? normalProblem(text, url) : 'needs https, but for loopback addresses';
  }
  if (!isPublic || !PRIVATE_SCHEME.test(url.protocol)) {
    return 'needs https; or for a public client a loopback address or a scheme that is a reversed domain name';
  }
  return undefined;
}

/** One spelling only: dot segments, default ports and odd hosts would be judged in one form and followed in another. */
function normalProblem(text: string, url: URL): string | undefined {
  return url.href === text || (url.pathname === '/' && url.href.replace(/\/(?=\?|$)/, '') === text)
    ? undefined
    : 'is not in its normal form';
}

/** True when the presented URI is one of the registered ones, byte for byte but for the port on a loopback address. */
export function matchesRedirectUri(
  client: { readonly type: 'confidential' | 'public'; readonly redirectUris: readonly string[] },
  presented: string,
): boolean {
  if (client.redirectUris.includes(presented)) return true;
  if (client.type !== 'public' || redirectUriProblem(presented, true) !== undefined) return false;
  const wanted = withoutLoopbackPort(presented);
  return wanted !== undefined && client.redirectUris.some((registered) => withoutLoopbackPort(registered) === wanted);
}

/** Undefined where the port counts. Not for `localhost`, which need not be the loopback address (RFC 8252 8.3). */
function withoutLoopbackPort(text: string): string | undefined {
  const match = /^http:\/\/(127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?(?=[/?]|$)(.*)$/.exec(text);
  return match === null ? undefined : `${match[1]} ${match[2]}`;
}
