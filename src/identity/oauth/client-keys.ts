// Keys of clients that sign assertions: out of their record, or fetched from where they say. A client names that address
// itself, so the fetch goes to public addresses only, whatever the name resolves to (attack 124).
import { lookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { LRUCache } from 'lru-cache';
import { assertionAlgorithms } from '../../clients/properties.ts';
import { isPrivateAddress } from '../../clients/registration.ts';
import type { Clock } from '../../core/clock.ts';
import type { Client } from '../../stores/contracts/clients.ts';
import { type KeySet, type KeySource, keyUnknown, readKeySet } from '../../token/key-set.ts';
import { RemoteKeySet } from '../../token/remote-key-set.ts';
import type { ClientKeys } from './dependencies.ts';

const MAX_REMOTE = 1000;
const MAX_LOCAL = 10_000;
const REFRESH_MS = 10 * 60_000;
const STALE_MS = 24 * 3_600_000;

/** Key sets by client; those fetched are kept fresh while they are in use. */
export class HeldClientKeys implements ClientKeys, AsyncDisposable {
  readonly #clock: Clock;
  readonly #lookup: LookupFunction;
  readonly #local = new LRUCache<string, KeySet>({ max: MAX_LOCAL });
  readonly #remote = new LRUCache<string, RemoteKeySet>({
    max: MAX_REMOTE,
    dispose: (keys) => void keys[Symbol.asyncDispose](),
  });

  /** `resolve` finds the addresses of a name; default: the system's resolver, without private addresses. */
  constructor(clock: Clock, resolve: LookupFunction = publicLookup) {
    this.#clock = clock;
    this.#lookup = resolve;
  }

  of({ jwks, jwksUri }: Client): Pick<KeySource, 'find'> | undefined {
    if (jwksUri !== undefined) return this.#fetched(jwksUri);
    if (jwks === undefined) return undefined;
    const text = JSON.stringify(jwks);
    const set = this.#local.get(text) ?? readKeySet(jwks, assertionAlgorithms);
    if (set === undefined) return undefined;
    this.#local.set(text, set);
    return { find: (kid, algorithm) => found(set, kid, algorithm) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const open = [...this.#remote.values()];
    this.#remote.clear();
    await Promise.all(open.map((keys) => keys[Symbol.asyncDispose]()));
  }

  #fetched(url: string): RemoteKeySet {
    let keys = this.#remote.get(url);
    if (keys === undefined) {
      keys = new RemoteKeySet({
        issuer: url,
        url,
        algorithms: assertionAlgorithms,
        refreshMs: REFRESH_MS,
        cooldownMs: 30_000,
        staleForMs: STALE_MS,
        timeoutMs: 5000,
        clock: this.#clock,
        lookup: this.#lookup,
      });
      this.#remote.set(url, keys);
    }
    return keys;
  }
}

function found(set: KeySet, kid: string | undefined, algorithm: string) {
  const keys = set.find(kid, algorithm);
  if (keys.length === 0) throw keyUnknown;
  return keys;
}

/** The system's resolver; a name that resolves to a private address does not resolve. */
const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, '', 0);
    const [first] = addresses;
    if (first === undefined || addresses.some(({ address }) => isPrivateAddress(address))) {
      return callback(Object.assign(new Error('the name leads to a private address'), { code: 'ENOTFOUND' }), '', 0);
    }
    if (options.all) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
};
