// Authenticates an access token: parse, issuer, header, claims, keys, signature, in that order (design 4.7). Claims come
// before the signature because refusing is all they can do there, and it is cheaper. The result says who; what a route
// allows is decided by proxy/decide, revocation and limits by the check.
import type { Clock } from '../core/clock.ts';
import { digest } from '../core/encoding.ts';
import { SidecarError } from '../core/errors.ts';
import type { Principal } from '../core/principal.ts';
import type { Reason } from '../core/reasons.ts';
import { principalOf, validateClaims } from './claims.ts';
import { acceptHeader } from './header.ts';
import type { Issuer } from './issuers.ts';
import { MAX_TOKEN_LENGTH, type ParsedToken, parseAccessToken, tokenTooLarge } from './parse.ts';
import { misconfigured, refusal } from './refusal.ts';
import { verifySignature } from './signature.ts';
import { VerifiedCache } from './verified-cache.ts';
import { VerifiedToken } from './verified-token.ts';

/** What a verifier is made of. */
export interface VerifierOptions {
  /** By the name of the issuer block. The verifier does not own them. */
  readonly issuers: ReadonlyMap<string, Issuer>;
  readonly clock: Clock;
  /** Told of keys of an issuer block that verify no more, after what they verified is forgotten. */
  readonly onKeysRemoved?: (issuerName: string, keyIds: readonly string[]) => void;
  /** Most verified tokens remembered; default 50,000. */
  readonly cacheSize?: number;
  /** Most refusals remembered; default 10,000. */
  readonly refusalCacheSize?: number;
  /** How long a refusal is remembered, in ms; default 10,000. */
  readonly refusalTtlMs?: number;
}

/** Authenticates tokens of one configuration; a reload makes a new one, so nothing cached outlives its rules. */
export interface Verifier extends Disposable {
  /**
   * What is known of the token without any waiting: the hot path. undefined: call `verify`. The caller must still check
   * that its route allows `principal.issuerName`. The token is not kept; equal bytes are found whoever sends them, but a
   * token that is bound to a certificate counts only with its thumbprint, `x5t#S256` of the sender's (RFC 8705).
   */
  peek(token: string, thumbprint?: string): VerifiedToken | SidecarError | undefined;
  /**
   * The full path. Rejects with a SidecarError: `unauthenticated` with the reason, or `keys_unavailable`. Nothing is
   * fetched for issuers that are not in `allowedIssuers` (names of issuer blocks). Calls for one token share the work.
   */
  verify(token: string, allowedIssuers: readonly string[], thumbprint?: string): Promise<VerifiedToken>;
  /** The issuer block of that name: the same object as long as its rules and the source of its keys stay as they are. */
  issuer(name: string): Issuer | undefined;
  /** Forgets everything. */
  clear(): void;
  /** Forgets the tokens of one issuer block. */
  forgetIssuer(name: string): void;
  /** Forgets the tokens that one key of one issuer block verified. */
  forgetKey(name: string, keyId: string): void;
  /** Remembered tokens whose principal matches; walks the whole cache. */
  count(matches: (principal: Principal) => boolean): number;
  /** How many tokens and refusals are remembered. */
  sizes(): { readonly verified: number; readonly refused: number };
}

const certificateMismatch = refusal(
  'token_certificate_mismatch',
  'the token is bound to a certificate that the sender has not shown',
);

/** The thumbprint for those who judge a token that nobody presents: operators who look at it or revoke it. */
export const anyCertificate = '*';

/** Judged for each sender, never remembered: the next one may be the one it was given to. */
const isForeign = ({ certificate }: VerifiedToken, thumbprint: string | undefined): boolean =>
  certificate !== undefined && certificate !== thumbprint && thumbprint !== anyCertificate;

const issuerUnknown = refusal('token_issuer_unknown', 'iss is no issuer that the route accepts');

// Refusals that may turn into acceptance by themselves: another key arrives, or time passes.
const passing: ReadonlySet<Reason> = new Set<Reason>(['token_key_unknown', 'token_not_yet_valid', 'keys_unavailable']);

function indexByIssuer(issuers: ReadonlyMap<string, Issuer>): ReadonlyMap<unknown, Issuer> {
  const index = new Map<unknown, Issuer>();
  for (const issuer of issuers.values()) {
    if (index.has(issuer.rules.issuer)) throw misconfigured(`two issuer blocks have the issuer ${issuer.rules.issuer}`);
    index.set(issuer.rules.issuer, issuer);
  }
  return index;
}

