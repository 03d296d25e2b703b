// Published documents as signed statements: a compact JWS (RFC 7515) by the control plane's Ed25519 publishing key. Kind and
// name stand inside, so that none passes for another; seq and time too, so that none comes back once a later one was seen.
import { createPrivateKey, createPublicKey, hash, type KeyObject } from 'node:crypto';
import { CompactSign, compactVerify } from 'jose';
import type { Clock } from '../core/clock.ts';
import { isJsonObject, parseStrictObject } from '../core/strict-json.ts';
import type { PublicationKind } from '../stores/contracts/published.ts';

/** One document as it is published and believed. */
export interface Publication {
  readonly kind: PublicationKind;
  readonly name: string;
  /** Order of truth: the revision of what is published. */
  readonly seq: number;
  readonly document: Readonly<Record<string, unknown>>;
  readonly publishedAtMs: number;
  /** Not believed from here on: a store that withholds what is newer gains a day at most. */
  readonly expiresAtMs: number;
}

/** Why a document was not believed; a metric label. */
export type PublicationRefusal = 'signature' | 'malformed' | 'mismatch' | 'expired' | 'replayed';

const TYPE = 'doorward-publication';
const LIFETIME_MS = 24 * 3_600_000;
/** Clocks of publisher and reader may differ. */
const TOLERANCE_MS = 5 * 60_000;

const keyIdOf = (key: KeyObject) =>
  hash('sha256', key.export({ format: 'der', type: 'spki' }), 'base64url').slice(0, 16);

/** Signs documents; `pem` is the private half (PKCS8). */
export function publisher(
  pem: string,
  clock: Clock,
): (what: Pick<Publication, 'kind' | 'name' | 'seq' | 'document'>) => Promise<string> {
  const key = createPrivateKey(pem);
  const kid = keyIdOf(createPublicKey(key));
  return ({ kind, name, seq, document }) => {
    const [published_at, expires_at] = [clock.nowMs(), clock.nowMs() + LIFETIME_MS];
    const payload = JSON.stringify({ kind, name, seq, published_at, expires_at, document });
    return new CompactSign(Buffer.from(payload)).setProtectedHeader({ alg: 'EdDSA', typ: TYPE, kid }).sign(key);
  };
}

/** Reads what a store holds; `held` is what is believed of it already. */
export type PublicationReader = (
  jws: string,
  expected: { readonly kind: PublicationKind; readonly name: string },
  held: Publication | undefined,
) => Promise<Publication | PublicationRefusal>;

/** Believes documents signed by one of `pems` (public halves). */
export function publicationReader(pems: readonly string[], clock: Clock): PublicationReader {
  const keys = pems.map((pem) => createPublicKey(pem));
  return async (jws, { kind, name }, held) => {
    const payload = await verified(jws, keys);
    if (payload === undefined) return 'signature';
    const publication = parsed(payload);
    if (publication === undefined) return 'malformed';
    if (publication.kind !== kind || publication.name !== name) return 'mismatch';
    const nowMs = clock.nowMs();
    if (publication.expiresAtMs <= nowMs || publication.publishedAtMs > nowMs + TOLERANCE_MS) return 'expired';
    return held !== undefined && isOlder(publication, held) ? 'replayed' : publication;
  };
}

async function verified(jws: string, keys: readonly KeyObject[]): Promise<Uint8Array | undefined> {
  for (const key of keys) {
    try {
      const { payload, protectedHeader } = await compactVerify(jws, key, { algorithms: ['EdDSA'] });
      if (protectedHeader.typ === TYPE) return payload;
    } catch {
      // Another key may fit; which one does not is nobody's concern.
    }
  }
  return undefined;
}

function parsed(payload: Uint8Array): Publication | undefined {
  const read = parseStrictObject(Buffer.from(payload));
  if (read === undefined) return undefined;
  const { kind, name, seq, published_at: publishedAtMs, expires_at: expiresAtMs, document } = read;
  if ((kind !== 'keys' && kind !== 'client') || typeof name !== 'string' || !isJsonObject(document)) return undefined;
  if (typeof seq !== 'number' || typeof publishedAtMs !== 'number' || typeof expiresAtMs !== 'number') return undefined;
  return { kind, name, seq, document, publishedAtMs, expiresAtMs };
}

function isOlder(next: Publication, held: Publication): boolean {
  return next.seq < held.seq || (next.seq === held.seq && next.publishedAtMs < held.publishedAtMs);
}
