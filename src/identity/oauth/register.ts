// Dynamic registration (RFC 7591) and its management by the client (RFC 7592). What may be registered is clients/registration.ts;
// here are the tokens that allow it: an initial one to begin, one of the client's own for everything later.
import { noticeOf } from '../../clients/notices.ts';
import { ownClient } from '../../clients/record.ts';
import {
  RegistrationRefused,
  readRegistration,
  readRegistrationUpdate,
  registrationMetadata,
} from '../../clients/registration.ts';
import { authenticateSecret, newClientSecret } from '../../clients/secrets.ts';
import { mintPrefixedSecret, secretDigest } from '../../core/prefixed-secret.ts';
import { parseStrictObject } from '../../core/strict-json.ts';
import type { Client } from '../../stores/contracts/clients.ts';
import { readBytes } from './body.ts';
import { invalidRequest, OAuthError } from './errors.ts';
import { type OAuthExchange, record, recordQuietly } from './exchange.ts';
import { chargeCall, chargeFailure, refuseFailing } from './limits.ts';
import type { OAuthAnswer } from './send.ts';

const MAX_METADATA_BYTES = 64 * 1024;
const JSON_TYPE = /^application\/json\s*(?:;\s*charset="?utf-8"?\s*)?$/i;

/** POST register: 201 with the client, its secret and its registration token, which are shown nowhere else. */
export async function registerEndpoint(exchange: OAuthExchange): Promise<OAuthAnswer> {
  const { parts, settings } = exchange;
  const presented = await begin(exchange);
  const metadata = await readMetadata(exchange);
  const properties = refusingMetadata(() => readRegistration(metadata, settings.known));
  const nowMs = parts.clock.nowMs();
  const initialId = await parts.registration.initialTokens.redeem(secretDigest(presented), nowMs);
  if (initialId === undefined) throw await refusedToken(exchange, 'initial_token_unknown');
  const token = mintPrefixedSecret('dwr');
  const usesSecret = properties.authMethod.startsWith('client_secret');
  const made = usesSecret ? newClientSecret(nowMs, undefined) : undefined;
  const origin = {
    registeredBy: 'registration' as const,
    registrationTokenDigest: secretDigest(token),
    secrets: made === undefined ? [] : [made.kept],
  };
  const client = await parts.registration.store.add(ownClient(settings.issuer, properties, origin, nowMs));
  if (client === undefined) throw new TypeError('a random client id was taken');
  await parts.registration.announce(noticeOf(client));
  await record(exchange, 'client.registered', client, { details: { name: client.name, initial_token: initialId } });
  const secret = made === undefined ? {} : { client_secret: made.secret, client_secret_expires_at: 0 };
  return { status: 201, body: { ...shown(exchange, client, token), ...secret } };
}

/** GET, PUT and DELETE of register/{client_id}, with the client's registration token. */
export async function registrationEndpoint(exchange: OAuthExchange, clientId: string): Promise<OAuthAnswer> {
  const token = await begin(exchange);
  const client = await managed(exchange, token, clientId);
  const { method } = exchange.request;
  if (method === 'PUT') return update(exchange, client, token);
  if (method === 'DELETE') return remove(exchange, client);
  return { status: 200, body: shown(exchange, client, token) };
}

/** Limits first, then the token that stands in the Authorization field. */
async function begin(exchange: OAuthExchange): Promise<string> {
  const { parts, settings, request } = exchange;
  const caller = callerOf(exchange);
  await refuseFailing(parts, settings.limits, caller);
  await chargeCall(parts, settings.limits, 'register', caller);
  await parts.audit.requireRoom();
  const fields = request.headersDistinct.authorization ?? [];
  const match = fields.length === 1 ? /^Bearer +([\x21-\x7e]{1,512})$/i.exec(fields[0] as string) : null;
  if (match === null) throw await refusedToken(exchange, 'no_token');
  return match[1] as string;
}

/**
 * The client that the token manages. A token presented for another client than its own has fallen into wrong hands: it is taken
 * back (RFC 7592 section 2.1, attack 125).
 */
