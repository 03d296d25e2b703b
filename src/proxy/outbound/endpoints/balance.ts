// Which of several endpoints gets the next request: the one with the fewest under way, ties in turn. A sidecar counts all of
// its own requests, so looking at each endpoint is exact; two random choices would only approach it.
import { type Endpoint, OUT } from './endpoint.ts';

/** Share of an endpoint at the very beginning of slow start, so that its first requests can show how it does. */
const LEAST_SHARE = 0.1;

/** Chooses; remembers whose turn it is. */
export class Balance {
  readonly #slowStartMs: number;
  #turn = 0;
  /** Number of the choice that is being made. */
  #choice = 0;

  /** `slowStartMs` 0: no slow start. */
  constructor(slowStartMs: number) {
    this.#slowStartMs = slowStartMs;
  }

  /** The endpoint for a request that must not go to `except`; undefined when no other takes requests. */
  choose(list: readonly Endpoint[], except: Endpoint | undefined, monotonicMs: number): Endpoint | undefined {
    let rank = OUT;
    for (const endpoint of list) if (endpoint.rank < rank && endpoint !== except) rank = endpoint.rank;
    if (rank === OUT) return undefined;
    this.#choice += 1;
    let first: Endpoint | undefined;
    for (;;) {
      const best = this.#least(list, except, rank, monotonicMs);
      // All of them stand aside: there is nobody to give way to.
      if (best === undefined) return first;
      if (this.#mayTake(best, monotonicMs)) {
        this.#turn = list.indexOf(best) + 1;
        return best;
      }
      first ??= best;
      best.asideIn = this.#choice;
    }
  }

  /** The one with the fewest requests, beginning with the one whose turn it is. */
  #least(
    list: readonly Endpoint[],
    except: Endpoint | undefined,
    rank: number,
    monotonicMs: number,
  ): Endpoint | undefined {
    let best: Endpoint | undefined;
    let bestLoad = Number.POSITIVE_INFINITY;
    for (let step = 0, at = this.#turn; step < list.length; step += 1, at += 1) {
      if (at >= list.length) at = 0;
      const endpoint = list[at] as Endpoint;
      if (endpoint.rank !== rank || endpoint === except || endpoint.asideIn === this.#choice) continue;
      const load = endpoint.active / this.#shareOf(endpoint, monotonicMs);
      if (load >= bestLoad) continue;
      best = endpoint;
      bestLoad = load;
    }
    return best;
  }

  /** Grows from {@link LEAST_SHARE} to 1 over slow start. */
  #shareOf(endpoint: Endpoint, monotonicMs: number): number {
    if (this.#slowStartMs === 0) return 1;
    const share = (monotonicMs - endpoint.rampFromMs) / this.#slowStartMs;
    return share >= 1 ? 1 : Math.max(LEAST_SHARE, share);
  }

  /**
   * At light load all have nothing under way and take turns, which a higher load alone would not lessen: an endpoint with a
   * share of a half stands aside every second time.
   */
  #mayTake(endpoint: Endpoint, monotonicMs: number): boolean {
    const share = this.#shareOf(endpoint, monotonicMs);
    if (share === 1) return true;
    endpoint.credit += share;
    if (endpoint.credit < 1) return false;
    endpoint.credit -= 1;
    return true;
  }
}
