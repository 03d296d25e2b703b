// Where a token may stand, and the headers that tell the application who is calling.
import type { Path } from '../places.ts';
import type { RouteConfig } from '../schema.ts';
import { type Check, type CheckContext, refuse, refuseRepeated, withSecret } from './context.ts';
import { foldHeaderName, isReservedHeader } from './header-names.ts';
import { signingKeyProblem } from './key-material.ts';

/** Checks `identity_headers` and `identity_assertion`: none of HTTP's own, none twice after folding. */
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
  checkAssertion(context, seen);
};

function checkAssertion(context: CheckContext, taken: ReadonlyMap<string, string>): void {
  const { identity_assertion: assertion, name, redis } = context.config;
  if (!assertion.enabled) return;
  const path = ['identity_assertion'];
  const first = taken.get(foldHeaderName(assertion.header));
  if (first !== undefined) context.problem([...path, 'header'], `reads the same as ${first}`);
  if (isReservedHeader(assertion.header))
    context.problem([...path, 'header'], 'is a header that HTTP, proxies or we use ourselves');
  if (assertion.audience === undefined && name === undefined)
    context.problem(path, 'needs audience, or name: who may believe the assertion');
  if (redis && !assertion.keys) context.problem(path, 'needs keys with redis: replicas must share their signing keys');
  for (const [index, key] of (assertion.keys ?? []).entries())
    withSecret(context, [...path, 'keys', index], key, (pem) => signingKeyProblem(pem, assertion.algorithm));
}

type Credential = RouteConfig['credentials'][number];
/** Where oauth2-proxy puts the access token (`pass_access_token`); like any credential it counts by its signature, whoever sent it. */
const PASSED_ON = 'x-forwarded-access-token';
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Checks `credentials` of a route. */
export function checkCredentials(context: CheckContext, path: Path, credentials: readonly Credential[]): void {
  credentials.forEach((credential, index) => {
    const [kind, name] = typeof credential === 'string' ? [credential] : Object.entries(credential)[0]!;
    if (kind === 'certificate' && (context.config.proxy.tls?.client_certificate ?? 'off') === 'off')
      context.problem([...path, index], 'needs proxy.tls.client_certificate: optional or required');
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
  if (isReservedHeader(name) && name.toLowerCase() !== PASSED_ON)
    return 'is a header that HTTP, proxies or we use ourselves';
  const { identity_headers: headers, identity_assertion: assertion } = context.config;
  const identity = [...Object.keys(headers), assertion.header].map(foldHeaderName);
  return identity.includes(foldHeaderName(name))
    ? 'is an identity header, which is removed from every request'
    : undefined;
}
