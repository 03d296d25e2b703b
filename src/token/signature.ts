// Checks the signature of a parsed token with keys that belong to its issuer (RFC 7515 section 5.2); jose does the work.
import { flattenedVerify } from 'jose';
import type { CompactJws } from './parse.ts';
import { refusal } from './refusal.ts';
import type { VerificationKey } from './verification-key.ts';

/** The signature verifies with none of the keys, or is malformed. */
export const signatureInvalid = refusal('token_signature_invalid', 'the signature does not verify');

/**
 * The one of `keys` that verifies the token; rejects with `token_signature_invalid`, whatever was wrong with the
 * signature. `keys` must already fit `algorithm` (KeySource.find).
 */
export async function verifySignature(
  jws: CompactJws,
  algorithm: string,
  keys: readonly VerificationKey[],
): Promise<VerificationKey> {
  const flattened = { protected: jws.headerSegment, payload: jws.payloadSegment, signature: jws.signatureSegment };
  for (const key of keys) {
    try {
      await flattenedVerify(flattened, key.key, { algorithms: [algorithm] });
      return key;
    } catch {
      // Any failure of jose is one of this signature: keys and algorithm were checked before. The next key may verify.
    }
  }
  throw signatureInvalid;
}
