// An issuer's keys at one moment, and the contract of where they come from. Local sources (inline, file, PEM, secret, our
// own signing key) are here; the remote one is remote-key-set.ts. Keys belong to one issuer and never leave its set.

import { isJsonObject, parseStrictObject } from '../core/strict-json.ts';
import { misconfigured, refusal } from './refusal.ts';
import { type IgnoredKey, keyFromJwk, type VerificationKey } from './verification-key.ts';

/** Most keys read from one JWKS; a longer one is refused whole. */
export const MAX_KEYS = 100;
/** Most keys tried for one token, when several are published under one kid. */
const MAX_TRIES = 4;

/** No key of the issuer goes with the token's `kid` and `alg`. */
export const keyUnknown = refusal('token_key_unknown', 'no key of the issuer goes with kid and alg of the token');

/** What /readyz, metrics and `doctor` show of an issuer's keys. */
export interface KeySourceState {
  /** Since the keys were fetched; undefined while there are none, and for keys that are not fetched: they do not grow stale. */
  readonly ageSeconds: number | undefined;
  readonly keys: number;
  readonly kids: readonly string[];
  readonly lastOutcome: RefreshOutcome | undefined;
  /** True while there are keys to verify with. */
  readonly ready: boolean;
}

/** How a refresh ended; label of `doorward_jwks_refresh_total`. */
export type RefreshOutcome =
  | 'ok'
  | 'timeout'
  | 'unreachable'
  | 'status'
  | 'redirect_refused'
  | 'url_refused'
  | 'too_large'
  | 'malformed'
  | 'issuer_mismatch'
  | 'no_keys';

/** Where the keys of one issuer come from. */
export interface KeySource extends AsyncDisposable {
  /**
   * Keys to try for a token, at least one, at most four; synchronous when the kid is known. Throws or rejects with
   * `token_key_unknown`, or `keys_unavailable` when there is no usable set.
   */
  find(kid: string | undefined, algorithm: string): readonly VerificationKey[] | Promise<readonly VerificationKey[]>;
  state(): KeySourceState;
  /** Reads the keys before the first token asks; never rejects (state() tells). */
  warm(): Promise<void>;
  /** Reads the keys again now; never rejects, and never loses good keys when it fails. */
  refresh(): Promise<void>;
  /** Calls back with the ids of keys that no longer verify, so that caches drop what they signed; returns the undo. */
  onKeysRemoved(listener: (keyIds: readonly string[]) => void): () => void;
}

/** Keys at one moment; immutable. */
export class KeySet {
  readonly keys: readonly VerificationKey[];
  readonly ignored: readonly IgnoredKey[];
  readonly #byKid: ReadonlyMap<string | undefined, readonly VerificationKey[]>;

  constructor(keys: readonly VerificationKey[], ignored: readonly IgnoredKey[] = []) {
    this.keys = keys;
    this.ignored = ignored;
    this.#byKid = Map.groupBy(keys, (key) => key.kid);
  }

  /** Keys to try; a token without kid gets one only when it is the only one that fits. Empty when none fits. */
  find(kid: string | undefined, algorithm: string): readonly VerificationKey[] {
    const candidates = kid === undefined ? this.keys : (this.#byKid.get(kid) ?? []);
    const fitting = candidates.filter((key) => key.algorithms.includes(algorithm));
    if (kid === undefined && fitting.length > 1) return [];
    return fitting.slice(0, MAX_TRIES);
  }

  /** Ids of keys of this set that `next` does not hold with the same material. */
  idsMissingFrom(next: KeySet | undefined): readonly string[] {
    const kept = new Set(next?.keys.map((key) => `${key.thumbprint} ${key.algorithms} ${key.id}`));
    const gone = this.keys.filter((key) => !kept.has(`${key.thumbprint} ${key.algorithms} ${key.id}`));
    return [...new Set(gone.map((key) => key.id))];
  }
}

/** Reads a JWKS document that was parsed strictly; undefined when it is none or holds more than {@link MAX_KEYS}. */
export function readKeySet(document: unknown, allowed: ReadonlySet<string>): KeySet | undefined {
  const entries = isJsonObject(document) ? document.keys : undefined;
  if (!Array.isArray(entries) || entries.length > MAX_KEYS) return undefined;
  const keys = new Map<string, VerificationKey>();
  const ignored: IgnoredKey[] = [];
  for (const entry of entries) {
    const key = keyFromJwk(entry, allowed);
    if ('why' in key) ignored.push(key);
    else keys.set(`${key.id} ${key.thumbprint} ${key.algorithms}`, key);
  }
  return new KeySet([...keys.values()], ignored);
}

/** Reads the text of a JWKS file; throws `misconfigured` when it is none or holds no usable key. */
export function readKeySetText(text: string, allowed: ReadonlySet<string>): KeySet {
  const set = readKeySet(parseStrictObject(Buffer.from(text)), allowed);
  if (set === undefined) throw misconfigured('not a strict JWKS of at most 100 keys');
  return requireKeys(set);
}

/** The set itself; throws `misconfigured` when it holds no usable key. */
export function requireKeys(set: KeySet): KeySet {
  if (set.keys.length > 0) return set;
  const why = set.ignored.map((key) => `${key.kid ?? 'a key without kid'}: ${key.why}`).join('; ');
  throw misconfigured(`no usable key${why ? ` (${why})` : ''}`);
}
