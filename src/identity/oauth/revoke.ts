// Revocation (RFC 7009). An access token is refused everywhere from the next request on, and its grant goes on; a refresh token
// ends its whole family, access tokens included.
import type { RevocationDraft } from '../../stores/contracts/revocations.ts';
import { readForm } from './body.ts';
import { authenticateClient } from './client-authentication.ts';
import { invalidRequest, OAuthError } from './errors.ts';
import { type OAuthExchange, record } from './exchange.ts';
import { endFamily } from './families.ts';
import { type PresentedToken, readPresented } from './presented-token.ts';
import type { OAuthAnswer } from './send.ts';

const DONE: OAuthAnswer = Object.freeze({ status: 200 });

/** POST revoke: 200 also for a token that is no token, or none any more (RFC 7009 section 2.2). */
export async function revokeEndpoint(exchange: OAuthExchange): Promise<OAuthAnswer> {
  const { parts, settings } = exchange;
  const form = await readForm(exchange.request);
  const { client } = await authenticateClient(exchange, form, 'revoke', { allowPublic: true });
  const token = form.get('token');
  if (token === undefined) throw invalidRequest('token is missing');
  await parts.audit.requireRoom();
  const presented = await readPresented(token, parts, settings);
  if (presented === undefined) return DONE;
  const { owner, subject, details } = described(presented);
  if (owner !== client.clientId) {
    // RFC 7009 section 2.1: the caller holds the token, so this tells it nothing; the token stays good (attack 88).
    throw new OAuthError('unauthorized_client', 'the token was issued to another client');
  }
  if (presented.kind === 'refresh') {
    await endFamily(presented.token.family.familyId, 'revoked', parts, settings);
  } else await parts.revocations.revoke(accessDraft(exchange, presented));
  await record(exchange, 'token.revoked', client, { subject, details });
  parts.metrics.tokenOperations.labels('revoke').inc();
  return DONE;
}

function described(presented: PresentedToken) {
  if (presented.kind === 'refresh') {
    const { family } = presented.token;
    return { owner: family.client, subject: family.subject, details: { family: family.familyId } };
  }
  const { client, subject, tokenId } = presented.principal;
  return { owner: client, subject, details: { token_id: tokenId } };
}

/** Lives exactly as long as what it refuses. */
function accessDraft(
  { settings }: OAuthExchange,
  { principal }: Extract<PresentedToken, { kind: 'access' }>,
): RevocationDraft {
  const untilMs = principal.expiresAtMs + settings.clockToleranceMs;
  return { kind: 'token', issuer: settings.issuer, id: principal.tokenId, untilMs, reason: 'client' };
}
