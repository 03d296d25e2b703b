// What a refresh token is: `dw` and the id of its family (so it begins with `dwf_`), its number in the family, and a MAC over both under the family's
// secret, which is kept sealed. So the successor of a token can be named again for a retry although none is stored, and
// neither the database nor an old token gives away any other token of the family.
import { createHmac, randomBytes } from 'node:crypto';
import { secretsEqual } from '../../core/encoding.ts';
import { SidecarError } from '../../core/errors.ts';
import type { SealedPlace } from '../../stores/contracts/sealer.ts';

/** A refresh token taken apart; nothing in it is believed yet. */
export interface RefreshTokenParts {
  readonly familyId: string;
  readonly counter: number;
  readonly token: string;
}

/** What is sealed in the row of a family. */
export interface FamilyContent {
  /** 32 bytes, base64url. */
  readonly secret: string;
  readonly person: PersonContent;
}

/** What the application said about the person when it asked for the code. Times in ms since the epoch. */
export interface PersonContent {
  readonly roles?: readonly string[] | undefined;
  /** Claims of ID token and userinfo. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
  readonly authenticatedAtMs?: number | undefined;
  /** Of the request that the code answers; only the first ID token carries it. */
  readonly nonce?: string | undefined;
}

const FORM = /^dw(f_[A-Za-z0-9_-]{22})\.(0|[1-9]\d{0,8})\.[A-Za-z0-9_-]{43}$/;

/** Takes a refresh token apart; undefined for anything else. */
export function parseRefreshToken(token: string): RefreshTokenParts | undefined {
  const match = FORM.exec(token);
  return match === null ? undefined : { familyId: match[1] as string, counter: Number(match[2]), token };
}

/** A secret for a new family. */
export const newFamilySecret = (): string => randomBytes(32).toString('base64url');

/** Refresh token number `counter` of a family. */
export function refreshToken(secret: string, familyId: string, counter: number): string {
  const key = Buffer.from(secret, 'base64url');
  if (key.length !== 32) throw new TypeError('not the secret of a family');
  const mac = createHmac('sha256', key).update(`refresh token\n${familyId}\n${counter}`).digest('base64url');
  return `dw${familyId}.${counter}.${mac}`;
}

/** True when the token is the one of its number; compared in constant time. */
export function isGenuine(secret: string, { familyId, counter, token }: RefreshTokenParts): boolean {
  return secretsEqual(refreshToken(secret, familyId, counter), token);
}

/** Where the content of a family lies sealed. */
export const familyPlace = (familyId: string): SealedPlace => ({
  table: 'token_family',
  row: familyId,
  column: 'sealed',
});

/** Where what is known about the person lies sealed while the code waits. */
export const codePlace = (codeDigest: string): SealedPlace => ({
  table: 'authorization_code',
  row: codeDigest,
  column: 'sealed',
});

/** The bytes that are sealed. */
export const sealedBytes = (content: FamilyContent | PersonContent): Buffer => Buffer.from(JSON.stringify(content));

/** What {@link sealedBytes} wrote; throws `sealed_unreadable` for anything else, which an unsealed field cannot be. */
export function unsealedContent<T extends FamilyContent | PersonContent>(bytes: Buffer): T {
  try {
    return JSON.parse(bytes.toString()) as T;
  } catch (cause) {
    throw new SidecarError('internal', 'sealed_unreadable', 'the content of a grant is not JSON', { cause });
  }
}
