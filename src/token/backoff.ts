// How long to wait after the nth failure in a row (attack 84: a failing issuer is not hammered by every replica at once).

const FIRST_MS = 1000;
const LONGEST_MS = 60_000;

/**
 * Milliseconds until the next try after `failures` (from 1) in a row: doubling from 1 s to 60 s, never above `capMs`,
 * and of that a random half, so that replicas spread. `random` yields [0, 1).
 */
export function backoffMs(failures: number, capMs: number, random: () => number): number {
  const full = Math.min(FIRST_MS * 2 ** Math.min(failures - 1, 16), LONGEST_MS, capMs);
  return full * (0.5 + random() / 2);
}
