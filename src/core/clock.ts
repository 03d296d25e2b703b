// The only place that reads the time. Everything else is handed a Clock, so that tests can stop it (style.md 6).

/** Source of time. Wall time for claims and expiry, monotonic time for durations. */
export interface Clock {
  /** Wall time in ms since the epoch; may jump when the machine's clock is set. */
  nowMs(): number;
  /** Monotonic time in ms with a fraction; only differences mean anything. */
  monotonicMs(): number;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

/**
 * Wall time that a step forward of the machine's clock does not move: the least that it has shown, and what has passed since. For
 * forgetting by: what was dropped while the clock was ahead is missing when it is set right, and a revoked token lives again.
 */
export function steadyWall(clock: Clock): () => number {
  let leastMs = clock.nowMs() - clock.monotonicMs();
  return () => {
    const passedMs = clock.monotonicMs();
    leastMs = Math.min(leastMs, clock.nowMs() - passedMs);
    return leastMs + passedMs;
  };
}
