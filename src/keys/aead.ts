// AES-256-GCM with a fresh nonce for every call: nonce, ciphertext and tag in one piece. What the associated data must say
// is decided by envelope.ts and by the key-encryption keys.
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto';

/** Bytes of an AES-256 key. */
export const KEY_BYTES = 32;
/** Bytes of the nonce in front of each ciphertext (NIST SP 800-38D recommends 96 bits). */
export const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Encrypts; the result is nonce, ciphertext, tag. */
export function encrypt(key: KeyObject, associated: Buffer, plaintext: Uint8Array): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(associated);
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** Decrypts what {@link encrypt} made; undefined when key, associated data or any bit differs. */
export function decrypt(key: KeyObject, associated: Buffer, sealed: Uint8Array): Buffer | undefined {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined;
  const nonce = sealed.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(associated);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  const body = sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES);
  try {
    return Buffer.concat([decipher.update(body), decipher.final()]);
  } catch {
    // The cause says only that the tag differs, which undefined says too.
    return undefined;
  }
}

/** Texts as bytes that no other list of texts gives: each behind its length. */
export function joined(parts: readonly string[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part, 'utf8');
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
}
