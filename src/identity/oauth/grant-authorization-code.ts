// authorization_code with PKCE (RFC 6749 section 4.1.3, RFC 7636 section 4.6). A code works once: the second time, what came
// of the first ends (RFC 6749 section 4.1.2, RFC 9700 2.1.1).
import { digest, secretsEqual } from '../../core/encoding.ts';
import type { Client } from '../../stores/contracts/clients.ts';
import type { CodeRecord } from '../../stores/contracts/grants.ts';
import { audienceAsked, extentNow, idTokenFor, issueForGrant, requireGrant, tokenAnswer } from './access.ts';
import type { Form } from './body.ts';
import { invalidGrant, invalidRequest } from './errors.ts';
import { type OAuthExchange, record } from './exchange.ts';
import { draftFamily, endFamily, refuseRevoked } from './families.ts';
import { codePlace, type PersonContent, refreshToken, unsealedContent } from './refresh-token.ts';
import type { OAuthAnswer } from './send.ts';

const VERIFIER = /^[A-Za-z0-9._~-]{43,128}$/;
const CODE = /^dwc_[A-Za-z0-9_-]{43}$/;

/** Redeems a code. */
export async function redeemCode(exchange: OAuthExchange, client: Client, form: Form): Promise<OAuthAnswer> {
  const { parts, settings } = exchange;
  requireGrant(client, 'authorization_code');
  const presented = presentedBy(form);
  const code = CODE.test(presented.code) ? await parts.grants.findCode(digest(presented.code)) : undefined;
  if (code === undefined || code.issuer !== settings.issuer) throw invalidGrant('code_unknown');
  await checkCode(exchange, client, code, presented);
  const held = extentNow(exchange, client, code);
  const audience = audienceAsked(form.get('resource'), held.audience);
  refuseRevoked(code, undefined, parts, settings);
  const { codeDigest } = code;
  const person = unsealedContent<PersonContent>(await parts.sealer.unseal(codePlace(codeDigest), code.sealed));
  const refreshable = client.grantTypes.includes('refresh_token');
  const { family, content } = await draftFamily(code, person, refreshable, parts, settings);
  if (!(await parts.grants.redeemCode(codeDigest, family, parts.clock.nowMs()))) {
    // Somebody was faster, or the code was dropped with what it rested on.
    const now = await parts.grants.findCode(codeDigest);
    if (now !== undefined) await refuseSpent(exchange, client, now);
    throw invalidGrant('code_gone');
  }
  const { familyId } = family;
  try {
    // Again: whoever revoked while the code was being spent may have looked for grants before there was this one.
    refuseRevoked(code, familyId, parts, settings);
  } catch (error) {
    await endFamily(familyId, 'revoked', parts, settings);
    throw error;
  }
  const access = await issueForGrant(exchange, family, { familyId, person, scopes: held.scopes, audience });
  const idToken = await idTokenFor(exchange, family, access, person);
  await record(exchange, 'code.redeemed', client, {
    subject: code.subject,
    tenant: code.tenant,
    details: { family: familyId, token_id: access.issued.tokenId, scopes: held.scopes },
  });
  parts.metrics.tokenOperations.labels('issue').inc();
  return tokenAnswer(exchange, access, {
    refreshToken: refreshable ? refreshToken(content.secret, familyId, 0) : undefined,
    idToken,
  });
}

interface PresentedCode {
  readonly code: string;
  readonly redirectUri: string;
  readonly verifier: string;
}

function presentedBy(form: Form): PresentedCode {
  const [code, redirectUri, verifier] = ['code', 'redirect_uri', 'code_verifier'].map((name) => form.get(name));
  if (code === undefined) throw invalidRequest('code is missing');
  if (redirectUri === undefined) throw invalidRequest('redirect_uri is missing');
  if (verifier === undefined) throw invalidRequest('code_verifier is missing');
  if (!VERIFIER.test(verifier)) throw invalidRequest('code_verifier needs 43 to 128 unreserved characters');
  return { code, redirectUri, verifier };
}

/** Nothing here spends the code: whoever saw it without the verifier must not be able to burn it. */
async function checkCode(
  exchange: OAuthExchange,
  client: Client,
  code: CodeRecord,
  { redirectUri, verifier }: PresentedCode,
): Promise<void> {
  if (code.client !== client.clientId) throw invalidGrant('code_of_another_client');
  await refuseSpent(exchange, client, code);
  if (code.expiresAtMs <= exchange.parts.clock.nowMs()) throw invalidGrant('code_expired');
  if (code.redirectUri !== redirectUri) throw invalidGrant('redirect_uri_mismatch');
  if (!secretsEqual(digest(verifier), code.codeChallenge)) throw invalidGrant('verifier_mismatch');
}

async function refuseSpent(exchange: OAuthExchange, client: Client, code: CodeRecord): Promise<void> {
  if (code.redeemedAtMs === undefined || code.familyId === undefined) return;
  await endFamily(code.familyId, 'code_reuse', exchange.parts, exchange.settings);
  await record(exchange, 'code.reuse_detected', client, {
    outcome: 'failure',
    reason: 'invalid_grant',
    subject: code.subject,
    tenant: code.tenant,
    details: { family: code.familyId },
  });
  throw invalidGrant('code_reused');
}
