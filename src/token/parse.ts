// Strict parser of compact JWS (RFC 7515 section 3.1, 7.1). First step of token/verify.ts: bytes to shape, no key, no
// policy. It runs for every cache miss and every bad token, so it gives up as early and as cheaply as it can.
import { isCanonicalBase64url } from '../core/encoding.ts';
import { parseStrictObject } from '../core/strict-json.ts';
import { refusal } from './refusal.ts';

/** Longest token accepted, in characters (all of them ASCII). */
export const MAX_TOKEN_LENGTH = 16 * 1024;

/** A compact JWS taken apart. Nothing in it is trusted yet. */
export interface CompactJws {
  readonly header: Readonly<Record<string, unknown>>;
  /** The three segments as sent; each is the one canonical spelling of its bytes. */
  readonly headerSegment: string;
  readonly payloadSegment: string;
  readonly signatureSegment: string;
  /** `header.payload`: what the signature is over. */
  readonly signingInput: string;
}

/** A compact JWS whose payload is a claims set. */
export interface ParsedToken extends CompactJws {
  readonly claims: Readonly<Record<string, unknown>>;
}

/** The refusal of any token longer than {@link MAX_TOKEN_LENGTH}. */
export const tokenTooLarge = refusal('token_too_large', 'the token is longer than 16 KiB');
const notThreeParts = refusal('token_malformed', 'the token does not have exactly three non-empty parts');
const notCanonical = refusal('token_malformed', 'a part of the token is not canonical base64url');
const headerNotStrict = refusal('token_malformed', 'the JOSE header is not a strict JSON object');
const claimsNotStrict = refusal('token_malformed', 'the claims are not a strict JSON object');

/** Takes a compact JWS apart; throws `token_malformed` or `token_too_large`, and nothing else. */
export function parseCompactJws(token: string): CompactJws {
  if (token.length > MAX_TOKEN_LENGTH) throw tokenTooLarge;
  const first = token.indexOf('.');
  const second = token.indexOf('.', first + 1);
  const empty = first < 1 || second <= first + 1 || second === token.length - 1;
  if (empty || token.includes('.', second + 1)) throw notThreeParts;
  const headerSegment = token.slice(0, first);
  const payloadSegment = token.slice(first + 1, second);
  const signatureSegment = token.slice(second + 1);
  const canonical =
    isCanonicalBase64url(headerSegment) &&
    isCanonicalBase64url(payloadSegment) &&
    isCanonicalBase64url(signatureSegment);
  if (!canonical) throw notCanonical;
  const header = parseStrictObject(Buffer.from(headerSegment, 'base64url'));
  if (header === undefined) throw headerNotStrict;
  return { header, headerSegment, payloadSegment, signatureSegment, signingInput: token.slice(0, second) };
}

/** Takes an access token apart; throws `token_malformed` or `token_too_large`, and nothing else. */
export function parseAccessToken(token: string): ParsedToken {
  const jws = parseCompactJws(token);
  const claims = parseStrictObject(Buffer.from(jws.payloadSegment, 'base64url'));
  if (claims === undefined) throw claimsNotStrict;
  return { ...jws, claims };
}
