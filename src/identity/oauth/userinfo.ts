// Userinfo (OpenID Connect Core section 5.3): what the application said about the person when it asked for the code.
import { SidecarError } from '../../core/errors.ts';
import type { Principal } from '../../core/principal.ts';
import { OAuthError } from './errors.ts';
import type { OAuthExchange } from './exchange.ts';
import { isLive, openFamily } from './families.ts';
import { chargeCall, unavailable } from './limits.ts';
import type { OAuthAnswer } from './send.ts';

/** GET or POST userinfo, with an access token in the Authorization field (RFC 6750 section 2.1). */
export async function userinfoEndpoint(exchange: OAuthExchange): Promise<OAuthAnswer> {
  const { parts, settings, address } = exchange;
  const caller = { address, issuer: settings.issuer, claimedClient: undefined };
  const head = await chargeCall(parts, settings.limits, 'userinfo', caller);
  const principal = await bearer(exchange);
  await parts.revocations.observe(head);
  if (!parts.revocations.isKnown()) throw unavailable();
  if (parts.revocations.refuses(principal) !== undefined) throw invalidToken();
  if (!principal.scopes.includes('openid')) throw insufficient();
  const family = principal.family === undefined ? undefined : await parts.grants.find(principal.family);
  if (family === undefined || !isLive(family, parts.clock.nowMs())) throw invalidToken();
  const { content } = await openFamily(family, parts.sealer);
  return { status: 200, body: { ...content.person.claims, sub: principal.subject } };
}

async function bearer({ parts, settings, request }: OAuthExchange): Promise<Principal> {
  const fields = request.headersDistinct.authorization ?? [];
  const match = fields.length === 1 ? /^Bearer +([\x21-\x7e]+)$/i.exec(fields[0] as string) : null;
  if (fields.length === 0) {
    throw new OAuthError('invalid_token', 'send an access token', { status: 401, challenge: REALM });
  }
  try {
    const { principal } = await settings.verifier.verify(match?.[1] ?? '', [settings.issuerName]);
    const { client } = principal;
    const record = client === undefined ? undefined : await parts.clients.get(settings.issuer, client);
    if (record?.disabled) throw invalidToken();
    return principal;
  } catch (error) {
    if (error instanceof SidecarError && error.kind === 'unauthenticated') throw invalidToken();
    throw error;
  }
}

const REALM = 'Bearer realm="doorward"';

const invalidToken = () =>
  new OAuthError('invalid_token', 'the access token does not count', {
    status: 401,
    challenge: `${REALM}, error="invalid_token"`,
  });

const insufficient = () =>
  new OAuthError('insufficient_scope', 'the scope openid is needed', {
    status: 403,
    challenge: `${REALM}, error="insufficient_scope", scope="openid"`,
  });
