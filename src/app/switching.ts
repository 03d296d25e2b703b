// The configuration that requests see, and how the next one takes its place: compiled whole beside it, which may fail, and then put
// in force in one turn, in which everything that follows it is told.
import type { LoadedConfig } from '../config/loaded.ts';
import type { OpenExchanges } from '../proxy/open-exchanges.ts';
import type { Lookup } from '../proxy/outbound/endpoints/names.ts';
import type { Foundation, Ground } from './foundation.ts';
import { type Current, type Generations, generations } from './generations.ts';
import type { ProxyPort } from './proxy-port.ts';
import type { Tracing } from './tracing.ts';

/** What a replica compiles with. */
export interface OpenSwitchingParts extends Ground {
  readonly first: LoadedConfig;
  readonly foundation: Foundation;
  readonly tracing: Tracing;
  readonly stateDir: string;
  /** Default: the system's resolver. */
  readonly lookup: Lookup | undefined;
  /** The proxy port, once it is open. */
  readonly proxy: () => Pick<ProxyPort, 'use'> | undefined;
  /** What is under way, once anything can be. */
  readonly open: () => Pick<OpenExchanges, 'doubt'> | undefined;
}

/** Opens it over the parts of a replica; throws where `first` cannot be used. Ends with `closing`. */
export function openSwitching(parts: OpenSwitchingParts, closing: AsyncDisposableStack): Switching {
  const { clock, log, metrics, foundation, tracing, stateDir, lookup, proxy, open } = parts;
  const { gate, controlPlane, publishedKeys, knownClients, follower, denied } = foundation;
  const made = generations({
    // Tokens expire by the time of revocations, which no clock that is set back turns back.
    clock: { nowMs: () => follower.time.tokenMs(), monotonicMs: () => clock.monotonicMs() },
    ...{ log, metrics, gate, publishedKeys, knownClients, tracing, stateDir, lookup },
    ownKeys: controlPlane?.ownKeys,
    onKeysRemoved: (issuer, keyIds) => open()?.doubt(issuer, keyIds),
  });
  closing.use(made);
  const switching = new Switching({ generations: made, onCompiled: (loaded) => proxy()?.use(loaded) }, parts.first);
  switching.follow(({ loaded }) => {
    denied.clear();
    tracing.follow(loaded);
  });
  return switching;
}

/** What it is made of. */
export interface SwitchingParts {
  readonly generations: Generations;
  /** Takes over what is not compiled, the certificates of the proxy port; throws for what cannot be used. */
  readonly onCompiled: (loaded: LoadedConfig) => void;
}

/** Holds what is in force. */
export class Switching {
  readonly #parts: SwitchingParts;
  readonly #followers: ((current: Current) => void)[] = [];
  #current: Current;

  /** Begins with `first`; throws as {@link compile}. */
  constructor(parts: SwitchingParts, first: LoadedConfig) {
    this.#parts = parts;
    this.#current = this.compile(first);
  }

  /** What is in force; take it once per request. */
  readonly current = (): Current => this.#current;

  /** From now on `follower` is told of what comes into force next, after those that follow already. */
  follow(follower: (current: Current) => void): void {
    this.#followers.push(follower);
  }

  /** Compiles as it holds now; throws for a key, secret or certificate that cannot be used. Requests see nothing of it yet. */
  compile(loaded: LoadedConfig): Current {
    const compiled = this.#parts.generations.next(loaded);
    this.#parts.onCompiled(loaded);
    return compiled;
  }

  /** From here on requests see it. */
  switchTo(compiled: Current): void {
    this.#current = compiled;
    void this.warmKeys();
    for (const follower of this.#followers) follower(compiled);
  }

  /** Resolves when the key sets of what is in force have been asked for, whatever came of it. */
  async warmKeys(): Promise<void> {
    await Promise.all([...this.#current.issuers.values()].map(({ keys }) => keys.warm()));
  }
}