async function authenticate(parsed: ParsedToken, { rules, keys }: Issuer, clock: Clock): Promise<VerifiedToken> {
  const { algorithm, kid } = acceptHeader(parsed.header, rules);
  const valid = validateClaims(parsed.claims, rules, clock.nowMs());
  const found = keys.find(kid, algorithm);
  const candidates = found instanceof Promise ? await found : found;
  const key = await verifySignature(parsed, algorithm, candidates);
  const signed = digest(parsed.signingInput);
  const principal = principalOf(valid, parsed.claims, key.id, signed);
  return new VerifiedToken(principal, signed, valid, valid.certificate);
}

/** Makes a verifier; throws `misconfigured` when two blocks share an issuer. Dispose it when its configuration goes. */
export function createVerifier(options: VerifierOptions): Verifier {
  const { clock, issuers } = options;
  const byIssuer = indexByIssuer(issuers);
  const cache = new VerifiedCache({
    clock,
    size: options.cacheSize ?? 50_000,
    refusals: options.refusalCacheSize ?? 10_000,
    refusalTtlMs: options.refusalTtlMs ?? 10_000,
  });
  const pending = new Map<string, Promise<VerifiedToken>>();
  let generation = 0;

  // Work under way rests on the keys as they were: it ends for those who wait, and nobody joins it or finds its result.
  const turn = () => {
    generation += 1;
    pending.clear();
  };
  const forget = (name: string, keyIds?: readonly string[]) => {
    turn();
    cache.forget(({ principal }) => principal.issuerName === name && (keyIds?.includes(principal.keyId) ?? true));
  };
  const unsubscribe = [...issuers.values()].map((issuer) =>
    issuer.keys.onKeysRemoved((keyIds) => {
      forget(issuer.name, keyIds);
      options.onKeysRemoved?.(issuer.name, keyIds);
    }),
  );

  const remember = async (key: string, work: Promise<VerifiedToken>): Promise<VerifiedToken> => {
    const startedIn = generation;
    try {
      const token = await work;
      if (startedIn === generation) cache.put(key, token);
      return token;
    } catch (error) {
      const lasting = error instanceof SidecarError && !passing.has(error.reason);
      if (lasting && startedIn === generation) cache.refuse(key, error);
      throw error;
    } finally {
      if (startedIn === generation) pending.delete(key);
    }
  };

  const verify = async (
    token: string,
    allowedIssuers: readonly string[],
    thumbprint?: string,
  ): Promise<VerifiedToken> => {
    if (token.length > MAX_TOKEN_LENGTH) throw tokenTooLarge;
    const key = digest(token);
    let parsed: ParsedToken;
    try {
      parsed = parseAccessToken(token);
    } catch (error) {
      cache.refuse(key, error as SidecarError);
      throw error;
    }
    // Exactly one string; an array or object that holds a trusted issuer finds nothing (attack 64).
    const issuer = byIssuer.get(parsed.claims.iss);
    // Not remembered: another route may allow the issuer.
    if (issuer === undefined || !allowedIssuers.includes(issuer.name)) throw issuerUnknown;
    let work = pending.get(key);
    if (work === undefined) {
      work = remember(key, authenticate(parsed, issuer, clock));
      pending.set(key, work);
    }
    const verified = await work;
    if (isForeign(verified, thumbprint)) throw certificateMismatch;
    return verified;
  };

  return {
    peek(token, thumbprint) {
      if (token.length > MAX_TOKEN_LENGTH) return tokenTooLarge;
      const known = cache.get(digest(token));
      return known instanceof VerifiedToken && isForeign(known, thumbprint) ? certificateMismatch : known;
    },
    verify,
    issuer: (name) => issuers.get(name),
    clear: () => {
      turn();
      cache.clear();
    },
    forgetIssuer: (name) => forget(name),
    forgetKey: (name, keyId) => forget(name, [keyId]),
    count: (matches) => cache.count(({ principal }) => matches(principal)),
    sizes: () => cache.sizes(),
    [Symbol.dispose]: () => {
      for (const undo of unsubscribe) undo();
      cache.clear();
    },
  };
}
