// The key set that others fetch from us (RFC 7517), and how long they may keep it: half of the time that a key is published
// before it signs at most, so that nobody who heeds Cache-Control ever meets a kid that they have not seen.
import type { Signer } from './issue.ts';

/** Media type of a key set (RFC 7517 section 8.5.2). */
export const JWKS_TYPE = 'application/jwk-set+json';
const LONGEST_S = 3600;

/** What answers a GET of the key set. */
export interface JwksAnswer {
  readonly body: string;
  /** Value of `Cache-Control`. */
  readonly cacheControl: string;
}

/**
 * The document of an issuer whose keys are published `publishBeforeMs` before they sign: pending, active and retiring keys,
 * public members only (attack 85). Without any key it is not to be kept, because the first one may come at any moment.
 */
export function jwksAnswer(signer: Pick<Signer, 'publicJwks'>, publishBeforeMs: number): JwksAnswer {
  const { keys } = signer.publicJwks();
  const seconds = Math.min(LONGEST_S, Math.floor(publishBeforeMs / 2000));
  const cacheControl = keys.length === 0 || seconds === 0 ? 'no-store' : `public, max-age=${seconds}`;
  return { body: `${JSON.stringify({ keys })}\n`, cacheControl };
}
