// The private key of our own issuer: from a PEM secret, or made once and kept in the state folder. Its kid is its RFC 7638
// thumbprint, so a restart keeps it. Signing is issue.ts; states and rotation of keys in PostgreSQL are keys/'s.
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  generateKeyPairSync,
  type KeyObject,
  type webcrypto,
} from 'node:crypto';
import { chmodSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { createPrivateFile, makePrivateFolder } from '../core/private-file.ts';
import { misconfigured } from './refusal.ts';
import { jwkThumbprint, keyFromJwk } from './verification-key.ts';

/** Algorithms we sign with. */
export type SigningAlgorithm = 'ES256' | 'RS256' | 'EdDSA';

/** A private key with what may be published of it. */
export interface SigningKey {
  readonly algorithm: SigningAlgorithm;
  /** RFC 7638 thumbprint of the public part. */
  readonly kid: string;
  readonly privateKey: KeyObject;
  /** Public members, `kid`, `alg` and `use: sig`; never a private one (attack 85). Frozen. */
  readonly publicJwk: Readonly<Record<string, unknown>>;
}

function generate(algorithm: SigningAlgorithm): KeyObject {
  if (algorithm === 'RS256') return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519').privateKey;
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** A new private key; off the event loop, because RSA takes a while. */
export async function makeSigningKey(algorithm: SigningAlgorithm): Promise<SigningKey> {
  const { promise, resolve, reject } = Promise.withResolvers<KeyObject>();
  const done = (error: Error | null, _: KeyObject, privateKey: KeyObject) =>
    error === null ? resolve(privateKey) : reject(error);
  if (algorithm === 'RS256') generateKeyPair('rsa', { modulusLength: 2048 }, done);
  else if (algorithm === 'EdDSA') generateKeyPair('ed25519', {}, done);
  else generateKeyPair('ec', { namedCurve: 'P-256' }, done);
  return describeSigningKey(await promise, algorithm);
}

/** kid and public part of a private key; throws `misconfigured` when it is not for `algorithm`. */
export function describeSigningKey(privateKey: KeyObject, algorithm: SigningAlgorithm, from = 'this'): SigningKey {
  const jwk: webcrypto.JsonWebKey = createPublicKey(privateKey).export({ format: 'jwk' });
  const usable = keyFromJwk(jwk, new Set([algorithm]));
  if ('why' in usable) throw misconfigured(`${from} holds no key for ${algorithm}: ${usable.why}`);
  const kid = jwkThumbprint(jwk as Record<string, unknown>);
  return { algorithm, kid, privateKey, publicJwk: Object.freeze({ ...jwk, kid, alg: algorithm, use: 'sig' }) };
}

/** Reads a PKCS8 PEM key; throws `misconfigured` when it is none, or is not for `algorithm`. `from` names it in messages. */
export function signingKeyFromPem(pem: string, algorithm: SigningAlgorithm, from: string): SigningKey {
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(pem);
  } catch (cause) {
    throw misconfigured(`${from} holds no private key in PEM that can be read`, { cause });
  }
  return describeSigningKey(privateKey, algorithm, from);
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw misconfigured(`the signing key in ${path} cannot be read`, { cause: error });
  }
}

/**
 * The key kept in `path` (mode 0600, in a folder of mode 0700), made on the first call. A file that cannot be read or
 * holds another kind of key throws `misconfigured` and is never overwritten: tokens in the wild depend on it.
 */
export function openSigningKey(path: string, algorithm: SigningAlgorithm): SigningKey {
  const present = readIfPresent(path);
  if (present !== undefined) return signingKeyFromPem(present, algorithm, path);
  const folder = dirname(path);
  try {
    if (makePrivateFolder(folder)) chmodSync(folder, 0o700);
    createPrivateFile(path, generate(algorithm).export({ type: 'pkcs8', format: 'pem' }) as string);
  } catch (cause) {
    throw misconfigured(`the signing key cannot be kept in ${path}`, { cause });
  }
  return signingKeyFromPem(readIfPresent(path) ?? '', algorithm, path);
}
