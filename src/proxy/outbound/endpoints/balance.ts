// Which of several endpoints gets the next request: the one with the fewest under way, ties in turn. A sidecar counts all of
// its own requests, so looking at each endpoint is exact; two random choices would only approach it.
import { type Endpoint, OUT } from './endpoint.ts';

/** Share of an endpoint at the very beginning of slow start, so that its first requests can show how it does. */
const LEAST_SHARE = 0.1;

/** Chooses; remembers whose turn it is. */
export class Balance {
  readonly #slowStartMs: number;
  #turn = 0;

  /** `slowStartMs` 0: no slow start. */
  constructor(slowStartMs: number) {
    this.#slowStartMs = slowStartMs;
  }

  /** The endpoint for a request that must not go to `except`; undefined when no other takes requests. */
  choose(list: readonly Endpoint[], except: Endpoint | undefined, monotonicMs: number): Endpoint | undefined {
    let rank = OUT;
    for (const endpoint of list) if (endpoint.rank < rank && endpoint !== except) rank = endpoint.rank;
    if (rank === OUT) return undefined;
    // Those in slow start may all stand aside; then there is nobody to give way to.
    const slowly = this.#slowStartMs > 0 ? this.#least(list, except, rank, monotonicMs) : undefined;
    return slowly ?? this.#least(list, except, rank, undefined);
  }

  /** The least loaded endpoint of this rank; with `slowlyAtMs`, slow start counts. */
  #least(
    list: readonly Endpoint[],
    except: Endpoint | undefined,
    rank: number,
    slowlyAtMs: number | undefined,
  ): Endpoint | undefined {
    let best: Endpoint | undefined;
    let bestLoad = Number.POSITIVE_INFINITY;
    let bestAt = 0;
    for (let step = 0, at = this.#turn; step < list.length; step += 1, at += 1) {
      if (at >= list.length) at = 0;
      const endpoint = list[at] as Endpoint;
      if (endpoint.rank !== rank || endpoint === except) continue;
      const share = slowlyAtMs === undefined ? 1 : this.#shareOf(endpoint, slowlyAtMs);
      if (share < 1 && !savedTurn(endpoint, share)) continue;
      const load = endpoint.active / share;
      if (load >= bestLoad) continue;
      best = endpoint;
      bestLoad = load;
      bestAt = at;
    }
    if (best === undefined) return undefined;
    this.#turn = bestAt + 1;
    if (best.credit >= 1) best.credit -= 1;
    return best;
  }

  /** Grows from {@link LEAST_SHARE} to 1 over slow start. */
  #shareOf(endpoint: Endpoint, monotonicMs: number): number {
    const share = (monotonicMs - endpoint.rampFromMs) / this.#slowStartMs;
    return share >= 1 ? 1 : Math.max(LEAST_SHARE, share);
  }
}

/**
 * At light load all have nothing under way and take turns, which a higher load alone would not lessen: an endpoint with a
 * share of a half stands aside every second time.
 */
function savedTurn(endpoint: Endpoint, share: number): boolean {
  if (endpoint.credit < 1) endpoint.credit += share;
  return endpoint.credit >= 1;
}
