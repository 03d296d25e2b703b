// Arithmetic of the two limit algorithms, as readable as it gets: this is the specification that lua/check.lua repeats.
// Pure: state and time in, answer out. Times are whole ms.

/** A `sliding` counter: hits of the window with this index and of the one before. */
export interface SlidingState {
  index: number;
  cur: number;
  prev: number;
}

/**
 * Moves a counter to the window of `nowMs`. A clock that is a little behind stays at the start of the stored window; by one that
 * is farther behind all hits count from now on. So a failover to a slow clock frees nothing, and a clock that was ahead and is
 * set right keeps nobody out for longer than two windows.
 */
export function roll(state: SlidingState, nowMs: number, windowMs: number): void {
  const index = Math.floor(nowMs / windowMs);
  if (index === state.index || index === state.index - 1) return;
  if (index < state.index) {
    state.cur += state.prev;
    state.prev = 0;
    state.index = index;
    return;
  }
  state.prev = index === state.index + 1 ? state.cur : 0;
  state.cur = 0;
  state.index = index;
}

const elapsedOf = (state: SlidingState, nowMs: number, windowMs: number) => Math.max(0, nowMs - state.index * windowMs);

const fits = (prev: number, cur: number, limit: number, windowMs: number, elapsed: number) =>
  (prev * (windowMs - elapsed)) / windowMs + cur + 1 <= limit;

/** True when one more hit keeps the weighed count at or below the limit. The state must be rolled to `nowMs`. */
export function slidingFits(state: SlidingState, nowMs: number, windowMs: number, limit: number): boolean {
  return fits(state.prev, state.cur, limit, windowMs, elapsedOf(state, nowMs, windowMs));
}

/** Whole hits left; 0 when none fits. The state must be rolled to `nowMs`. */
export function slidingRemaining(state: SlidingState, nowMs: number, windowMs: number, limit: number): number {
  const elapsed = elapsedOf(state, nowMs, windowMs);
  if (!fits(state.prev, state.cur, limit, windowMs, elapsed)) return 0;
  return Math.max(1, Math.floor(limit - ((state.prev * (windowMs - elapsed)) / windowMs + state.cur)));
}

/** First elapsed time in [from, windowMs] at which one more hit fits; windowMs when it never does in this window. */
function firstFit(prev: number, cur: number, limit: number, windowMs: number, from: number): number {
  if (cur + 1 > limit) return windowMs;
  if (prev === 0) return from;
  let at = Math.min(windowMs, Math.max(from, Math.ceil(windowMs - ((limit - 1 - cur) * windowMs) / prev)));
  while (at < windowMs && !fits(prev, cur, limit, windowMs, at)) at += 1;
  while (at > from && fits(prev, cur, limit, windowMs, at - 1)) at -= 1;
  return at;
}

/**
 * Ms until one more hit fits if nobody else hits, across the end of the window where it must. Exact: one ms earlier it
 * would not fit. At most two windows, because a counter lives no longer.
 */
export function slidingWait(state: SlidingState, nowMs: number, windowMs: number, limit: number): number {
  const elapsed = elapsedOf(state, nowMs, windowMs);
  const ahead = Math.max(0, state.index * windowMs - nowMs);
  const here = firstFit(state.prev, state.cur, limit, windowMs, elapsed);
  const wait = here < windowMs ? here - elapsed : windowMs - elapsed + firstFit(state.cur, 0, limit, windowMs, 0);
  return Math.min(2 * windowMs, ahead + wait);
}

/** Ms until the window ends. */
export function slidingEnd(state: SlidingState, nowMs: number, windowMs: number): number {
  return Math.min(2 * windowMs, (state.index + 1) * windowMs - nowMs);
}

/**
 * What of a `log` is in (now - window, now]; a clock that is behind stays at the newest hit, and by one that is behind by more than
 * a window all hits count from now on. Hits are ascending.
 */
export function currentHits(hits: number[], nowMs: number, windowMs: number): number[] {
  const newest = hits.at(-1) ?? 0;
  if (newest > nowMs + windowMs) return hits.map(() => nowMs);
  const from = Math.max(nowMs, newest) - windowMs;
  let gone = 0;
  while (gone < hits.length && (hits[gone] as number) <= from) gone += 1;
  return hits.slice(gone);
}

/** Ms until a `log` has room again when full, else until its oldest hit leaves; a whole window when it is empty. */
export function logReset(hits: readonly number[], nowMs: number, windowMs: number, limit: number): number {
  const leaving = hits[Math.max(0, hits.length - limit)];
  return leaving === undefined ? windowMs : Math.min(windowMs, leaving + windowMs - nowMs);
}
