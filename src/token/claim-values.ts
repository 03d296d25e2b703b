// Reading single claims: own members only, one accepted type each. A claim of another type is refused, never converted.

import { isJsonObject } from '../core/strict-json.ts';
import { refusal } from './refusal.ts';
import type { ClaimPath } from './rules.ts';

/** A claims set as parsed. */
export type Claims = Readonly<Record<string, unknown>>;

/** A claim is missing that must be there, or has a type or value that it must not have. */
export const claimsInvalid = refusal('token_claims_invalid', 'a claim is missing or has another type or value');

const MAX_ID_LENGTH = 1024;
const LAST_SECOND = 2 ** 53;

/** The claim at the path, or undefined. Inherited members such as `constructor` are not found. */
export function claimAt(claims: Claims, path: ClaimPath): unknown {
  let value: unknown = claims;
  for (const name of path) {
    if (!isJsonObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

/** The first of the paths that is present. */
export function firstClaim(claims: Claims, paths: readonly ClaimPath[]): unknown {
  for (const path of paths) {
    const value = claimAt(claims, path);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** An identifier: a string of 1 to 1024 characters without NUL, which nothing durable could name; undefined when absent. */
export function identifier(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '' || value.length > MAX_ID_LENGTH || value.includes('\0'))
    throw claimsInvalid;
  return value;
}

/** A NumericDate in ms, or undefined when absent. A fraction is legal (RFC 7519 section 2). */
export function numericDate(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !(value >= 0 && value <= LAST_SECOND)) throw claimsInvalid;
  return value * 1000;
}

function strings(value: readonly unknown[]): readonly string[] {
  for (const element of value) if (typeof element !== 'string' || element === '') throw claimsInvalid;
  return value as readonly string[];
}

/** Words split at spaces, or an array of strings; absent is none. */
export function words(value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (typeof value === 'string') {
    const parts = value.split(' ');
    return parts.includes('') ? parts.filter((word) => word !== '') : parts;
  }
  if (!Array.isArray(value)) throw claimsInvalid;
  return strings(value);
}

/** Like {@link words}, but no element may hold white space, or one scope could pass for two further on. */
export function scopeWords(value: unknown): readonly string[] {
  const scopes = words(value);
  for (const scope of scopes) if (/\s/.test(scope)) throw claimsInvalid;
  return scopes;
}

/** One string or an array of strings, as a list; absent is none. */
export function oneOrManyStrings(value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (typeof value === 'string') return [value];
  if (!Array.isArray(value)) throw claimsInvalid;
  return strings(value);
}
