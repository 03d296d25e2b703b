// Where a token may stand, and the headers that tell the application who is calling.
import type { Path } from '../places.ts';
import type { RouteConfig } from '../schema.ts';
import { type Check, type CheckContext, refuse, refuseRepeated } from './context.ts';
import { foldHeaderName, isReservedHeader } from './header-names.ts';

/** Checks `identity_headers`: none of HTTP's own, none twice after folding. */
export const checkIdentityHeaders: Check = (context) => {
  const seen = new Map<string, string>();
  for (const name of Object.keys(context.config.identity_headers)) {
    const path = ['identity_headers', name];
    const folded = foldHeaderName(name);
    const first = seen.get(folded);
    const atKey = { atKey: true };
    if (isReservedHeader(name)) context.problem(path, 'is a header that HTTP, proxies or we use ourselves', atKey);
    if (first !== undefined) context.problem(path, `reads the same as ${first}`, atKey);
    seen.set(folded, name);
  }
};

type Credential = RouteConfig['credentials'][number];
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Checks `credentials` of a route. */
export function checkCredentials(context: CheckContext, path: Path, credentials: readonly Credential[]): void {
  credentials.forEach((credential, index) => {
    const [kind, name] = typeof credential === 'string' ? [credential] : Object.entries(credential)[0]!;
    if (name === undefined) return;
    refuse(context, [...path, index], nameProblem(context, kind, name));
    if (kind === 'query') context.warn([...path, index], 'tokens in the query end up in logs and histories of others');
  });
  const words = credentials.map((each) => JSON.stringify(each).toLowerCase());
  refuseRepeated(context, words, path, 'the credential');
}

function nameProblem(context: CheckContext, kind: string, name: string): string | undefined {
  if (kind === 'query') return /^[A-Za-z0-9_.~-]+$/.test(name) ? undefined : 'needs a plain query parameter name';
  if (!TOKEN.test(name)) return `needs a ${kind} name`;
  if (kind !== 'header') return undefined;
  if (foldHeaderName(name) === 'authorization') return 'is what bearer reads; use bearer';
  if (isReservedHeader(name)) return 'is a header that HTTP, proxies or we use ourselves';
  const identity = Object.keys(context.config.identity_headers).map(foldHeaderName);
  return identity.includes(foldHeaderName(name))
    ? 'is an identity header, which is removed from every request'
    : undefined;
}
