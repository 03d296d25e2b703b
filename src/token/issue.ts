// Issues tokens of our own issuer: access tokens (RFC 9068) and ID tokens (OpenID Connect Core section 2). Who may ask for
// one is decided by the planes.
import { hash } from 'node:crypto';
import { SignJWT } from 'jose';
import type { IssuerConfig } from '../config/schema.ts';
import type { Clock } from '../core/clock.ts';
import { SidecarError } from '../core/errors.ts';
import { randomId } from '../core/ids.ts';
import { isJsonObject } from '../core/strict-json.ts';
import { firstClaim } from './claim-values.ts';
import { misconfigured } from './refusal.ts';
import { type ClaimPath, rulesOf } from './rules.ts';
import type { SigningKey } from './signing-key.ts';

/** What an access token shall say. Durations in ms. */
export interface AccessTokenRequest {
  readonly subject: string;
  readonly client: string;
  readonly scopes?: readonly string[];
  readonly roles?: readonly string[];
  readonly tenant?: string;
  readonly session?: string;
  /** Token family of the grant; revoking it refuses this token too. */
  readonly family?: string;
  /** Default: the audiences of the issuer block. */
  readonly audience?: readonly string[];
  /** Default `sign.lifetime`; never more than max_lifetime of the block. Whole seconds count. */
  readonly lifetimeMs?: number;
  /** Further claims; those that we set or that would change what the token is are refused. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** What an ID token shall say. Times in ms since the epoch. */
export interface IdTokenRequest {
  readonly subject: string;
  /** Becomes `aud`, so that no application behind us takes the ID token for an access token. */
  readonly client: string;
  /** The access token issued beside it; the ID token carries its `at_hash`. */
  readonly accessToken: string;
  readonly expiresAtMs: number;
  readonly authenticatedAtMs?: number | undefined;
  readonly nonce?: string | undefined;
  readonly session?: string | undefined;
  /** Further claims about the person; those that we set are refused. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
}

/** An issued access token. */
export interface IssuedToken {
  readonly token: string;
  /** `jti`. */
  readonly tokenId: string;
  readonly expiresAtMs: number;
}

/** Where the pen finds its keys; they change when keys rotate. */
export interface SigningKeySource {
  /** The key that signs now. Throws `keys_unavailable` while there is none that may be used. */
  current(): SigningKey;
  /** JWKs of all keys whose tokens are good. */
  published(): readonly Readonly<Record<string, unknown>>[];
}

/** The source of a key that never changes. */
export function fixedSigningKey(key: SigningKey): SigningKeySource {
  return { current: () => key, published: () => [key.publicJwk] };
}

/** Our own issuer's pen. */
export interface Signer {
  /** `kid` of the key that signs now. Throws `keys_unavailable` while there is none. */
  readonly keyId: string;
  /** Rejects with `malformed` when the request asks for a claim that it may not set. */
  issueAccessToken(request: AccessTokenRequest): Promise<IssuedToken>;
  /** `typ: JWT`, always with `at_hash`: no verifier of ours takes it for an access token. Rejects as the other. */
  issueIdToken(request: IdTokenRequest): Promise<string>;
  /** The JWKS to publish; public members only (RFC 7517 section 9). */
  publicJwks(): { readonly keys: readonly Readonly<Record<string, unknown>>[] };
}

const RESERVED = new Set([
  'iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'client_id', 'azp', 'scope', 'scp', 'cnf', 'act', 'may_act', 'nonce',
  'at_hash', 'c_hash', 'family', '__proto__',
]); // biome-ignore format: one list reads better

/** Left half of the digest that goes with the signature (OpenID Connect Core 3.1.3.6; Ed25519 hashes with SHA-512). */
function accessTokenHash(accessToken: string, algorithm: string): string {
  const whole = hash(algorithm === 'EdDSA' ? 'sha512' : 'sha256', accessToken, 'buffer');
  return whole.subarray(0, whole.length / 2).toString('base64url');
}

function put(claims: Record<string, unknown>, path: ClaimPath, value: unknown): void {
  let at = claims;
  for (const name of path.slice(0, -1)) {
    const next = Object.hasOwn(at, name) ? at[name] : undefined;
    // Copied, so that an object the caller passed in is never changed.
    const inner: Record<string, unknown> = isJsonObject(next) ? { ...next } : {};
    at[name] = inner;
    at = inner;
  }
  at[path.at(-1) as string] = value;
}

function refuseReserved(claims: Readonly<Record<string, unknown>>): void {
  const found = Object.keys(claims).find((name) => RESERVED.has(name));
  if (found !== undefined) throw reserved(found);
}

const reserved = (name: string) =>
  new SidecarError('malformed', 'request_malformed', `the claim ${name} cannot be asked for`);

/**
 * The signer of an issuer block with `sign`. Claims are put where the block's `claims` says they are read, so that what we
 * issue is what we accept. Throws `misconfigured` when the block has no `sign`.
 */
export function createSigner(config: IssuerConfig, keys: SigningKeySource, clock: Clock): Signer {
  const { sign } = config;
  if (sign === undefined) throw misconfigured('the issuer block has no sign');
  const rules = rulesOf('', config);
  const [clientPath, scopePath] = [rules.client[0] ?? ['client_id'], rules.scopes[0] ?? ['scope']];

  const claimsOf = (request: AccessTokenRequest): Record<string, unknown> => {
    refuseReserved(request.claims ?? {});
    // Whoever judged the scopes that are asked for has not seen these.
    if (firstClaim(request.claims ?? {}, rules.scopes) !== undefined) throw reserved(scopePath.join('.'));
    const claims: Record<string, unknown> = { ...request.claims };
    const audience = request.audience ?? config.audience;
    put(claims, [config.audience_claim], audience.length === 1 ? audience[0] : audience);
    put(claims, rules.subject, request.subject);
    put(claims, clientPath, request.client);
    if (request.scopes?.length) put(claims, scopePath, request.scopes.join(' '));
    if (request.roles?.length) put(claims, rules.roles, request.roles);
    if (request.tenant !== undefined) put(claims, rules.tenant, request.tenant);
    if (request.session !== undefined) put(claims, rules.session, request.session);
    if (request.family !== undefined && rules.family) put(claims, rules.family, request.family);
    return claims;
  };

  const issueAccessToken = async (request: AccessTokenRequest): Promise<IssuedToken> => {
    const lifetimeMs = Math.min(request.lifetimeMs ?? sign.lifetime, config.max_lifetime);
    const iat = Math.floor(clock.nowMs() / 1000);
    const exp = iat + Math.max(Math.floor(lifetimeMs / 1000), 1);
    const jti = randomId();
    const key = keys.current();
    const token = await new SignJWT({ ...claimsOf(request), iss: config.issuer, jti, iat, exp })
      .setProtectedHeader({ alg: key.algorithm, kid: key.kid, typ: 'at+jwt' })
      .sign(key.privateKey);
    return { token, tokenId: jti, expiresAtMs: exp * 1000 };
  };

  const issueIdToken = async (request: IdTokenRequest): Promise<string> => {
    refuseReserved(request.claims ?? {});
    const { subject, client, authenticatedAtMs, nonce, session } = request;
    const key = keys.current();
    const claims = {
      ...request.claims,
      iss: config.issuer,
      sub: subject,
      aud: client,
      iat: Math.floor(clock.nowMs() / 1000),
      exp: Math.floor(request.expiresAtMs / 1000),
      at_hash: accessTokenHash(request.accessToken, key.algorithm),
      ...(authenticatedAtMs === undefined ? {} : { auth_time: Math.floor(authenticatedAtMs / 1000) }),
      ...(nonce === undefined ? {} : { nonce }),
      ...(session === undefined ? {} : { sid: session }),
    };
    return new SignJWT(claims)
      .setProtectedHeader({ alg: key.algorithm, kid: key.kid, typ: 'JWT' })
      .sign(key.privateKey);
  };

  return {
    get keyId() {
      return keys.current().kid;
    },
    issueAccessToken,
    issueIdToken,
    publicJwks: () => ({ keys: keys.published() }),
  };
}
