// "Did you mean": the known name closest to a written one, for unknown settings and broken references.

/** Optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours count one each. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, beforeLast[j - 2]! + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}

const LONGEST_NAME = 100;

/**
 * The known name closest to `written`, folding case; undefined when none is within `share` of its length. Half suits closed lists,
 * where something of them was meant; among names that have nothing to do with us a quarter is much.
 */
export function nearestName(written: string, known: Iterable<string>, share = 1 / 2): string | undefined {
  if (written.length > LONGEST_NAME) return undefined;
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const name of known) {
    const distance = editDistance(written.toLowerCase(), name.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [name, distance];
  }
  return bestDistance <= Math.max(1, Math.floor(written.length * share)) ? best : undefined;
}

/** ` (nearest name …)`, or nothing where no known name is near. */
export function nearestHint(written: string, known: Iterable<string>): string {
  const nearest = nearestName(written, known);
  return nearest === undefined ? '' : ` (nearest name ${nearest})`;
}
