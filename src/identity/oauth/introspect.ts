// Introspection (RFC 7662): what a token says, for those whom it concerns. Unknown, expired, revoked, somebody else's: the same
// bytes, because a difference would tell a thief what the token is good for (attack 93).
import type { Principal } from '../../core/principal.ts';
import type { Client } from '../../stores/contracts/clients.ts';
import { extentLeft } from './access.ts';
import { readForm } from './body.ts';
import { authenticateClient } from './client-authentication.ts';
import { invalidRequest } from './errors.ts';
import type { OAuthExchange } from './exchange.ts';
import { type GenuineToken, isLive, isRevoked } from './families.ts';
import { unavailable } from './limits.ts';
import { readPresented } from './presented-token.ts';
import type { OAuthAnswer } from './send.ts';

const INACTIVE: OAuthAnswer = Object.freeze({ status: 200, body: '{"active":false}', headers: json() });

function json(): readonly string[] {
  return ['Content-Type', 'application/json', 'Cache-Control', 'no-store', 'Pragma', 'no-cache'];
}

/** POST introspect. */
export async function introspectEndpoint(exchange: OAuthExchange): Promise<OAuthAnswer> {
  const { parts, settings } = exchange;
  const form = await readForm(exchange.request);
  const { client, head } = await authenticateClient(exchange, form, 'introspect', { allowPublic: false });
  const token = form.get('token');
  if (token === undefined) throw invalidRequest('token is missing');
  parts.metrics.tokenOperations.labels('introspect').inc();
  const presented = await readPresented(token, parts, settings);
  if (presented === undefined) return INACTIVE;
  await parts.revocations.observe(head);
  if (!parts.revocations.isKnown()) throw unavailable();
  return presented.kind === 'access'
    ? introspectAccess(exchange, client, presented.principal)
    : introspectRefresh(exchange, client, presented.token);
}

async function introspectAccess(exchange: OAuthExchange, caller: Client, principal: Principal): Promise<OAuthAnswer> {
  const { parts, settings } = exchange;
  if (!mayKnow(exchange, caller, principal) || parts.revocations.refuses(principal) !== undefined) return INACTIVE;
  if (await isDisabled(exchange, caller, principal.client)) return INACTIVE;
  const { claims, subject, client, scopes, roles, tenant, session, tokenId, expiresAtMs, issuedAtMs } = principal;
  const body = {
    active: true,
    iss: settings.issuer,
    sub: subject,
    aud: claims.aud,
    client_id: client,
    scope: scopes.join(' '),
    token_type: 'Bearer',
    exp: Math.floor(expiresAtMs / 1000),
    iat: issuedAtMs === undefined ? undefined : Math.floor(issuedAtMs / 1000),
    jti: tokenId,
    subject_type: claims.subject_type ?? 'user',
    sid: session,
    tenant,
    roles: roles.length > 0 ? roles : undefined,
  };
  return { status: 200, body, headers: json() };
}

/** A refresh token is its own client's business only; it says what it can still obtain. Introspecting it spends nothing. */
async function introspectRefresh(
  exchange: OAuthExchange,
  caller: Client,
  { family, counter }: GenuineToken,
): Promise<OAuthAnswer> {
  const { parts, settings } = exchange;
  const isNext =
    counter === family.counter &&
    isLive(family, parts.clock.nowMs()) &&
    !isRevoked(family, family.familyId, parts, settings);
  if (!isNext || family.client !== caller.clientId || !caller.grantTypes.includes('refresh_token')) return INACTIVE;
  const left = extentLeft(exchange, caller, family);
  if (typeof left === 'string') return INACTIVE;
  const body = {
    active: true,
    iss: family.issuer,
    sub: family.subject,
    client_id: family.client,
    scope: left.scopes.join(' '),
    token_type: 'refresh_token',
    exp: Math.floor(family.idleUntilMs / 1000),
    iat: Math.floor((family.rotatedAtMs ?? family.createdAtMs) / 1000),
  };
  return { status: 200, body, headers: json() };
}

/** Its own, one meant for it, or any with the scope `introspect`; for a client of a tenant any of the tenant. */
function mayKnow({ settings }: OAuthExchange, caller: Client, { client, claims, tenant }: Principal): boolean {
  const audience = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
  if (client === caller.clientId || audience.includes(caller.clientId)) return true;
  // Operators of a tenant choose the scopes of its clients.
  const isWithin = caller.tenant === undefined || caller.tenant === tenant;
  return isWithin && settings.scopesOf(caller).includes('introspect');
}

async function isDisabled({ parts, settings }: OAuthExchange, caller: Client, clientId?: string): Promise<boolean> {
  if (clientId === undefined || clientId === caller.clientId) return false;
  return (await parts.clients.get(settings.issuer, clientId))?.disabled ?? false;
}
