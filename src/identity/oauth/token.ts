// The token endpoint (RFC 6749 section 3.2): authenticates the client, then one function per grant type. There is neither
// password nor implicit (RFC 9700 2.1.2, 2.4; attack 123).
import type { Client } from '../../stores/contracts/clients.ts';
import { type Form, readForm } from './body.ts';
import { authenticateClient } from './client-authentication.ts';
import { invalidRequest, OAuthError } from './errors.ts';
import { type OAuthExchange, recordQuietly } from './exchange.ts';
import { redeemCode } from './grant-authorization-code.ts';
import { grantToClient } from './grant-client-credentials.ts';
import { refreshGrant } from './grant-refresh-token.ts';
import type { OAuthAnswer } from './send.ts';

/** One grant type. Throws OAuthError. */
type Grant = (exchange: OAuthExchange, client: Client, form: Form) => Promise<OAuthAnswer>;

const grants: ReadonlyMap<string, Grant> = new Map([
  ['client_credentials', grantToClient],
  ['authorization_code', redeemCode],
  ['refresh_token', refreshGrant],
]);

/** POST token. */
export async function tokenEndpoint(exchange: OAuthExchange): Promise<OAuthAnswer> {
  const { parts, settings } = exchange;
  const form = await readForm(exchange.request);
  const { client, head } = await authenticateClient(exchange, form, 'token', { allowPublic: true });
  const type = form.get('grant_type');
  if (type === undefined) throw invalidRequest('grant_type is missing');
  const grant = grants.get(type);
  if (grant === undefined) throw new OAuthError('unsupported_grant_type', 'there is no such grant type');
  try {
    await parts.audit.requireRoom();
    // Before anything is spent: no key, no grant.
    settings.signer.keyId;
    await parts.revocations.observe(head);
    return await grant(exchange, client, form);
  } catch (error) {
    if (error instanceof OAuthError) {
      const details = { grant_type: type, why: error.options.why };
      await recordQuietly(exchange, 'token.refused', client, { outcome: 'failure', reason: error.code, details });
    }
    throw error;
  }
}
