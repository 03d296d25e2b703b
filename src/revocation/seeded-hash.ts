// HalfSipHash-1-3 over the UTF-16 code units of a string (the keyed hash that Linux uses for its hash tables): whoever
// chooses the ids that get revoked cannot choose where they land, because the key is drawn at start. Not for secrets.
import { randomBytes } from 'node:crypto';

const FINAL_ROUNDS = 3;

/** A hash of (number, text) to 32 bits. */
export type Hash = (salt: number, text: string) => number;

/** Two code units, or one and 0; NaN of a missing unit becomes 0. */
const wordAt = (text: string, at: number) => text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16);

/** Makes a hash with a key of its own, 8 random bytes unless told. The same key gives the same hashes. */
export function seededHash(key: Buffer = randomBytes(8)): Hash {
  const k0 = key.readInt32LE(0);
  const k1 = key.readInt32LE(4);
  return (salt, text) => {
    let v0 = k0;
    let v1 = k1;
    let v2 = 0x6c796765 ^ k0;
    let v3 = 0x74656462 ^ k1;
    const words = 2 + ((text.length + 1) >> 1);
    for (let step = 0; step < words + FINAL_ROUNDS; step += 1) {
      let word = 0;
      if (step === 0) word = salt;
      else if (step < words - 1) word = wordAt(text, 2 * step - 2);
      else if (step === words - 1) word = text.length;
      else if (step === words) v2 ^= 0xff;
      v3 ^= word;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
    }
    return (v1 ^ v3) >>> 0;
  };
}
