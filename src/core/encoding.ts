// Small encodings where one strict spelling matters: base64url, digests, header values.
import { hash, timingSafeEqual } from 'node:crypto';

const BASE64URL = /^[A-Za-z0-9_-]*$/;
const LAST_DIGIT_2 = 'AQgw';
const LAST_DIGIT_3 = 'AEIMQUYcgkosw048';

/**
 * True when `text` is the one canonical unpadded base64url spelling of some bytes (RFC 7515 section 2). Lenient decoders
 * accept several spellings of one token, so identity and caches would not agree; we refuse all but one.
 */
export function isCanonicalBase64url(text: string): boolean {
  if (!BASE64URL.test(text)) return false;
  const last = text[text.length - 1] as string;
  switch (text.length % 4) {
    case 0:
      return true;
    case 2:
      return LAST_DIGIT_2.includes(last);
    case 3:
      return LAST_DIGIT_3.includes(last);
    default:
      return false;
  }
}

/** True for a text that PostgreSQL can hold and that reads the same in UTF-8: no NUL, no lone surrogate. */
export const isStorable = (text: string): boolean => !text.includes('\0') && text.isWellFormed();

/** SHA-256 of the UTF-8 text, as 43 base64url characters. */
export function digest(text: string): string {
  return hash('sha256', text, 'base64url');
}

/** Constant-time comparison of two secrets by their digests, so that neither length nor prefix shows. */
export function secretsEqual(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(digest(a)), Buffer.from(digest(b)));
}

const NEEDS_ENCODING = /[^\x20-\x24\x26-\x2b\x2d-\x7e]|^ | $/;
const OUTER_BLANK = /^ | $/g;

/**
 * One element of an identity header: non-ASCII, control characters, `%` and `,` become %XX of their UTF-8 bytes, so that
 * no claim value can break out of its field and a joined list splits back unambiguously. So do blanks at either end: whoever
 * reads the field drops them, and somebody who is called ` admin` would be `admin` there (RFC 9110 section 5.5).
 */
export function encodeHeaderElement(value: string): string {
  if (!NEEDS_ENCODING.test(value)) return value;
  let out = '';
  for (const byte of Buffer.from(value.toWellFormed(), 'utf8')) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25 && byte !== 0x2c;
    out += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return out.replace(OUTER_BLANK, '%20');
}
