// Strict JSON objects (RFC 8259, RFC 7493, RFC 7519 section 4): what JSON.parse lets through and two readers could
// understand differently is refused here. Used for JOSE headers, claims, key sets, issuer metadata and admin bodies.
import { isUtf8 } from 'node:buffer';

const MAX_DEPTH = 32;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const NEEDS_ESCAPE = /["\\\x00-\x1f]|[\ud800-\udfff]/u;

function endOfString(text: string, start: number): number {
  for (let at = start; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at += 1;
  }
  return text.length;
}

/** Colons outside strings, which in valid JSON is the number of members; -1 when nested too deep. */
function countWrittenMembers(text: string): number {
  let members = 0;
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at + 1);
    else if (code === COLON) members += 1;
    else if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > MAX_DEPTH) return -1;
    } else if (code === 0x7d || code === 0x5d) depth -= 1;
  }
  return members;
}

/** The member name that a literal with escapes stands for; undefined when it cannot be written without any. */
function plainName(literal: string): string | undefined {
  try {
    const name = JSON.parse(literal) as string;
    return NEEDS_ESCAPE.test(name) ? undefined : name;
  } catch {
    // An escape that is none; the text is refused as a whole.
    return undefined;
  }
}

/**
 * The same text with no escape in any member name; undefined when a name needs one.
 *
 * V8 may read an escaped name as a prefix of its spelling once some object had a member of that name: after
 * `{"a":1,"\\u0":0}`, the name in `{"a":1,"\u0073ub":0}` is read as `\u0`, not `sub` (nodejs/node#63785). Tokens are read
 * before they are verified, so anybody could set that trap. Names without escapes are read right.
 */
function respellNames(text: string): string | undefined {
  let respelled = '';
  let copied = 0;
  let start = 0;
  let end = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      start = at;
      end = endOfString(text, at + 1);
      at = end;
    } else if (code === COLON) {
      const literal = text.slice(start, end + 1);
      if (!literal.includes('\\')) continue;
      const name = plainName(literal);
      if (name === undefined || start < copied) return undefined;
      respelled += `${text.slice(copied, start)}"${name}"`;
      copied = end + 1;
    }
  }
  return respelled + text.slice(copied);
}

/** Members in the parsed value; NaN when it holds `__proto__` or a lone surrogate. */
function countReadMembers(value: unknown): number {
  if (typeof value === 'string') return value.isWellFormed() ? 0 : Number.NaN;
  if (typeof value !== 'object' || value === null) return 0;
  let members = 0;
  if (Array.isArray(value)) {
    for (const element of value) members += countReadMembers(element);
    return members;
  }
  for (const key of Object.keys(value)) {
    if (key === '__proto__' || !key.isWellFormed()) return Number.NaN;
    members += 1 + countReadMembers((value as Record<string, unknown>)[key]);
  }
  return members;
}

/** True for a JSON object: neither null nor array. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Reads the bytes as one JSON object, or undefined. Refused: invalid UTF-8, BOM, trailing bytes, duplicate keys at any
 * depth after unescaping, `__proto__`, lone surrogates, member names with a quote, backslash or control character, nesting
 * beyond 32, any top level but an object. Never throws.
 *
 * Duplicates show by counting: JSON.parse keeps the last of them, so fewer members are read than were written.
 */
export function parseStrictObject(bytes: Buffer): Record<string, unknown> | undefined {
  if (!isUtf8(bytes)) return undefined;
  const given = bytes.toString('utf8');
  const text = given.includes('\\') ? respellNames(given) : given;
  if (text === undefined) return undefined;
  const written = countWrittenMembers(text);
  if (written < 0) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // JSON.parse throws nothing but SyntaxError here, and the caller learns only that the text is refused.
    return undefined;
  }
  return isJsonObject(value) && countReadMembers(value) === written ? value : undefined;
}