async function managed(exchange: OAuthExchange, token: string, clientId: string): Promise<Client> {
  const { parts, settings } = exchange;
  const client = await parts.registration.store.findByRegistrationToken(secretDigest(token));
  if (client === undefined || client.issuer !== settings.issuer) throw await refusedToken(exchange, 'token_unknown');
  if (client.clientId === clientId) {
    // Removing itself would take the record away from whoever disabled it, and with it the end of its tokens.
    if (client.disabled) throw await refusedToken(exchange, 'client_disabled');
    return client;
  }
  await parts.registration.store.setRegistrationToken(client.issuer, client.clientId, undefined);
  await record(exchange, 'token.revoked', client, { outcome: 'success', details: { token: 'registration' } });
  throw await refusedToken(exchange, 'token_of_another_client');
}

async function update(exchange: OAuthExchange, client: Client, token: string): Promise<OAuthAnswer> {
  const { parts, settings } = exchange;
  const { store, announce } = parts.registration;
  const { client_secret: secret, ...metadata } = await readMetadata(exchange);
  const nowMs = parts.clock.nowMs();
  // RFC 7592 2.2: a secret may be repeated and not chosen.
  const repeated = typeof secret === 'string' && authenticateSecret(client, secret, nowMs) !== undefined;
  if (secret !== undefined && !repeated) throw new OAuthError('invalid_client_metadata', 'client_secret is not yours');
  const properties = refusingMetadata(() => readRegistrationUpdate(metadata, client, settings.known));
  const change = { nowMs, expectedVersion: client.version };
  const after = await store.update(client.issuer, client.clientId, properties, change);
  if (typeof after === 'string') throw changedMeanwhile();
  await announce(noticeOf(after));
  await record(exchange, 'client.updated', after);
  return { status: 200, body: shown(exchange, after, token) };
}

async function remove(exchange: OAuthExchange, client: Client): Promise<OAuthAnswer> {
  const { parts } = exchange;
  const { store, announce } = parts.registration;
  const nowMs = parts.clock.nowMs();
  const gone = await store.remove(client.issuer, client.clientId, { nowMs, expectedVersion: client.version });
  // Disabled, perhaps: the next try is told.
  if (gone === 'stale') throw changedMeanwhile();
  if (gone !== 'missing') await announce(removalOf(gone, nowMs));
  await record(exchange, 'client.removed', client);
  return { status: 204 };
}

const changedMeanwhile = () => invalidRequest('the client was changed meanwhile', { status: 409 });

/** Later than everything that was told of the client before. */
const removalOf = (was: Client, nowMs: number) => ({
  ...noticeOf(was),
  version: was.version + 1,
  removed: true,
  changedAtMs: Math.max(nowMs, was.updatedAtMs),
});

const shown = ({ settings }: OAuthExchange, client: Client, token: string) => ({
  ...registrationMetadata(client),
  registration_access_token: token,
  registration_client_uri: `${settings.urls.register}/${client.clientId}`,
});

async function readMetadata({ request }: OAuthExchange): Promise<Readonly<Record<string, unknown>>> {
  if (!JSON_TYPE.test(request.headers['content-type'] ?? ''))
    throw invalidRequest('send application/json', { status: 415 });
  const document = parseStrictObject(await readBytes(request, MAX_METADATA_BYTES));
  if (document === undefined) throw new OAuthError('invalid_client_metadata', 'the body is not a strict JSON object');
  return document;
}

function refusingMetadata<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof RegistrationRefused) throw new OAuthError(error.code, error.message);
    throw error;
  }
}

const callerOf = ({ settings, address }: OAuthExchange) => ({
  address,
  issuer: settings.issuer,
  claimedClient: undefined,
});

/** Counted as a failure of the address; the refusal itself, or that there were too many, is thrown by the caller. */
async function refusedToken(exchange: OAuthExchange, why: string): Promise<OAuthError> {
  const { parts, settings } = exchange;
  await chargeFailure(parts, settings.limits, callerOf(exchange));
  await recordQuietly(exchange, 'client.auth_failed', undefined, {
    outcome: 'failure',
    reason: why,
    details: { endpoint: 'register' },
  });
  return new OAuthError('invalid_token', 'the token allows no registration', {
    status: 401,
    challenge: 'Bearer realm="doorward", error="invalid_token"',
  });
}
