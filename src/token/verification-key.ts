// From a JWK, PEM or shared secret to a key that may verify (RFC 7517, 7518, 8037). Everything unfit is left out here,
// so that the rest of the module only ever sees public keys of known type and decent strength.
import { createPublicKey, createSecretKey, type KeyObject, type webcrypto } from 'node:crypto';
import { digest, isCanonicalBase64url } from '../core/encoding.ts';
import { isJsonObject } from '../core/strict-json.ts';
import { algorithmsOfKey, leastSecretBytes } from './algorithms.ts';
import { misconfigured } from './refusal.ts';
import { hasRocaFingerprint } from './roca.ts';

/** A key with the algorithms it may verify under its issuer's allow-list. */
export interface VerificationKey {
  /** As published; undefined for keys without one, which includes PEM keys and shared secrets. */
  readonly kid: string | undefined;
  /** `kid`, or the RFC 7638 thumbprint: what stands in Principal.keyId. */
  readonly id: string;
  /** RFC 7638; tells a key from another one published under the same kid. */
  readonly thumbprint: string;
  readonly key: KeyObject;
  readonly algorithms: readonly string[];
}

/** A JWK that was left out, and why; for logs. Holds no key material. */
export interface IgnoredKey {
  readonly kid: string | undefined;
  readonly why: string;
}

const PRINTABLE = /^[\x20-\x7e]{1,256}$/;
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;
const MIN_RSA_EXPONENT = 65_537n;
// OpenSSL's own bound for large moduli; a longer exponent only costs verification time.
const MAX_RSA_EXPONENT = 2n ** 64n;
/** In characters; an RSA modulus of 24,576 bits. */
const MAX_MEMBER = 4096;
const publicMembers: Readonly<Record<string, readonly string[]>> = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
};

/** True for a `kid` that can name a key: 1 to 256 printable ASCII characters. */
export function isKeyId(kid: unknown): kid is string {
  return typeof kid === 'string' && PRINTABLE.test(kid);
}

/** RFC 7638 thumbprint (SHA-256, base64url) of a public JWK with valid members. */
export function jwkThumbprint(jwk: Readonly<Record<string, unknown>>): string {
  const members = publicMembers[String(jwk.kty)] ?? [];
  return digest(JSON.stringify(Object.fromEntries(members.map((name) => [name, jwk[name]]))));
}

function publicPart(jwk: Readonly<Record<string, unknown>>): webcrypto.JsonWebKey | string {
  const kty = jwk.kty;
  const members = typeof kty === 'string' && Object.hasOwn(publicMembers, kty) ? publicMembers[kty] : undefined;
  if (members === undefined) return 'kty is none of EC, OKP and RSA';
  const part: Record<string, string> = {};
  for (const name of members) {
    const value = Object.hasOwn(jwk, name) ? jwk[name] : undefined;
    const encoded = name !== 'kty' && name !== 'crv';
    if (typeof value !== 'string' || value === '') return `${name} is missing`;
    // Before anything looks at the number: node reads an RSA exponent in quadratic time, which for 1 MiB is minutes.
    if (value.length > MAX_MEMBER) return `${name} is too long`;
    if (encoded && !isCanonicalBase64url(value)) return `${name} is not canonical base64url`;
    part[name] = value;
  }
  return part;
}

function refuseUse(jwk: Readonly<Record<string, unknown>>): string | undefined {
  const { use, key_ops: operations, kid } = jwk;
  if (use !== undefined && use !== 'sig') return 'use is not sig';
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) {
    return 'key_ops does not include verify';
  }
  return kid === undefined || isKeyId(kid) ? undefined : 'kid is not 1 to 256 printable characters';
}

const toBigInt = (base64url: string) => BigInt(`0x${Buffer.from(base64url, 'base64url').toString('hex') || '0'}`);

function refuseExponent(part: webcrypto.JsonWebKey): string | undefined {
  const exponent = toBigInt(String(part.e));
  const isSound = exponent >= MIN_RSA_EXPONENT && exponent < MAX_RSA_EXPONENT && exponent % 2n === 1n;
  return isSound ? undefined : 'RSA exponent is not odd, at least 65537 and below 2^64';
}

