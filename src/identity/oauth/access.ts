// Tokens as the grants hand them out, and the successful answer of the token endpoint (RFC 6749 section 5.1).
import type { Client } from '../../stores/contracts/clients.ts';
import type { GrantHolder } from '../../stores/contracts/grants.ts';
import type { IssuedToken } from '../../token/issue.ts';
import { audienceOf } from './codes.ts';
import { invalidGrant, OAuthError } from './errors.ts';
import type { OAuthExchange } from './exchange.ts';
import type { PersonContent } from './refresh-token.ts';
import type { OAuthAnswer } from './send.ts';

/** An access token with its scopes, which may be fewer than those of the grant. */
export interface Access {
  readonly issued: IssuedToken;
  readonly scopes: readonly string[];
}

/** What a token may say beyond who it is for. */
export type Extent = Pick<GrantHolder, 'scopes' | 'audience'>;

/** What of a code or grant its client may have now; else why it has nothing of it any more. */
export function extentLeft(
  { settings }: Pick<OAuthExchange, 'settings'>,
  client: Client,
  holder: GrantHolder,
): Extent | 'tenant_changed' | 'audience_gone' {
  // One that had none too: the person logged in to a client of nobody, and tokens of a tenant's client are the tenant's.
  if (client.tenant !== undefined && client.tenant !== holder.tenant) return 'tenant_changed';
  const [scopes, audiences] = [settings.scopesOf(client), audienceOf(client, settings)];
  const audience = holder.audience.filter((one) => audiences.includes(one));
  if (audience.length === 0) return 'audience_gone';
  return { scopes: holder.scopes.filter((scope) => scopes.includes(scope)), audience };
}

/**
 * {@link extentLeft}: what was taken from the client since, an old grant does not give it either. Throws OAuthError
 * `invalid_grant` where no audience is left, or the client has gone to another tenant.
 */
export function extentNow(exchange: OAuthExchange, client: Client, holder: GrantHolder): Extent {
  const left = extentLeft(exchange, client, holder);
  if (typeof left === 'string') throw invalidGrant(left);
  return left;
}

/** One of the audiences, as `resource` of RFC 8707 names it; all without one. Throws OAuthError `invalid_target`. */
export function audienceAsked(resource: string | undefined, allowed: readonly string[]): readonly string[] {
  if (resource === undefined) return allowed;
  if (allowed.includes(resource)) return [resource];
  throw new OAuthError('invalid_target', 'the client may not ask for this resource', { why: 'resource_not_allowed' });
}

/** Issues an access token of a person's grant. */
export async function issueForGrant(
  { settings }: OAuthExchange,
  holder: GrantHolder,
  grant: { readonly familyId: string; readonly person: PersonContent } & Extent,
): Promise<Access> {
  const { familyId, person, scopes, audience } = grant;
  const issued = await settings.signer.issueAccessToken({
    subject: holder.subject,
    client: holder.client,
    audience,
    scopes,
    family: familyId,
    ...(person.roles === undefined ? {} : { roles: person.roles }),
    ...(holder.session === undefined ? {} : { session: holder.session }),
    ...(holder.tenant === undefined ? {} : { tenant: holder.tenant }),
    // So that nobody takes a client of the same name for the person (RFC 9068 section 5).
    claims: { subject_type: 'user' },
  });
  return { issued, scopes };
}

/** The ID token beside an access token, for grants with the scope `openid`; undefined for others. */
export function idTokenFor(
  { settings }: OAuthExchange,
  holder: GrantHolder,
  { issued, scopes }: Access,
  person: PersonContent,
): Promise<string> | undefined {
  if (!scopes.includes('openid')) return undefined;
  return settings.signer.issueIdToken({
    subject: holder.subject,
    client: holder.client,
    accessToken: issued.token,
    expiresAtMs: issued.expiresAtMs,
    session: holder.session,
    authenticatedAtMs: person.authenticatedAtMs,
    nonce: person.nonce,
    claims: person.claims,
  });
}

/** The answer with tokens. */
export function tokenAnswer(
  { parts }: OAuthExchange,
  { issued, scopes }: Access,
  more: { readonly refreshToken?: string | undefined; readonly idToken?: string | undefined } = {},
): OAuthAnswer {
  return {
    status: 200,
    body: {
      access_token: issued.token,
      token_type: 'Bearer',
      expires_in: Math.max(0, Math.floor((issued.expiresAtMs - parts.clock.nowMs()) / 1000)),
      scope: scopes.join(' '),
      refresh_token: more.refreshToken,
      id_token: more.idToken,
    },
  };
}

/** The scopes asked for, or `all` without any; throws OAuthError `invalid_scope` for one beyond them (RFC 6749 section 3.3). */
export function scopesAsked(asked: string | undefined, all: readonly string[]): readonly string[] {
  if (asked === undefined) return all;
  const scopes = [...new Set(asked.split(' ').filter((scope) => scope !== ''))];
  if (scopes.length > 0 && scopes.every((scope) => all.includes(scope))) return scopes;
  throw new OAuthError('invalid_scope', 'a scope is not allowed', { why: 'scope_widened' });
}

/** Throws OAuthError `unauthorized_client` unless the client's record has the grant. */
export function requireGrant(client: Client, grant: Client['grantTypes'][number]): void {
  if (client.grantTypes.includes(grant)) return;
  throw new OAuthError('unauthorized_client', 'the client may not use this grant', { why: 'grant_not_allowed' });
}
