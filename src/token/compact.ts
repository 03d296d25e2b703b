// Signs small statements synchronously (RFC 7515 compact form): in the request path, where jose's promises would cost a turn of
// the event loop. Everything that may wait is signed by issue.ts.
import { sign } from 'node:crypto';
import type { SigningKey } from './signing-key.ts';

const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');

/** A compact JWS over `claims`, with the key's `alg` and `kid` and the given `typ`. */
export function signCompact(claims: object, key: SigningKey, typ: string): string {
  const input = `${encode({ alg: key.algorithm, kid: key.kid, typ })}.${encode(claims)}`;
  // Ed25519 hashes by itself; ECDSA signatures are r and s side by side in JOSE (RFC 7518 section 3.4), not DER.
  const hash = key.algorithm === 'EdDSA' ? null : 'sha256';
  const signature = sign(hash, Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}
