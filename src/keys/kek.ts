// The key-encryption key (KEK): it wraps data keys and nothing else. Local bytes here, a passphrase in kek-passphrase.ts,
// AWS KMS in kek-aws.ts.
import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto';
import { decrypt, encrypt, joined, KEY_BYTES } from './aead.ts';
import { kekRefused } from './refusals.ts';

/** Wraps and unwraps data keys. `context` names what is wrapped and must be the same for both. */
export interface Kek {
  /** Tells one KEK from another without telling anything about it; stands beside every wrapped key. */
  readonly id: string;
  /** Rejects with `store_unavailable` when a remote KEK does not answer. */
  wrap(secret: Uint8Array, context: string): Promise<Buffer>;
  /** Undefined when it was wrapped by another KEK, for another context, or was changed. */
  unwrap(wrapped: Uint8Array, context: string): Promise<Buffer | undefined>;
}

const FORMAT = 1;
const ID_BYTES = 12;
const HEX = /^[0-9a-fA-F]{64}$/;
const BASE64 = /^[A-Za-z0-9+/]{43}=?$/;
const BASE64URL = /^[A-Za-z0-9_-]{43}=?$/;

/**
 * The 32 bytes that a text spells in hex, base64 or base64url; throws `misconfigured` for anything else, so that a
 * shortened or padded key is never used (L14). `from` names the setting in the message.
 */
export function kekBytes(text: string, from: string): Buffer {
  const spelled = text.trim();
  if (HEX.test(spelled)) return Buffer.from(spelled, 'hex');
  if (BASE64.test(spelled) || BASE64URL.test(spelled)) return Buffer.from(spelled, 'base64url');
  throw kekRefused(`${from} needs exactly ${KEY_BYTES} bytes in base64, base64url or hex`);
}

/** Wraps under 32 bytes held in memory. Throws TypeError for any other length. */
export function localKek(secret: Uint8Array): Kek {
  if (secret.length !== KEY_BYTES) throw new TypeError(`a local KEK has exactly ${KEY_BYTES} bytes`);
  const key = createSecretKey(secret);
  const id = `local:${derived(secret, 'doorward kek id').toString('base64url')}`;
  return {
    id,
    wrap: async (wrapped, context) => wrapWith(key, wrapped, context),
    unwrap: async (wrapped, context) => unwrapWith(key, wrapped, context),
  };
}

const derived = (secret: Uint8Array, label: string) =>
  Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), label, ID_BYTES));
const associatedWith = (context: string) => joined(['doorward wrapped key', String(FORMAT), context]);

/** Format byte, nonce, ciphertext, tag. */
export function wrapWith(key: KeyObject, secret: Uint8Array, context: string): Buffer {
  return Buffer.concat([Buffer.of(FORMAT), encrypt(key, associatedWith(context), secret)]);
}

/** Undoes {@link wrapWith}; undefined when anything differs. */
export function unwrapWith(key: KeyObject, wrapped: Uint8Array, context: string): Buffer | undefined {
  return wrapped[0] === FORMAT ? decrypt(key, associatedWith(context), wrapped.subarray(1)) : undefined;
}