function refuseModulus(part: webcrypto.JsonWebKey, key: KeyObject): string | undefined {
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS) return `RSA of ${bits} bits; 2048 to 8192 are accepted`;
  return hasRocaFingerprint(toBigInt(String(part.n))) ? 'RSA modulus is factorable (CVE-2017-15361)' : undefined;
}

function fittingAlgorithms(jwk: Readonly<Record<string, unknown>>, allowed: ReadonlySet<string>): readonly string[] {
  const possible = algorithmsOfKey(String(jwk.kty), jwk.crv as string | undefined);
  // RFC 9864 names for what we call EdDSA with Ed25519.
  const own = jwk.alg === 'Ed25519' ? 'EdDSA' : jwk.alg;
  return possible.filter((algorithm) => allowed.has(algorithm) && (own === undefined || own === algorithm));
}

/**
 * A JWK as a key of an issuer that allows `allowed`; or the reason, as a string, why it is left out. Private members are
 * dropped, `oct` is refused, and so is everything whose use, operations, algorithm, curve or strength does not fit.
 */
export function keyFromJwk(jwk: unknown, allowed: ReadonlySet<string>): VerificationKey | IgnoredKey {
  if (!isJsonObject(jwk)) return { kid: undefined, why: 'not an object' };
  const kid = isKeyId(jwk.kid) ? jwk.kid : undefined;
  const unfit = refuseUse(jwk);
  if (unfit !== undefined) return { kid, why: unfit };
  const part = publicPart(jwk);
  if (typeof part === 'string') return { kid, why: part };
  const algorithms = fittingAlgorithms(jwk, allowed);
  if (algorithms.length === 0) return { kid, why: 'fits none of the algorithms of the issuer' };
  const isRsa = part.kty === 'RSA';
  const unsafe = isRsa ? refuseExponent(part) : undefined;
  if (unsafe !== undefined) return { kid, why: unsafe };
  let key: KeyObject;
  try {
    key = createPublicKey({ key: part, format: 'jwk' });
  } catch {
    // The cause would quote key material of whoever published it, and says no more than this.
    return { kid, why: 'not a valid key' };
  }
  const weak = isRsa ? refuseModulus(part, key) : undefined;
  if (weak !== undefined) return { kid, why: weak };
  const thumbprint = jwkThumbprint(part as Record<string, unknown>);
  return { kid, id: kid ?? thumbprint, thumbprint, key, algorithms };
}

/** A public key or certificate in PEM; throws `misconfigured` when it is none, or is unfit for the algorithms. */
export function keyFromPem(pem: string, allowed: ReadonlySet<string>): VerificationKey {
  if (/PRIVATE KEY/.test(pem)) throw misconfigured('keys.pem holds a private key; only the public one belongs here');
  let jwk: webcrypto.JsonWebKey;
  try {
    jwk = createPublicKey(pem).export({ format: 'jwk' });
  } catch (cause) {
    throw misconfigured('keys.pem is no public key or certificate that can be used', { cause });
  }
  const key = keyFromJwk(jwk, allowed);
  if ('why' in key) throw misconfigured(`keys.pem cannot be used: ${key.why}`);
  return key;
}

/** A shared secret, as its UTF-8 bytes; throws `misconfigured` when it is shorter than the hash or looks like a PEM key. */
export function keyFromSecret(secret: string | Buffer, allowed: ReadonlySet<string>): VerificationKey {
  const bytes = typeof secret === 'string' ? Buffer.from(secret, 'utf8') : secret;
  if (bytes.includes('-----BEGIN')) {
    // A published key used as a secret is the classic HS256 confusion: everybody could sign (CVE-2023-48223).
    throw misconfigured('keys.secret holds a PEM key; use keys.pem');
  }
  const algorithms = [...allowed];
  for (const algorithm of algorithms) {
    const least = leastSecretBytes(algorithm);
    if (least === undefined) throw misconfigured(`algorithm ${algorithm} does not go with keys.secret`);
    if (bytes.length < least)
      throw misconfigured(`keys.secret is shorter than ${least} bytes, which ${algorithm} needs`);
  }
  const thumbprint = digest(JSON.stringify({ k: bytes.toString('base64url'), kty: 'oct' }));
  return { kid: undefined, id: 'secret', thumbprint, key: createSecretKey(bytes), algorithms };
}
