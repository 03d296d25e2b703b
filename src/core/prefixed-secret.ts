// Secrets for bearer use that leak scanners recognise: a prefix that says what they are, 256 random bits, and a checksum by
// which a scanner tells them from chance. Kept anywhere only as digests.
import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { randomSecret } from './ids.ts';

/** An operator's token, a client's secret, a token that allows a registration, one that manages a registration. */
export type SecretPrefix = 'dwa' | 'dws' | 'dwi' | 'dwr';

/** A new secret: `dws_`, 43 characters of randomness, `_` and 6 of checksum. */
export function mintPrefixedSecret(prefix: SecretPrefix): string {
  const secret = randomSecret();
  return `${prefix}_${secret}_${checksum(secret)}`;
}

/** True when the text has the form of such a secret and its checksum fits; says nothing of whether anybody knows it. */
export function isPrefixedSecret(prefix: SecretPrefix, text: string): boolean {
  const match = /^([a-z]{3})_([A-Za-z0-9_-]{43})_([A-Za-z0-9_-]{6})$/.exec(text);
  return match !== null && match[1] === prefix && checksum(match[2] as string) === match[3];
}

/** SHA-256, hex: what is kept of a secret of high entropy. */
export const secretDigest = (secret: string): string => hash('sha256', secret, 'hex');

function checksum(text: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(text));
  return bytes.toString('base64url');
}
