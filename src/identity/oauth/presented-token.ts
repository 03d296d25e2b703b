// A token that a caller asks about or gives back: an access token of ours, a refresh token of ours, or nothing that we know.
import { SidecarError } from '../../core/errors.ts';
import type { Principal } from '../../core/principal.ts';
import type { OAuthDependencies, OAuthSettings } from './dependencies.ts';
import { type GenuineToken, openToken } from './families.ts';

/** What a presented token is; both forms may be expired as families or revoked still. */
export type PresentedToken =
  | { readonly kind: 'access'; readonly principal: Principal }
  | { readonly kind: 'refresh'; readonly token: GenuineToken };

const MAX_LENGTH = 16 * 1024;

/**
 * Takes a token for what it is, whatever hint came with it (RFC 7009 section 2.1: a wrong hint changes nothing). Undefined for
 * what is malformed, expired, foreign or unknown. Rejects with `store_unavailable` when that cannot be told.
 */
export async function readPresented(
  text: string,
  parts: OAuthDependencies,
  settings: OAuthSettings,
): Promise<PresentedToken | undefined> {
  if (text.length > MAX_LENGTH) return undefined;
  if (text.startsWith('dwf_')) {
    const token = await openToken(text, parts, settings);
    return token && { kind: 'refresh', token };
  }
  try {
    const { principal } = await settings.verifier.verify(text, [settings.issuerName]);
    return { kind: 'access', principal };
  } catch (error) {
    if (error instanceof SidecarError && error.kind === 'unauthenticated') return undefined;
    throw error;
  }
}
