// refresh_token (RFC 6749 section 6, RFC 9700 4.14): every token works once; a retry within the grace gets the same
// successor, because the first answer may have been lost; any later use ends the family.
import type { Client } from '../../stores/contracts/clients.ts';
import {
  audienceAsked,
  extentNow,
  idTokenFor,
  issueForGrant,
  requireGrant,
  scopesAsked,
  tokenAnswer,
} from './access.ts';
import type { Form } from './body.ts';
import { invalidGrant, invalidRequest } from './errors.ts';
import { type OAuthExchange, record } from './exchange.ts';
import { currentRefreshToken, endFamily, type GenuineToken, openToken, refuseRevoked } from './families.ts';
import type { OAuthAnswer } from './send.ts';

/** Redeems a refresh token. */
export async function refreshGrant(exchange: OAuthExchange, client: Client, form: Form): Promise<OAuthAnswer> {
  const { parts, settings } = exchange;
  requireGrant(client, 'refresh_token');
  const token = form.get('refresh_token');
  if (token === undefined) throw invalidRequest('refresh_token is missing');
  const opened = await openToken(token, parts, settings);
  if (opened === undefined) throw invalidGrant('refresh_token_unknown');
  const { family: before, content } = opened;
  if (before.client !== client.clientId) throw invalidGrant('refresh_token_of_another_client');
  const held = extentNow(exchange, client, before);
  const scopes = scopesAsked(form.get('scope'), held.scopes);
  const audience = audienceAsked(form.get('resource'), held.audience);
  refuseRevoked(before, before.familyId, parts, settings);
  const family = await rotate(exchange, client, opened);
  const { familyId } = family;
  const access = await issueForGrant(exchange, family, { familyId, person: content.person, scopes, audience });
  const idToken = await idTokenFor(exchange, family, access, content.person);
  await record(exchange, 'token.refreshed', client, {
    subject: family.subject,
    tenant: family.tenant,
    details: { family: familyId, number: family.counter, token_id: access.issued.tokenId, scopes },
  });
  parts.metrics.tokenOperations.labels('refresh').inc();
  return tokenAnswer(exchange, access, { refreshToken: currentRefreshToken(content, family), idToken });
}

async function rotate(exchange: OAuthExchange, client: Client, { family, counter }: GenuineToken) {
  const { parts, settings } = exchange;
  const nowMs = parts.clock.nowMs();
  const rotation = await parts.grants.rotate(family.familyId, counter, {
    nowMs,
    graceMs: settings.refreshGraceMs,
    idleUntilMs: nowMs + settings.refreshIdleMs,
  });
  if (rotation.outcome === 'rotated' || rotation.outcome === 'repeated') return rotation.family;
  if (rotation.outcome === 'dead') {
    // Whoever found the reuse may have died before the access tokens were refused; refuseRevoked found no entry.
    if (family.endReason !== undefined) await endFamily(family.familyId, family.endReason, parts, settings);
    throw invalidGrant('family_ended');
  }
  await endFamily(family.familyId, 'reuse', parts, settings);
  await record(exchange, 'token.reuse_detected', client, {
    outcome: 'failure',
    reason: 'invalid_grant',
    subject: family.subject,
    tenant: family.tenant,
    details: { family: family.familyId, number: counter },
  });
  throw invalidGrant('refresh_token_reused');
}
