// Follows the host name of one url: asks again and again which addresses it has, and tells when they have changed. A failing
// lookup changes nothing, so that an outage of the name service is none of ours.
import { ADDRCONFIG, type LookupAddress, lookup } from 'node:dns';
import { promisify } from 'node:util';

/** All addresses of a host name; rejects with the system's error. */
export type Lookup = (host: string) => Promise<readonly string[]>;

const lookupAll = promisify(lookup);

/** The system's resolver, with /etc/hosts and search domains; families that the machine itself has. */
export const systemLookup: Lookup = async (host) => {
  const found: readonly LookupAddress[] = await lookupAll(host, { all: true, order: 'verbatim', hints: ADDRCONFIG });
  return [...new Set(found.map(({ address }) => address))];
};

/** Lookups after failures come no closer to each other than this. */
const LEAST_PAUSE_MS = 1000;

/** Follows one name. */
export class FollowedName {
  readonly #host: string;
  readonly #lookup: Lookup;
  readonly #everyMs: number;
  readonly #found: (addresses: readonly string[]) => void;
  readonly #failed: (error: unknown) => void;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #asking = false;
  #isDoubted = false;

  /** `found` is called with each answer that has addresses, `failed` for every other. */
  constructor(
    host: string,
    everyMs: number,
    lookup: Lookup,
    told: { readonly found: (addresses: readonly string[]) => void; readonly failed: (error: unknown) => void },
  ) {
    this.#host = host;
    this.#everyMs = everyMs;
    this.#lookup = lookup;
    this.#found = told.found;
    this.#failed = told.failed;
  }

  /** An address of the name could not be reached: it is looked up sooner. */
  doubt(): void {
    this.#isDoubted = true;
  }

  /** Asks when it is time. */
  sweep(monotonicMs: number): void {
    if (this.#asking) return;
    const pauseMs = this.#isDoubted ? Math.min(LEAST_PAUSE_MS, this.#everyMs) : this.#everyMs;
    if (monotonicMs - this.#askedAtMs < pauseMs) return;
    this.#askedAtMs = monotonicMs;
    this.#asking = true;
    this.#isDoubted = false;
    void this.#ask();
  }

  async #ask(): Promise<void> {
    try {
      const addresses = await this.#lookup(this.#host);
      if (addresses.length === 0) this.#failed(undefined);
      else this.#found(addresses);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#asking = false;
    }
  }
}
