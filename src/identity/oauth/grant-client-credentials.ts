// client_credentials (RFC 6749 section 4.4): a client acts for itself. No refresh token and no ID token come of it.
import type { Client } from '../../stores/contracts/clients.ts';
import { audienceAsked, requireGrant, scopesAsked, tokenAnswer } from './access.ts';
import type { Form } from './body.ts';
import { audienceOf } from './codes.ts';
import { OAuthError } from './errors.ts';
import { type OAuthExchange, record } from './exchange.ts';
import type { OAuthAnswer } from './send.ts';

/** Issues an access token to the client. */
export async function grantToClient(exchange: OAuthExchange, client: Client, form: Form): Promise<OAuthAnswer> {
  const { parts, settings } = exchange;
  requireGrant(client, 'client_credentials');
  // A public client proves nothing, so it has nothing of its own.
  if (client.type === 'public') throw new OAuthError('unauthorized_client', 'the client may not use this grant');
  const scopes = scopesAsked(form.get('scope'), settings.scopesOf(client));
  const issued = await settings.signer.issueAccessToken({
    subject: client.clientId,
    client: client.clientId,
    audience: audienceAsked(form.get('resource'), audienceOf(client, settings)),
    scopes,
    ...(client.tenant === undefined ? {} : { tenant: client.tenant }),
    claims: { subject_type: 'client' },
  });
  await record(exchange, 'token.issued', client, {
    subject: client.clientId,
    details: { grant_type: 'client_credentials', token_id: issued.tokenId, scopes },
  });
  parts.metrics.tokenOperations.labels('issue').inc();
  return tokenAnswer(exchange, { issued, scopes });
}
