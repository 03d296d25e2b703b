// Keys and secrets themselves: public where public is meant, long enough, no placeholder, of the algorithm's type. Each
// function answers what is wrong, or undefined; no answer repeats what it was given.
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { isTree } from '../tree.ts';

const LEAST_SECRET_BYTES: Readonly<Record<string, number>> = { HS256: 32, HS384: 48, HS512: 64 };
const PLACEHOLDERS = [
  /change.?(me|this|in.?production)/i,
  /replace.?(me|this)/i,
  /your.?(\d+.?bit.?)?secret/i,
  /a-string-secret-at-least/i,
  /(default|example|development|insecure).?(key|secret)/i,
];
const LEAST_DISTINCT = 8;

/** A shared secret: at least as long as the hash (RFC 7518 section 3.2), and nothing that others know (H16, K23). */
export function sharedSecretProblem(secret: string, algorithms: readonly string[]): string | undefined {
  const least = Math.max(0, ...algorithms.map((algorithm) => LEAST_SECRET_BYTES[algorithm] ?? 0));
  if (Buffer.byteLength(secret) < least) return `needs at least ${least} bytes for ${algorithms.join(', ')}`;
  if (PLACEHOLDERS.some((known) => known.test(secret)))
    return 'is a placeholder that everybody knows; make a random one';
  return new Set(secret).size < LEAST_DISTINCT ? 'is too regular; make a random one' : undefined;
}

/** One public key or certificate; a private key has no business where only verifying happens. */
export function publicPemProblem(pem: string): string | undefined {
  if (pem.includes('PRIVATE KEY-----')) return 'is a private key; only the public key belongs here';
  return parsed(() => createPublicKey(pem)) ? undefined : 'holds no PEM public key or certificate';
}

/** PKCS8 PEM of a key that can sign with the algorithm. */
export function signingKeyProblem(pem: string, algorithm: string): string | undefined {
  const key = pem.includes('-----BEGIN PRIVATE KEY-----') ? parsed(() => createPrivateKey(pem)) : undefined;
  if (!key) return 'holds no PKCS8 PEM private key (BEGIN PRIVATE KEY)';
  return fits(key, algorithm) ? undefined : `is no key for ${algorithm}`;
}

const LEAST_RSA_BITS = 2048;

function fits(key: KeyObject, algorithm: string): boolean {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (algorithm === 'ES256') return type === 'ec' && details?.namedCurve === 'prime256v1';
  if (algorithm === 'EdDSA') return type === 'ed25519';
  return type === 'rsa' && (details?.modulusLength ?? 0) >= LEAST_RSA_BITS;
}

function parsed(parse: () => KeyObject): KeyObject | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

/** The text of a JWKS file: JSON, at least one key, public keys only. */
export function keySetProblem(text: string): string | undefined {
  const keys = keysOf(text);
  if (!keys) return 'holds no JSON Web Key Set with at least one key';
  const trouble = keys.map(jwkProblem).find((message) => message !== undefined);
  return trouble && `holds a key that ${trouble}`;
}

function keysOf(text: string): readonly unknown[] | undefined {
  try {
    const set: unknown = JSON.parse(text);
    return isTree(set) && Array.isArray(set.keys) && set.keys.length > 0 ? set.keys : undefined;
  } catch {
    return undefined;
  }
}

/** One key of a set: public. A symmetric key in a public set would verify HS tokens that anybody can make (attack 58). */
export function jwkProblem(key: unknown): string | undefined {
  if (!isTree(key) || typeof key.kty !== 'string') return 'has no kty';
  if (key.kty === 'oct' || 'k' in key) return 'is symmetric; use keys.secret';
  return 'd' in key ? 'is private; only the public key belongs here' : undefined;
}
