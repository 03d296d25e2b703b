// Who is calling, told to the upstream in headers that nobody else can set (design 4.10). The identity part of a token
// never changes while it lives in the cache, so it is built once per verified token; an assertion is renewed at half its time.
import type { SidecarConfig } from '../../config/schema.ts';
import type { Clock } from '../../core/clock.ts';
import { encodeHeaderElement } from '../../core/encoding.ts';
import type { Principal } from '../../core/principal.ts';
import type { IdentityHeaders, VerifiedToken } from '../../token/verified-token.ts';
import type { AssertionPlan } from './assertion.ts';

/** The identity headers of a verified token. */
export type IdentityPlan = (token: VerifiedToken) => IdentityHeaders;

type Source = SidecarConfig['identity_headers'][string];
type Word = Extract<Source, string>;

/** Larger values are left out rather than cut: half an identity is none. */
const MAX_VALUE = 8192;

/** Compiles `identity_headers`, with the assertion beside them where there is one. */
export function identityPlan(
  headers: SidecarConfig['identity_headers'],
  assertions: AssertionPlan | undefined,
  clock: Clock,
): IdentityPlan {
  const plan = Object.entries(headers).map(([name, source]) => [name, readerOf(source)] as const);
  const build = (token: VerifiedToken): IdentityHeaders => {
    const built: string[] = [];
    const put = (name: string, value: string | undefined) => {
      if (value !== undefined && value !== '' && value.length <= MAX_VALUE) built.push(name, value);
    };
    for (const [name, read] of plan) put(name, read(token.principal));
    const assertion = assertions?.assert(token);
    if (assertions !== undefined) put(assertions.header, assertion?.jwt);
    let lines = '';
    for (let at = 0; at < built.length; at += 2) lines += `${built[at]}: ${built[at + 1]}\r\n`;
    // Through a buffer: one flat string instead of the tree of pieces that V8 would flatten for every request.
    const flat = Buffer.from(lines, 'latin1').toString('latin1');
    return { fields: built, lines: flat, staleAtMs: assertion?.staleAtMs ?? Number.POSITIVE_INFINITY };
  };
  const plain: IdentityPlan = (token) => {
    token.identityHeaders ??= build(token);
    return token.identityHeaders;
  };
  const asserting: IdentityPlan = (token) => {
    const held = token.identityHeaders;
    if (held === undefined || held.staleAtMs <= clock.nowMs()) token.identityHeaders = build(token);
    return token.identityHeaders as IdentityHeaders;
  };
  return assertions === undefined ? plain : asserting;
}

function readerOf(source: Source): (principal: Principal) => string | undefined {
  if (typeof source === 'string') return words[source];
  if (source.format === 'json_base64url') {
    return (principal) => {
      const value = claimAt(principal, source.claim);
      return value === undefined ? undefined : Buffer.from(JSON.stringify(value)).toString('base64url');
    };
  }
  return (principal) => asText(claimAt(principal, source.claim));
}

const text = (value: string | undefined) => (value === undefined ? undefined : encodeHeaderElement(value));

const words: Readonly<Record<Word, (principal: Principal) => string | undefined>> = {
  subject: (principal) => text(principal.subject),
  issuer: (principal) => text(principal.issuer),
  client: (principal) => text(principal.client),
  scopes: (principal) => principal.scopes.map((scope) => encodeHeaderElement(scope).replaceAll(' ', '%20')).join(' '),
  roles: (principal) => principal.roles.map(encodeHeaderElement).join(','),
  tenant: (principal) => text(principal.tenant),
  token_id: (principal) => text(principal.tokenId),
  session: (principal) => text(principal.session),
};

function claimAt(principal: Principal, path: readonly string[]): unknown {
  let value: unknown = principal.claims;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** Scalars as text, arrays of scalars joined with `,`; objects only through `format: json_base64url` (attack 30). */
function asText(value: unknown): string | undefined {
  if (typeof value === 'string') return encodeHeaderElement(value);
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (!Array.isArray(value)) return undefined;
  const elements = value.map((element) => (Array.isArray(element) ? undefined : asText(element)));
  return elements.includes(undefined) ? undefined : elements.join(',');
}
