// Which client is calling, and whether it proved it: exactly one method, the one that its record names (RFC 6749 section
// 2.3). Unknown, disabled, wrong method, wrong secret: one answer, and the same comparisons on the way (attack 121).
import { authenticateSecret } from '../../clients/secrets.ts';
import type { AuthMethod, Client } from '../../stores/contracts/clients.ts';
import type { RevocationHead } from '../../stores/contracts/revocations.ts';
import type { ParsedToken } from '../../token/parse.ts';
import { decodeFormWord, type Form } from './body.ts';
import { ASSERTION_TYPE, assertedClient, proveAssertion, readAssertion } from './client-assertion.ts';
import type { OAuthDependencies } from './dependencies.ts';
import { invalidClient, invalidRequest, OAuthError } from './errors.ts';
import { type OAuthExchange, recordQuietly } from './exchange.ts';
import { chargeCall, chargeFailure, type LimitedEndpoint, refuseFailing } from './limits.ts';

/** What a call brings to prove a client. */
type Presented =
  | {
      readonly method: 'client_secret_basic' | 'client_secret_post';
      readonly clientId: string;
      readonly secret: string;
    }
  | { readonly method: 'private_key_jwt'; readonly clientId: string; readonly assertion: ParsedToken }
  | { readonly method: 'none'; readonly clientId: string };

/** An authenticated call. */
export interface AuthenticatedCall {
  readonly client: Client;
  /** How far the revocation log has come, as read with the limits. */
  readonly head: RevocationHead | undefined;
}

const USED_EVERY_MS = 60_000;
/** A secret, code or token of ours that somebody took for the client id: no event may tell it. */
const MISPLACED = /^(?:dw[a-z]_|eyJ).{36}/s;

/**
 * The client of the call, after its limits. Throws OAuthError: `rate_limited`, `invalid_request`, or `invalid_client` with a
 * challenge. Public clients come through only with `allowPublic`.
 */
export async function authenticateClient(
  exchange: OAuthExchange,
  form: Form,
  endpoint: LimitedEndpoint,
  { allowPublic }: { readonly allowPublic: boolean },
): Promise<AuthenticatedCall> {
  const { parts, settings, address } = exchange;
  const caller = (claimedClient: string | undefined) => ({ address, issuer: settings.issuer, claimedClient });
  let claimed: string | undefined;
  try {
    const presented = presentedBy(exchange.request.headersDistinct.authorization ?? [], form);
    claimed = presented.clientId;
    const [head] = await Promise.all([
      chargeCall(parts, settings.limits, endpoint, caller(claimed)),
      refuseFailing(parts, settings.limits, caller(undefined)),
    ]);
    return { client: await prove(exchange, presented, allowPublic), head };
  } catch (error) {
    if (!(error instanceof OAuthError) || error.code !== 'invalid_client') throw error;
    await chargeFailure(parts, settings.limits, caller(claimed));
    await recordQuietly(exchange, 'client.auth_failed', undefined, {
      outcome: 'failure',
      reason: error.options.why,
      client: claimed !== undefined && !MISPLACED.test(claimed) ? claimed.slice(0, 128) : undefined,
      details: { endpoint },
    });
    throw error;
  }
}

async function prove(exchange: OAuthExchange, presented: Presented, allowPublic: boolean): Promise<Client> {
  const { parts, settings } = exchange;
  const client = await parts.clients.get(settings.issuer, presented.clientId);
  const secretId =
    'secret' in presented ? authenticateSecret(client, presented.secret, parts.clock.nowMs()) : undefined;
  if (client === undefined || client.external) throw invalidClient('client_unknown');
  if (client.authMethod !== presented.method) throw invalidClient('method_wrong');
  if ('secret' in presented && secretId === undefined) throw invalidClient('secret_wrong');
  if (presented.method === 'none' && (client.type !== 'public' || !allowPublic)) throw invalidClient('client_public');
  if ('assertion' in presented) await proveAssertion(presented.assertion, client, parts, settings);
  if (client.disabled) throw invalidClient('client_disabled');
  if (secretId !== undefined) noteUse(parts, client, secretId);
  return client;
}

/** Not waited for, and once a minute: when a secret was last used need not be exact. */
function noteUse({ clients, clock, log }: OAuthDependencies, client: Client, secretId: string): void {
  const nowMs = clock.nowMs();
  const last = client.secrets.find(({ id }) => id === secretId)?.lastUsedAtMs;
  if (last !== undefined && nowMs - last < USED_EVERY_MS) return;
  clients.secretUsed(secretId, nowMs).catch((error) => log.debug({ err: error }, 'secret_use_not_noted'));
}

function presentedBy(authorization: readonly string[], form: Form): Presented {
  if (authorization.length > 1) throw invalidRequest('Authorization stands twice');
  const methods: AuthMethod[] = [];
  if (authorization.length === 1) methods.push('client_secret_basic');
  if (form.has('client_secret')) methods.push('client_secret_post');
  if (form.has('client_assertion') || form.has('client_assertion_type')) methods.push('private_key_jwt');
  if (methods.length > 1) throw invalidClient('two_methods');
  const clientId = form.get('client_id');
  if (methods[0] === 'client_secret_basic') return basic(authorization[0] as string, clientId);
  if (methods[0] === 'private_key_jwt') return asserted(form, clientId);
  if (clientId === undefined) throw invalidClient('no_client');
  const secret = form.get('client_secret');
  return secret === undefined ? { method: 'none', clientId } : { method: 'client_secret_post', clientId, secret };
}

/** RFC 6749 section 2.3.1: both words are form-encoded before they are joined. */
function basic(field: string, clientId: string | undefined): Presented {
  const match = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(field);
  const text = match === null ? '' : Buffer.from(match[1] as string, 'base64').toString('latin1');
  const colon = text.indexOf(':');
  const [id, secret] = [text.slice(0, Math.max(colon, 0)), text.slice(colon + 1)].map(decodeFormWord);
  if (!id || !secret) throw invalidClient('basic_malformed');
  if (clientId !== undefined && clientId !== id) throw invalidClient('two_clients');
  return { method: 'client_secret_basic', clientId: id, secret };
}

function asserted(form: Form, clientId: string | undefined): Presented {
  const text = form.get('client_assertion');
  if (form.get('client_assertion_type') !== ASSERTION_TYPE || text === undefined) throw invalidClient('assertion_type');
  const assertion = readAssertion(text);
  const sub = assertedClient(assertion);
  if (sub === undefined || (clientId !== undefined && clientId !== sub)) throw invalidClient('two_clients');
  return { method: 'private_key_jwt', clientId: sub, assertion };
}
